//! The rules for what people are called and where they are written to.

pub mod address;
pub mod name;
