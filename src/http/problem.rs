//! Everything that goes wrong, told in one form: a page to people, problem details to programs (RFC 9457).
//!
//! A handler returns a [`Problem`]; [`render`], the one place that writes it out, looks at who asked. An error that is
//! ours (`?` on anything) becomes a 500 without details, and is logged here, once, with the request's id.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::db;
use crate::error::{Away, Overloaded};
use crate::http::middleware::trace::RequestId;

/// When somebody whom we could not serve for now may come back.
const SOON: Duration = Duration::from_secs(2);

/// What went wrong, in words that may be told to a stranger.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status of the answer, 4xx or 5xx.
    pub status: StatusCode,
    /// A word for programs, and the key of the page's text: `not-found`, `too-many-requests`.
    pub code: &'static str,
    /// One English sentence for the developer of a program; never made of user text, SQL, paths or versions.
    pub detail: Option<&'static str>,
    /// When to come back; told in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// The fields that were refused, each with a sentence why.
    pub fields: Vec<FieldProblem>,
    cause: Option<Arc<anyhow::Error>>,
}

/// Why a field was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field's name in the API.
    pub field: &'static str,
    /// A sentence for the person who filled it in.
    pub detail: String,
}

impl Problem {
    /// A problem with a code of its own.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { code, detail: Some(detail), ..Self::of(status) }
    }

    /// A problem of which there is no more to say than its status.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST => "bad-request",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not-found",
            StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
            StatusCode::REQUEST_TIMEOUT => "request-timeout",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
            StatusCode::MISDIRECTED_REQUEST => "misdirected",
            StatusCode::UNPROCESSABLE_ENTITY => "unprocessable",
            StatusCode::TOO_MANY_REQUESTS => "too-many-requests",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            status if status.is_client_error() => "refused",
            _ => "internal",
        };
        Self { status, code, detail: None, retry_after: None, fields: Vec::new(), cause: None }
    }

    /// Too many requests (429): come back after `wait`.
    #[must_use]
    pub fn too_many_requests(wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::of(StatusCode::TOO_MANY_REQUESTS) }
    }

    /// No capacity at the moment (503): come back after `wait`.
    #[must_use]
    pub fn unavailable(wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::of(StatusCode::SERVICE_UNAVAILABLE) }
    }

    /// Adds a field that was refused.
    #[must_use]
    pub fn with_field(mut self, field: &'static str, detail: impl Into<String>) -> Self {
        self.fields.push(FieldProblem { field, detail: detail.into() });
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        let error = error.into();
        if error.is::<Overloaded>() {
            // nothing is broken: there is just more to hash than threads to hash it
            return Self::unavailable(SOON);
        }
        let status = if error.is::<Away>() || db::is_unavailable(&error) {
            Self::unavailable(SOON)
        } else {
            Self::of(StatusCode::INTERNAL_SERVER_ERROR)
        };
        Self { cause: Some(Arc::new(error)), ..status }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer to a request whose handler panicked, for tower-http's `CatchPanicLayer`.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the box")]
pub fn from_panic(panic: Box<dyn Any + Send>) -> Response {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::from(anyhow::anyhow!("a handler panicked: {}", said.unwrap_or("no message"))).into_response()
}

/// What a page about a problem may know of the request.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// `Accept-Language` as it came, or empty.
    pub accept_language: &'a str,
    /// The request's id, for a 5xx page: the operator finds the log line by it.
    pub request_id: Option<RequestId>,
}

