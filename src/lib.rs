//! Bellhop: self-hosted sign-up and login whose side effects never hold a request up and are never lost.
//!
//! # Layout
//!
//! A module may use those below it, never those above; a test reads the `use` lines and holds it to that.
//!
//! * composition, which may see everything: [`cli`], [`app`]
//! * inbound adapters, which never see each other: [`http`] for requests, [`listeners`] for messages
//! * domain: [`account`], [`event`]
//! * transport, which never sees an account: [`messaging`], [`mail`]
//! * foundation: [`backoff`], [`clock`], [`config`], [`db`], [`device`], [`error`], [`failpoint`], [`health`], [`links`], [`locale`], [`net`],
//!   [`processes`], [`progress`], [`tasks`], [`telemetry`], [`text`]

#![cfg_attr(
    test,
    expect(
        clippy::string_slice,
        clippy::disallowed_methods,
        clippy::print_stdout,
        reason = "tests cut texts they wrote themselves, have no task tracker, and print their seeds"
    )
)]

pub mod account;
pub mod app;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod device;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod health;
pub mod http;
pub mod links;
pub mod listeners;
pub mod locale;
pub mod mail;
pub mod messaging;
pub mod net;
pub mod processes;
pub mod progress;
pub mod tasks;
pub mod telemetry;
pub mod text;
