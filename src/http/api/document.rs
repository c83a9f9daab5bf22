//! The OpenAPI 3.1 document. What a call answers itself stands beside its handler; what the layers around every route answer is
//! added here, once.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{self, Content, Header, ObjectBuilder, OpenApi, Ref, RefOr, Type};

use crate::http::api::schema::ProblemDetails;
use crate::http::cookies::Cookie;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Bellhop", description = "Sign-up and login. Errors are problem details (RFC 9457)."),
    components(schemas(ProblemDetails))
)]
struct Document;

/// To whom one of the layers may say it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    All,
    /// Calls that may change something.
    Changes,
    /// Calls that take a body.
    Bodies,
}

/// What the layers around every route answer, whatever the call: by the name that the document has for it.
const BY_LAYERS: [(StatusCode, &str, To, &str); 10] = [
    (StatusCode::BAD_REQUEST, "Malformed", To::All, "A URL, a body or a `Host` that cannot be read"),
    (
        StatusCode::FORBIDDEN,
        "CrossSite",
        To::Changes,
        "From a page of another site, or a session without a word where it comes from",
    ),
    (StatusCode::REQUEST_TIMEOUT, "TooSlow", To::Bodies, "The body does not come in time"),
    (StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", To::All, "A body of more than 16 KiB"),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "WrongType",
        To::All,
        "A body that is not `application/json`, or is compressed",
    ),
    (StatusCode::MISDIRECTED_REQUEST, "WrongHost", To::All, "For another host than the public URL's"),
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        "Unprocessable",
        To::All,
        "A field too many, too few, twice or of another type; NUL in a text",
    ),
    (HEAD_TOO_LARGE, "HeadTooLarge", To::All, "A head of more than 16 KiB or 64 headers; without a body"),
    (StatusCode::INTERNAL_SERVER_ERROR, "Internal", To::All, "An error of ours"),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "Unavailable",
        To::All,
        "The database or the broker is away, or too much is asked at once",
    ),
];

/// How a call knows somebody.
const COOKIES: [(&str, Cookie, &str); 2] = [
    (
        "session",
        Cookie::Session,
        "Set by signing in and by confirming. A POST with it says where it comes from, as browsers do: by `Origin`, which is the \
         public URL, or by `Sec-Fetch-Site`.",
    ),
    ("registration", Cookie::Registration, "Set by registering; stands for the password when confirming."),
];

const HEAD_TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;

/// The document without any call: the route table adds them.
#[must_use]
pub fn without_calls() -> OpenApi {
    Document::openapi()
}

/// Adds to the calls what holds for all of them: how somebody is known, and what the layers answer.
#[must_use]
pub fn completed(mut document: OpenApi, https: bool) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let PathItem { get, post, put, patch, delete, .. } = item;
        for (operation, changes) in [(get, false), (post, true), (put, true), (patch, true), (delete, true)] {
            if let Some(operation) = operation {
                complete(operation, changes);
            }
        }
    }
    let components = document.components.get_or_insert_default();
    for (status, name, _, description) in BY_LAYERS {
        let mut response = openapi::Response::new(description);
        describe(&mut response, status);
        components.responses.insert(name.to_owned(), RefOr::T(response));
    }
    for (name, cookie, description) in COOKIES {
        let key = ApiKeyValue::with_description(cookie.name(https), description);
        let scheme = SecurityScheme::ApiKey(ApiKey::Cookie(key));
        components.security_schemes.insert(name.to_owned(), RefOr::T(scheme));
    }
    document
}

fn complete(operation: &mut Operation, changes: bool) {
    let has_body = operation.request_body.is_some();
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let (Ok(status), RefOr::T(response)) = (status.parse(), response) {
            describe(response, status);
        }
    }
    for (status, name, to, _) in BY_LAYERS {
        let holds = match to {
            To::All => true,
            To::Changes => changes,
            To::Bodies => has_body,
        };
        if holds {
            // what a call says of itself is more than what holds for all
            let shared = || RefOr::Ref(Ref::from_response_name(name));
            responses.entry(status.as_str().to_owned()).or_insert_with(shared);
        }
    }
}

/// Adds what every refusal has: problem details, and when to come back where that helps.
fn describe(response: &mut openapi::Response, status: StatusCode) {
    let is_refusal = status.is_client_error() || status.is_server_error();
    if is_refusal && status != HEAD_TOO_LARGE {
        let content = Content::new(Some(Ref::from_schema_name("ProblemDetails")));
        response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).description(Some("Seconds to wait"));
        response.headers.insert("Retry-After".to_owned(), RefOr::T(Header::new(seconds.build())));
    }
}

/// GET /api/openapi.json
pub async fn document(Extension(document): Extension<Arc<OpenApi>>) -> Response {
    Json(&*document).into_response()
}
