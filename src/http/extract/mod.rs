//! What a request says, read strictly: forms, JSON documents, redirect targets.

pub mod form;
pub mod json;
pub mod redirect;
