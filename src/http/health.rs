//! `/livez` and `/readyz`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::http::state::AppState;

/// GET /livez: the process runs. Touches nothing.
pub async fn livez() -> &'static str {
    "ok\n"
}

/// GET /readyz: 200 when requests can be taken, else 503; what is degraded is named.
pub async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    let report = state.readiness.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(report)).into_response()
}
