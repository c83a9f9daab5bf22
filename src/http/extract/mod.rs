//! What a request says, read strictly, as axum's extractors.

pub mod form;
pub mod json;
pub mod own_form;
pub mod query;
pub mod reject;
pub mod visitor;
