//! What whoever runs it asks: `/livez` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::http::readiness::Readiness;
use crate::http::state::AppState;
use crate::links;

/// GET /livez: the process runs. Touches nothing.
pub async fn livez() -> &'static str {
    "ok\n"
}

/// GET /readyz: 200 when requests can be taken, else 503; what is degraded is named.
pub async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    answer(&state.readiness).await
}

/// The two, for an address of their own that needs no web: whoever may reach it may ask, whatever it says.
pub fn router(readiness: Arc<Readiness>) -> Router {
    let ready = async |State(readiness): State<Arc<Readiness>>| answer(&readiness).await;
    Router::new().route(links::LIVEZ, get(livez)).route(links::READYZ, get(ready)).with_state(readiness)
}

async fn answer(readiness: &Readiness) -> Response {
    let report = readiness.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(report)).into_response()
}