/// Writes the HTML page about a problem. It escapes, and never fails.
pub type RenderPage = fn(&Problem, PageRequest<'_>) -> String;

/// Problem details (RFC 9457). `type` stays `about:blank`, so `title` is the status's phrase; `code` and `errors` are
/// extension members. The request's id is there only where there is a log line to find, so that refusals of one kind are
/// equal to the byte.
#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// The layer that writes problems out, and logs the ones that are ours.
///
/// It also takes over answers that axum itself gives (no route, wrong method, an extractor's refusal): errors without a
/// body or with a plain text one. A handler's own error answer in HTML or JSON passes as it is.
pub async fn render(State(page): State<RenderPage>, request: Request, next: Next) -> Response {
    let json = wants_json(request.uri().path(), request.headers());
    let language = request.headers().get(ACCEPT_LANGUAGE).cloned();
    let request_id = request.extensions().get::<RequestId>().copied();

    let mut response = next.run(request).await;
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare(&response) => Problem::of(response.status()),
        None => return response,
    };
    if let Some(cause) = &problem.cause {
        let request_id = request_id.map(|RequestId(id)| tracing::field::display(id));
        tracing::error!(request_id, error = format!("{cause:#}"), "a request failed");
    }

    let told_id = request_id.filter(|_| problem.status.is_server_error());
    let (kind, body) = if json {
        ("application/problem+json", details(&problem, told_id))
    } else {
        let accept_language = language.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        ("text/html; charset=utf-8", page(&problem, PageRequest { accept_language, request_id: told_id }))
    };
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *response.body_mut() = Body::from(body);
    response
}

fn details(problem: &Problem, request_id: Option<RequestId>) -> String {
    let details = Details {
        r#type: "about:blank",
        title: problem.status.canonical_reason().unwrap_or("Error"),
        status: problem.status.as_u16(),
        code: problem.code,
        detail: problem.detail,
        errors: &problem.fields,
        request_id: request_id.map(|RequestId(id)| id.to_string()),
    };
    serde_json::to_string(&details).unwrap_or_default()
}

/// Whether axum, not a handler, wrote this error.
fn is_bare(response: &Response) -> bool {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    failed && response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// Whether the caller is a program: it called the API, or it would rather have JSON than HTML (RFC 9110 section 12.5.1).
/// `*/*` says nothing either way.
#[must_use]
pub fn wants_json(path: &str, headers: &HeaderMap) -> bool {
    if path.starts_with("/api/") {
        return true;
    }
    let (mut json, mut html) = (0.0, 0.0);
    for entry in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','))
    {
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
        match kind.as_str() {
            "text/html" | "application/xhtml+xml" => html = f32::max(html, weight),
            "application/json" | "application/problem+json" => json = f32::max(json, weight),
            _ => {}
        }
    }
    json > html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(accept: &str) -> bool {
        wants_json("/login", &HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]))
    }

    #[test]
    fn the_api_and_those_who_rather_have_json_get_json() {
        assert!(wants_json("/api/v1/login", &HeaderMap::new()));
        assert!(!wants_json("/api", &HeaderMap::new()));
        assert!(!wants_json("/login", &HeaderMap::new()));
        for accept in ["application/json", "Application/JSON;q=0.5", "text/html;q=0.5, application/problem+json;q=0.9"]
        {
            assert!(accepts(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "",
            "text/html",
            "text/html, application/json",
            "application/json;q=x",
            "application/json;q=NaN",
            ";;,",
        ] {
            assert!(!accepts(accept), "{accept}");
        }
    }

    #[test]
    fn an_error_of_ours_says_nothing_outside() {
        let error = std::io::Error::other("select * from user at /srv/bellhop 1.0");
        let problem = Problem::from(error);
        let body = details(&problem, None);
        assert_eq!(body, r#"{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal"}"#);
    }

    #[test]
    fn refused_fields_are_listed() {
        let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY).with_field("email", "This is no address.");
        assert_eq!(
            details(&problem, None),
            r#"{"type":"about:blank","title":"Unprocessable Entity","status":422,"code":"unprocessable","errors":[{"field":"email","detail":"This is no address."}]}"#
        );
    }

    #[test]
    fn waiting_is_told_in_whole_seconds_and_never_zero() {
        for (wait, told) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (61_500, "62")] {
            let response = Problem::too_many_requests(Duration::from_millis(wait)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], told);
        }
    }
}
