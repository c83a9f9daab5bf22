//! One test binary: stories, conformance of databases and brokers, rules of the house, and the proof of its own tools.
//!
//! Modules named `kill` and `timing` run one test at a time, after all others (scripts/test).
#![expect(clippy::disallowed_methods, reason = "tests have no task tracker, and read the settings of scripts/test")]

mod harness;
mod kill;
mod rabbit;
mod stories;
mod support;
mod timing;
