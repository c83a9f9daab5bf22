//! What the stories are told with: servers of their own, a mail server that obeys, a network that fails, a browser.

pub mod app;
pub mod browser;
pub mod canary;
pub mod chance;
pub mod events;
pub mod ledger;
pub mod openapi;
pub mod pgbouncer;
pub mod poll;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod processes;
pub mod proxy;
pub mod rabbit;
pub mod reverse_proxy;
pub mod servers;
pub mod smtp;
