//! What whoever runs it asks: `/livez` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Serialize;

use crate::http::middleware::client_ip::Client;
use crate::http::readiness::Readiness;
use crate::http::state::AppState;
use crate::links;

/// GET /livez: the process runs. Touches nothing.
pub async fn livez() -> &'static str {
    "ok\n"
}

/// GET /readyz: 200 when requests can be taken, else 503; what is degraded is named. Who asks from this machine is told of
/// each part besides.
pub async fn readyz(
    State(state): State<Arc<AppState>>,
    client: Client,
    version: Version,
    headers: HeaderMap,
) -> Response {
    let report = state.readiness.report().await;
    if client.is_local(version, &headers) {
        answer(report.ready, report)
    } else {
        answer(report.ready, report.for_strangers())
    }
}

/// The two, for an address of their own that needs no web: whoever may reach it may ask, whatever it says.
pub fn router(readiness: Arc<Readiness>) -> Router {
    let ready = async |State(readiness): State<Arc<Readiness>>| {
        let report = readiness.report().await;
        answer(report.ready, report)
    };
    Router::new().route(links::LIVEZ, get(livez)).route(links::READYZ, get(ready)).with_state(readiness)
}

fn answer(ready: bool, told: impl Serialize) -> Response {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(told)).into_response()
}
