//! A handler that panics is a 500 of its request alone.

use std::any::Any;

use axum::response::{IntoResponse as _, Response};

use crate::http::problem::Problem;

/// The answer to a request whose handler panicked, for tower-http's `CatchPanicLayer`.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the box")]
pub fn from_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::from(anyhow::anyhow!("a handler panicked: {}", message.unwrap_or("no message"))).into_response()
}
