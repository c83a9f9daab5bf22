//! The span around a request, and what may be written about a request in a log: never a query, a cookie or a body.

use std::fmt::Write as _;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::clock::Clock;
use crate::failpoint;
use crate::text::is_invisible;

/// The id of a request, in its extensions, in its span and in the answer's `X-Request-Id`. It is ours: one that came
/// with the request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

/// The header that tells the caller the id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest piece of a stranger's text in a log, in characters.
const MAX_LOGGED_CHARS: usize = 200;

/// The outermost layer but for the one that answers for panics: gives the request an id and a span, `http.<route>`, and writes down how it ended.
pub async fn trace_request(State(clock): State<Clock>, mut request: Request, next: Next) -> Response {
    let id = clock.new_id();
    request.extensions_mut().insert(RequestId(id));
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!(
        "http",
        otel.name = format!("http.{}", route.trim_start_matches('/')),
        method = loggable(request.method().as_str()),
        path = loggable(request.uri().path()),
        status = tracing::field::Empty,
        request_id = %id,
    );
    async move {
        failpoint::reach("request.traced");
        let start = Instant::now();
        let mut response = next.run(request).await;
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        tracing::Span::current().record("status", response.status().as_u16());
        tracing::debug!(status = response.status().as_u16(), took = ?start.elapsed(), "answered");
        response
    }
    .instrument(span)
    .await
}

/// A stranger's text as it may stand in a log: on one line, without control, bidirectional or invisible characters, and
/// not longer than 200 characters.
#[must_use]
pub fn loggable(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    for character in rest.by_ref().take(MAX_LOGGED_CHARS) {
        if character.is_control() || is_invisible(character) || matches!(character, '\u{2028}' | '\u{2029}') {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    if rest.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_forged_line_stays_inside_its_own() {
        assert_eq!(loggable("a\n{\"level\":\"error\"}\u{1b}[31m"), "a\\u{a}{\"level\":\"error\"}\\u{1b}[31m");
        assert_eq!(loggable("\u{202e}x\u{85}"), "\\u{202e}x\\u{85}");
    }

    proptest! {
        #[test]
        fn any_text_is_one_short_line(text in any::<String>()) {
            let line = loggable(&text);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(line.chars().count() <= MAX_LOGGED_CHARS * 10 + 1);
        }
    }
}
