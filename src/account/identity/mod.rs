//! The rules for what people are called and where they are written to.

pub mod address;
mod joining;
pub mod name;
