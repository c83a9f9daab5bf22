//! The span around a request, and what may be written about a request in a log: never a query, a cookie or a body.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::clock::Clock;
use crate::failpoint;
use crate::http::middleware::client_ip::Client;
use crate::http::middleware::request_log::{Answered, RequestLog};
use crate::text::loggable;

/// The id of a request, in its extensions, in its span and in the answer's `X-Request-Id`. It is ours: one that came
/// with the request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

/// The header that tells the caller the id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the layer needs.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) clock: Clock,
    pub(super) log: RequestLog,
}

/// Gives the request an id and a span, `http.<route>`, and writes down how it ended. Further out are only the layer that says whose
/// request it is and the one that answers for panics.
pub(super) async fn trace_request(State(trace): State<Trace>, mut request: Request, next: Next) -> Response {
    let id = trace.clock.new_id();
    request.extensions_mut().insert(RequestId(id));
    let client = request.extensions().get::<Client>().copied();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!(
        "http",
        otel.name = format!("http.{}", route.trim_start_matches('/')),
        method = loggable(request.method().as_str()),
        path = loggable(request.uri().path()),
        client = client.map(|client| tracing::field::display(client.ip)),
        status = tracing::field::Empty,
        request_id = %id,
    );
    let traced = async {
        failpoint::reach("request.traced");
        let start = Instant::now();
        let mut response = next.run(request).await;
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        tracing::Span::current().record("status", response.status().as_u16());
        let took = start.elapsed();
        tracing::debug!(status = response.status().as_u16(), ?took, "answered");
        (response, took)
    };
    let (response, took) = traced.instrument(span).await;
    // outside the span, which has the path
    trace.log.answered(Answered { method: &method, route, client, id, took }, &response);
    response
}
