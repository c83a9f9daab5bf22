//! Where one is signed in.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::session;
use crate::device;
use crate::http::api::me::signed_in;
use crate::http::api::me_account::must_be_fresh;
use crate::http::extract::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Who may not end any.
const STALE: &str = "Nobody is signed in; or, with the code `password-needed`, the password was not shown lately: \
    `POST /api/v1/me/proof` first";

/// The sessions of a person.
#[derive(Serialize, ToSchema)]
pub struct Sessions {
    /// The last one used first.
    items: Vec<Session>,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub struct Session {
    /// The session.
    id: Uuid,
    /// The device in words, in the language that is asked for: `Firefox on Linux`.
    device: String,
    /// The client's address then.
    ip: String,
    /// When it began.
    begun_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    seen_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    current: bool,
}

/// Where the person is signed in
///
/// # Errors
/// 401, 503.
#[utoipa::path(get, path = "/api/v1/me/sessions", security(("session" = [])), responses(
    (status = 200, description = "The sessions", body = Sessions), (status = 401, description = "Nobody is signed in")))]
pub async fn list(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    let sessions = session::of_user(&state.accounts, signed_in.user.id).await?;
    let t = visitor.locale.text();
    let items = sessions.into_iter().map(|one| Session {
        id: one.id,
        device: device::words(t, &one.user_agent),
        ip: one.ip,
        begun_at: one.created_at,
        seen_at: one.last_seen_at,
        current: one.id == signed_in.session,
    });
    Ok(Answer(Sessions { items: items.collect() }).into_response())
}

/// Ends a session
///
/// # Errors
/// 401, also if the password was not shown lately, 404 for none of the person's own, 503.
#[utoipa::path(delete, path = "/api/v1/me/sessions/{id}",
    params(("id" = Uuid, Path, description = "the session", example = "0198c0de-7a4f-7c1e-9b11-0f4d8a6c2e71")),
    security(("session" = [])),
    responses(
        (status = 204, description = "Ended, on every node"),
        (status = 401, description = STALE),
        (status = 404, description = "None of the person's own")))]
pub async fn end(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    let unknown = || Problem::of(StatusCode::NOT_FOUND);
    let id: Uuid = id.parse().map_err(|_| unknown())?;
    must_be_fresh(&state, &signed_in).await?;
    if !session::end(&state.accounts, signed_in.user.id, id).await? {
        return Err(unknown());
    }
    state.sessions.forget(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends all other sessions
///
/// # Errors
/// 401, also if the password was not shown lately, 503.
#[utoipa::path(delete, path = "/api/v1/me/sessions", security(("session" = [])), responses(
    (status = 204, description = "All others are ended, on every node"),
    (status = 401, description = STALE)))]
pub async fn end_others(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    must_be_fresh(&state, &signed_in).await?;
    let ended = session::end_others(&state.accounts, signed_in.user.id, signed_in.session).await?;
    state.sessions.forget_all(&ended);
    Ok(StatusCode::NO_CONTENT.into_response())
}
