//! Door one: a request in, a page or JSON out; no SQL here.
//!
//! * [`view`]: what the pages show

pub mod view;
