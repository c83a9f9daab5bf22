//! The OpenAPI 3.1 document.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Bellhop", description = "Sign-up and login. Errors are problem details (RFC 9457)."))]
struct Document;

/// The document without any call: the route table adds them.
#[must_use]
pub fn without_calls() -> OpenApi {
    Document::openapi()
}

/// GET /api/openapi.json
pub async fn document(Extension(document): Extension<Arc<OpenApi>>) -> Response {
    Json(&*document).into_response()
}
