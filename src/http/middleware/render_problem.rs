//! Writes a [`Problem`] out, in the one place that does: a page to people, problem details to programs (RFC 9457).
//!
//! An error of ours is logged here, once, with the request's id.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;

use crate::http::accept;
use crate::http::middleware::trace::RequestId;
use crate::http::problem::{FieldProblem, Problem};
use crate::links;
use crate::locale::Locale;

/// What a page about a problem may know of the request.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// The reader's language.
    pub locale: Locale,
    /// What the reader did …
    pub method: Method,
    /// … and where.
    pub uri: Uri,
    /// The request's id, for a 5xx page: the operator finds the log line by it.
    pub request_id: Option<RequestId>,
}

/// Writes the HTML page about a problem. It escapes, and never fails.
pub type RenderPage = fn(&Problem, &PageRequest) -> String;

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

/// The layer that writes problems out, and logs the ones that are faults of ours.
///
/// It also takes over answers that axum itself gives (no route, wrong method, an extractor's refusal): errors without a
/// body or with a plain text one. A handler's own error answer in HTML or JSON passes as it is.
pub async fn render_problem(State(page): State<RenderPage>, request: Request, next: Next) -> Response {
    let json = wants_json(request.uri().path(), request.headers());
    let (chosen, language) =
        (accept::chosen_locale(request.headers()), request.headers().get(ACCEPT_LANGUAGE).cloned());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let request_id = request.extensions().get::<RequestId>().copied();

    let mut response = next.run(request).await;
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare(&response) => Problem::of(response.status()),
        None => return response,
    };
    if let Some(cause) = &problem.cause {
        let request_id = request_id.map(|RequestId(id)| tracing::field::display(id));
        let error = format!("{cause:#}");
        if problem.status == StatusCode::SERVICE_UNAVAILABLE {
            // what is away is said once, by who watches over it, and not by each who meets it
            tracing::debug!(request_id, error, "a request could not be served");
        } else {
            tracing::error!(request_id, error, "a request failed");
        }
    }

    let told_id = request_id.filter(|_| problem.status.is_server_error());
    let locale = || chosen.unwrap_or_else(|| accept::locale(language.as_ref()));
    let (kind, body) =
        written(&problem, json, || PageRequest { locale: locale(), method, uri, request_id: told_id }, page);
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *response.body_mut() = Body::from(body);
    response
}

fn wants_json(path: &str, headers: &HeaderMap) -> bool {
    path.starts_with(links::API) || accept::prefers_json(headers)
}

/// The content type and the body.
fn written(
    problem: &Problem,
    json: bool,
    asked: impl FnOnce() -> PageRequest,
    page: RenderPage,
) -> (&'static str, String) {
    let asked = asked();
    if json {
        return ("application/problem+json", details(problem, asked.request_id));
    }
    ("text/html; charset=utf-8", page(problem, &asked))
}

/// The content type and the body of a 500 about which nothing else is known.
pub(super) fn of_server_error(path: &str, headers: &HeaderMap, page: RenderPage) -> (&'static str, String) {
    let problem = Problem::of(StatusCode::INTERNAL_SERVER_ERROR);
    let locale = accept::chosen_locale(headers).unwrap_or_else(|| accept::locale(headers.get(ACCEPT_LANGUAGE)));
    let asked = || PageRequest { locale, method: Method::GET, uri: Uri::default(), request_id: None };
    written(&problem, wants_json(path, headers), asked, page)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
