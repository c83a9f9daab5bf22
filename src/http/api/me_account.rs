//! The whole of an account: taking it along and deleting it.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::deletion;
use crate::account::proof::{self, WrongPassword};
use crate::account::session::SignedIn;
use crate::http::api::me::{Item, signed_in};
use crate::http::api::schema::LIMITED;
use crate::http::export;
use crate::http::extract::json::Json;
use crate::http::extract::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::response::with_cookies;
use crate::http::state::AppState;

/// The present password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The present password.
    current_password: String,
}

/// A deletion that was asked for.
#[derive(Serialize, ToSchema)]
pub struct Deletion {
    /// When the account is deleted; it can be called off until then.
    deleted_at: DateTime<Utc>,
}

/// Everything that is kept about a person.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `export` writes")]
pub struct Export {
    account: ExportedAccount,
    sessions: Vec<ExportedSession>,
    /// What the person has signed in with.
    devices: Vec<ExportedDevice>,
    /// Sign-ins that the person was warned of in the last 30 days.
    warned_sign_ins: Vec<ExportedWarning>,
    /// Changes of the address that can still be confirmed or undone.
    email_changes: Vec<ExportedChange>,
    /// The login log, newest first.
    activity: Vec<Item>,
}

/// The account.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `export` writes")]
pub struct ExportedAccount {
    id: Uuid,
    email: String,
    name: String,
    locale: String,
    created_at: DateTime<Utc>,
    /// When it is deleted, if that was asked for.
    deletes_at: Option<DateTime<Utc>>,
}

/// A session.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `export` writes")]
pub struct ExportedSession {
    id: Uuid,
    ip: String,
    user_agent: String,
    begun_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
}

/// A browser or another program, as it is known.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `export` writes")]
pub struct ExportedDevice {
    /// A code of its cookie, or of its name and network, from which neither follows.
    mark: String,
    /// When it was last signed in with, to the day.
    seen_at: DateTime<Utc>,
}

/// A sign-in that was out of the ordinary.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `export` writes")]
pub struct ExportedWarning {
    session: Uuid,
    at: DateTime<Utc>,
}

/// A change of the address.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `export` writes")]
pub struct ExportedChange {
    email: String,
    former_email: String,
    asked_at: DateTime<Utc>,
    confirmed_at: Option<DateTime<Utc>>,
}

fn wrong(visitor: &Visitor) -> Problem {
    let text = visitor.locale.text().get("mistake-password-current");
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY).with_field("current_password", text)
}

/// For what must not be done from a browser that was left open.
pub(super) async fn must_be_fresh(state: &AppState, signed_in: &SignedIn) -> Result<(), Problem> {
    if proof::is_fresh(&state.accounts, signed_in.session).await? {
        return Ok(());
    }
    let detail = "The password was not shown lately: POST /api/v1/me/proof first.";
    Err(Problem::new(StatusCode::UNAUTHORIZED, "password-needed", detail))
}

/// Shows the password, for what asks for a fresh proof
///
/// # Errors
/// 401, 422 for another password, 429, 503.
#[utoipa::path(post, path = "/api/v1/me/proof",
    request_body(content = Proof, example = json!({"current_password": "marble teapot kestrel orbit"})),
    security(("session" = [])),
    responses(
        (status = 204, description = "Shown: sets the session's cookie anew, the old one is none any more"),
        (status = 401, description = "Nobody is signed in"),
        (status = 422, description = "Another password"),
        (status = 429, description = LIMITED)))]
pub async fn prove(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Proof>,
) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    state.rate_limits.login.check(visitor.client.network)?;
    match proof::prove(&state.accounts, &signed_in, visitor.client.ip, &given.current_password).await {
        Ok(new) => {
            let session = state.session_cookie(&new, visitor.session)?;
            Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), [session]))
        }
        Err(error) => {
            let WrongPassword = error.downcast()?;
            Err(wrong(&visitor))
        }
    }
}

/// Everything that is kept about the person
///
/// # Errors
/// 401, also if the password was not shown lately, 503.
#[utoipa::path(get, path = "/api/v1/me/export", security(("session" = [])), responses(
    (status = 200, description = "The account, its sessions and its login log", body = Export),
    (status = 401, description = "Nobody is signed in; or, with the code `password-needed`, the password was not shown \
        lately: `POST /api/v1/me/proof` first")))]
pub async fn export(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    must_be_fresh(&state, &signed_in).await?;
    export::answer(&state.accounts, signed_in.user).await
}

/// Asks for the deletion of the account
///
/// It happens after a time of grace, and can be called off until then. Every other session ends.
///
/// # Errors
/// 401, 422 for another password, 429, 503.
#[utoipa::path(delete, path = "/api/v1/me",
    request_body(content = Proof, example = json!({"current_password": "marble teapot kestrel orbit"})),
    security(("session" = [])),
    responses(
        (status = 202, description = "When it happens", body = Deletion),
        (status = 401, description = "Nobody is signed in"),
        (status = 422, description = "Another password"),
        (status = 429, description = LIMITED)))]
pub async fn delete(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Proof>,
) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    state.rate_limits.login.check(visitor.client.network)?;
    match deletion::schedule(&state.accounts, &signed_in, &given.current_password, visitor.origin.clone()).await {
        Ok(scheduled) => {
            state.sessions.forget_all(&scheduled.ended);
            Ok((StatusCode::ACCEPTED, Answer(Deletion { deleted_at: scheduled.deletes_at })).into_response())
        }
        Err(error) => {
            let WrongPassword = error.downcast()?;
            Err(wrong(&visitor))
        }
    }
}

/// Calls the deletion of the account off
///
/// # Errors
/// 401, 503.
#[utoipa::path(post, path = "/api/v1/me/restore", security(("session" = [])), responses(
    (status = 204, description = "Called off, as far as it was asked for"),
    (status = 401, description = "Nobody is signed in")))]
pub async fn restore(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    deletion::call_off(&state.accounts, signed_in.user.id, visitor.origin.clone()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
