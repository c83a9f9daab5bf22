//! Moving an account to another address.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::change_email::{self, LinkRefused};
use crate::account::waiting_email;
use crate::http::api::me::signed_in;
use crate::http::api::schema::{LIMITED, MailedToken, invalid_token};
use crate::http::extract::json::Json;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::problem::Problem;
use crate::http::response::with_cookies;
use crate::http::state::AppState;

/// What moving an account to another address takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEmail {
    /// The new address.
    email: String,
    /// The present password.
    current_password: String,
}

/// What moving an account to another address answers.
#[derive(Serialize, ToSchema)]
pub struct EmailPending {
    /// Always `confirmation_pending`, whoever has the new address.
    #[schema(example = "confirmation_pending")]
    status: &'static str,
}

/// Asks to move the account to another address
///
/// Nothing changes until the link in the mail to the new address is used. The answer is the same whoever has that address.
///
/// # Errors
/// 401, 422 with the fields that were refused, 429, 503.
#[utoipa::path(post, path = "/api/v1/me/email",
    request_body(content = NewEmail,
        example = json!({"email": "ada@example.net", "current_password": "marble teapot kestrel orbit"})),
    security(("session" = [])),
    responses(
        (status = 202, description = "A mail goes to the new address", body = EmailPending),
        (status = 401, description = "Nobody is signed in"),
        (status = 422, description = "Fields that were refused"),
        (status = 429, description = LIMITED)))]
pub async fn change(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<NewEmail>,
) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    state.rate_limits.login.check(visitor.client.network)?;
    let (NewEmail { email, current_password }, origin) = (given, visitor.origin.clone());
    match change_email::request(&state.accounts, &signed_in, &email, &current_password, origin).await {
        Ok(()) => Ok((StatusCode::ACCEPTED, Answer(EmailPending { status: "confirmation_pending" })).into_response()),
        Err(error) => {
            let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY);
            let fields = field_errors::of_email(error.downcast()?, visitor.locale.text()).into_iter();
            Err(fields.fold(problem, |problem, (field, text)| problem.with_field(field, text)))
        }
    }
}

/// Calls off a move to another address that waits for its confirmation
///
/// # Errors
/// 401, 503.
#[utoipa::path(delete, path = "/api/v1/me/email",
    security(("session" = [])),
    responses(
        (status = 204, description = "Called off, or nothing waited"),
        (status = 401, description = "Nobody is signed in")))]
pub async fn withdraw(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<StatusCode, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    waiting_email::withdraw(&state.accounts, signed_in.user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Confirms the new address
///
/// # Errors
/// 422 for a link that does not work, 429, 503.
#[utoipa::path(post, path = "/api/v1/email/confirm",
    request_body(content = MailedToken, example = json!({"token": "AZjA3npPfB6bEQ9NimwucQ"})),
    responses(
        (status = 204, description = "The account has the new address"),
        (status = 422, description = "A link that does not work"),
        (status = 429, description = LIMITED)))]
pub async fn confirm(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<MailedToken>,
) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    match change_email::confirm(&state.accounts, &given.token, visitor.origin.clone()).await {
        Ok(_) => {
            if let Some(session) = visitor.session {
                state.sessions.forget_token(session);
            }
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(error) => {
            let LinkRefused = error.downcast()?;
            Err(invalid_token())
        }
    }
}

/// Gives the account its former address again and ends every session
///
/// # Errors
/// 422 for a link that does not work, 429, 503.
#[utoipa::path(post, path = "/api/v1/email/undo",
    request_body(content = MailedToken, example = json!({"token": "AZjA3npPfB6bEQ9NimwucQ"})),
    responses(
        (status = 204, description = "Undone, and every session ended"),
        (status = 422, description = "A link that does not work"),
        (status = 429, description = LIMITED)))]
pub async fn undo(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<MailedToken>,
) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    match change_email::undo(&state.accounts, &given.token, visitor.origin.clone()).await {
        Ok(undone) => {
            state.sessions.forget_all(&undone.ended);
            Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), [state.sign_on.delete()]))
        }
        Err(error) => {
            let LinkRefused = error.downcast()?;
            Err(invalid_token())
        }
    }
}
