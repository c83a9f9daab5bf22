//! One test binary: stories, conformance of databases and brokers, rules of the house, a model of the protocol, and the
//! proof of its own tools.
//!
//! The tests in `timing` measure: they run one at a time, after all others (scripts/test).
#![expect(clippy::disallowed_methods, reason = "tests have no task tracker, and read the settings of scripts/test")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on says so by panicking"
)]
#![expect(
    clippy::format_collect,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test may be slower than it could be, and knows how its own files are spelled"
)]

mod brokers;
mod databases;
mod golden;
mod harness;
mod house;
mod kill;
mod model;
mod models;
mod pages;
mod papers;
mod rabbit;
mod stories;
mod support;
mod timing;
