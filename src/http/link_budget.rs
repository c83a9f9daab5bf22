//! A layer around the routes that take a token from a mail: a network that tries many which do not work is to wait.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::account::budget::Try;
use crate::http::middleware::client_ip::Client;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::links;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The routes that take one.
const PATHS: [&str; 11] = [
    links::CONFIRM,
    links::RESET,
    links::EMAIL_CONFIRM,
    links::EMAIL_UNDO,
    links::ACCOUNT_RESTORE,
    links::DISOWN,
    "/api/v1/confirm",
    "/api/v1/reset",
    "/api/v1/email/confirm",
    "/api/v1/email/undo",
    "/api/v1/login/not-me",
];

/// Counts what is refused, and refuses more than the budget has.
pub async fn limit(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>().copied();
    let Some(client) = client.filter(|_| PATHS.contains(&request.uri().path())) else { return next.run(request).await };
    // another site's pictures and frames would use up the budget of whoever looks at it; a link in a mail is opened as a page
    if request.headers().get(SEC_FETCH_DEST).is_some_and(|kind| !matches!(kind.as_bytes(), b"document" | b"empty")) {
        return Problem::of(StatusCode::FORBIDDEN).into_response();
    }
    let attempt = match Try::at_link(&state.accounts, client.ip).await {
        Ok(attempt) => attempt,
        Err(error) => return Problem::from(error).into_response(),
    };
    let looks = request.method() == Method::GET || request.method() == Method::HEAD;
    let refusal = if looks { StatusCode::NOT_FOUND } else { StatusCode::UNPROCESSABLE_ENTITY };
    let response = next.run(request).await;
    if response.status() == refusal
        && let Err(error) = count(&state, &attempt).await
    {
        return Problem::from(error).into_response();
    }
    response
}

async fn count(state: &AppState, attempt: &Try) -> anyhow::Result<()> {
    let mut tx = state.accounts.db.begin().await?;
    attempt.failed(&mut tx, &state.accounts).await?;
    Ok(tx.commit().await?)
}
