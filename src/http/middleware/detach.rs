//! Lets a request which may change something run to its end, even when the caller goes away: a dropped request must not
//! cancel a use case between two of its steps. It also names the trace that events carry on.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::http::problem::Problem;
use crate::telemetry;

/// The innermost layer: runs the handler of a request that may change something on a task of its own.
pub async fn detach(State(tasks): State<TaskTracker>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let trace = trace_of(request.headers());
    let run = telemetry::traced(trace, next.run(request)).in_current_span();
    match tasks.spawn(run).await {
        Ok(response) => response,
        // the layer that catches panics is further out
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Problem::unavailable(Duration::from_secs(1)).into_response(),
    }
}

fn trace_of(headers: &HeaderMap) -> String {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
    given.and_then(telemetry::traceparent).unwrap_or_else(telemetry::new_traceparent)
}
