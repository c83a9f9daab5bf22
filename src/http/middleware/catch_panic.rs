//! A request whose handler or layer panics is a 500 of that request alone.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use crate::http::middleware::render_problem::{RenderPage, of_server_error};
use crate::http::problem::Problem;

/// The answer to a request whose handler panicked, for tower-http's `CatchPanicLayer`.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the box")]
pub fn from_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::from(anyhow::anyhow!("a handler panicked: {}", message.unwrap_or("no message"))).into_response()
}

/// Around all the other layers: what panics in one of them, in the one that logs too, is answered with nothing that they would have
/// done. The panic itself was logged where it happened.
pub async fn answer_panics(State(page): State<RenderPage>, request: Request, next: Next) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let answer = AssertUnwindSafe(async { next.run(request).await }).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        let (kind, body) = catch_unwind(AssertUnwindSafe(|| of_server_error(uri.path(), &headers, page)))
            .unwrap_or_else(|_| ("text/plain; charset=utf-8", "500 Internal Server Error\n".to_owned()));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        for (name, value) in [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    })
}
