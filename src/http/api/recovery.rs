//! Getting back in.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::disown::{self as account_disown, DisownRefused, Disowned};
use crate::account::identity::address::AddressError;
use crate::account::reset::{self as account_reset, PasswordSet, ResetRefused, ResetRequest};
use crate::http::api::schema::{LIMITED, MailedToken, invalid_token};
use crate::http::cookies::Cookie;
use crate::http::extract::json::Json;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::problem::Problem;
use crate::http::response::with_cookies;
use crate::http::state::AppState;

/// What asking for a new password takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgotten {
    /// The address of the account.
    email: String,
}

/// What asking for a new password answers.
#[derive(Serialize, ToSchema)]
pub struct MailPending {
    /// Always `mail_pending`, whoever has the address.
    #[schema(example = "mail_pending")]
    status: &'static str,
}

/// What setting a new password takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// From the link in the mail.
    token: String,
    /// 15 to 256 characters.
    password: String,
}

/// Asks for a link that sets a new password
///
/// The answer is the same whoever has the address.
///
/// # Errors
/// 422 for what is no address, 429, 503.
#[utoipa::path(post, path = "/api/v1/forgot",
    request_body(content = Forgotten, example = json!({"email": "ada@example.org"})),
    responses(
        (status = 202, description = "A mail goes to the address", body = MailPending),
        (status = 422, description = "What is no address"),
        (status = 429, description = LIMITED)))]
pub async fn forgot(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Forgotten>,
) -> Result<Response, Problem> {
    state.rate_limits.register.check(visitor.client.network)?;
    let (locale, origin) = (visitor.locale.tag(), visitor.origin.clone());
    match account_reset::request(
        &state.accounts,
        ResetRequest { email: &given.email, locale, form: None, in_any_case: false, origin },
    )
    .await
    {
        Ok(browser) => {
            let answer = (StatusCode::ACCEPTED, Answer(MailPending { status: "mail_pending" }));
            Ok(with_cookies(answer.into_response(), [state.reset_cookie(&browser)?]))
        }
        Err(error) => {
            let error: AddressError = error.downcast()?;
            let text = visitor.locale.text().get(field_errors::of_address(error));
            Err(Problem::of(StatusCode::UNPROCESSABLE_ENTITY).with_field("email", text))
        }
    }
}

/// Sets a new password and ends every session
///
/// # Errors
/// 422 for a link that does not work or a password that may not be chosen, 429, 503.
#[utoipa::path(post, path = "/api/v1/reset",
    request_body(content = Reset,
        example = json!({"token": "AZjA3npPfB6bEQ9NimwucQ", "password": "copper lantern orchid meadow"})),
    responses(
        (status = 204, description = "Set, and every session ended"),
        (status = 422, description = "A link that does not work, or a password that may not be chosen"),
        (status = 429, description = LIMITED)))]
pub async fn reset(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Reset>,
) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    match account_reset::reset(&state.accounts, &given.token, &given.password, visitor.browser(false)).await {
        Ok(PasswordSet { ended, device }) => {
            state.sessions.forget_all(&ended);
            let deleted = [state.sign_on.delete(), Cookie::Reset.delete(state.https)];
            let device = device.map(|device| state.device_cookie(&device)).transpose()?;
            Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), deleted.into_iter().chain(device)))
        }
        Err(error) => Err(match error.downcast()? {
            ResetRefused::Invalid => invalid_token(),
            ResetRefused::Weak(weakness) => Problem::of(StatusCode::UNPROCESSABLE_ENTITY)
                .with_field("password", visitor.locale.text().get(field_errors::of_new_password(weakness))),
        }),
    }
}

/// Says that a sign-in was somebody else's: ends its session, and asks for a link that sets a new password
///
/// The token is that of the link in the mail that warned of the sign-in. Safe to repeat.
///
/// # Errors
/// 422 for a link that does not work, 429, 503.
#[utoipa::path(post, path = "/api/v1/login/not-me",
    request_body(content = MailedToken, example = json!({"token": "AZjA3npPfB6bEQ9NimwucQ"})),
    responses(
        (status = 204, description = "The session has ended, and a mail goes to the address of the account"),
        (status = 422, description = "A link that does not work"),
        (status = 429, description = LIMITED)))]
pub async fn disown(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<MailedToken>,
) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    match account_disown::disown(&state.accounts, &given.token, visitor.locale.tag(), visitor.origin.clone()).await {
        Ok(Disowned { ended, browser }) => {
            state.sessions.forget_all(&ended);
            Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), [state.reset_cookie(&browser)?]))
        }
        Err(error) => {
            let DisownRefused = error.downcast()?;
            Err(invalid_token())
        }
    }
}
