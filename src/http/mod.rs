//! Door one: a request in, a page or JSON out. No SQL here, and no decision about an account.
//!
//! The ground of it, which knows no account:
//!
//! * [`server`], [`stream`]: sockets to requests, with every time and size bounded
//! * [`stack`]: the layers around every route, in their order
//! * [`trace`], [`client`], [`headers`], [`problem`], [`guard`], [`body`]: those layers, outermost first
//! * [`form`], [`json`]: what a request says, read strictly
//! * [`site`], [`cookies`], [`next`], [`limit`]: our own address, cookies, redirect targets, request limits

pub mod body;
pub mod client;
pub mod cookies;
pub mod form;
pub mod guard;
pub mod headers;
pub mod json;
pub mod limit;
pub mod next;
pub mod problem;
pub mod server;
pub mod site;
pub mod stack;
pub mod stream;
pub mod trace;
