//! Registering and confirming.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::confirm::{self as account_confirm, ConfirmRefused, Confirmed};
use crate::account::credentials::policy::Password;
use crate::account::register::{self as account_register, NewRegistration, RegistrationErrors};
use crate::http::api::schema::LIMITED;
use crate::http::cookies::Cookie;
use crate::http::extract::json::Json;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::problem::Problem;
use crate::http::response::with_cookies;
use crate::http::state::AppState;

/// What registering takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// One address with a domain, at most 254 bytes.
    email: String,
    /// 15 to 256 characters.
    password: String,
    /// What to call the person, at most 100 characters.
    name: String,
}

/// What registering answers.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// Always `confirmation_pending`, whoever has the address.
    #[schema(example = "confirmation_pending")]
    status: &'static str,
}

/// What confirming takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// From the link in the mail.
    token: String,
    /// As chosen at the registration; not needed with the cookie that registering set.
    password: Option<String>,
    /// Whether the session is to stay when the browser is closed, without an idle limit.
    #[serde(default)]
    keep: bool,
}

/// Asks for an account
///
/// The answer is the same whoever has the address. Sets a cookie that stands for the password when confirming.
///
/// # Errors
/// 422 with the fields that were refused, 429, 503.
#[utoipa::path(post, path = "/api/v1/register",
    request_body(content = Registration,
        example = json!({"email": "ada@example.org", "password": "marble teapot kestrel orbit", "name": "Ada"})),
    responses(
        (status = 202, description = "A mail goes to the address. Sets the registration's cookie", body = Registered),
        (status = 422, description = "Fields that were refused"),
        (status = 429, description = LIMITED)))]
pub async fn register(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Registration>,
) -> Result<Response, Problem> {
    state.rate_limits.register.check(visitor.client.network)?;
    let (t, locale, origin) = (visitor.locale.text(), visitor.locale.tag(), visitor.origin.clone());
    let Registration { email, password, name } = &given;
    let new = NewRegistration { email, name, password, locale, form: None, next: None, origin };
    match account_register::register(&state.accounts, new).await {
        Ok(browser) => {
            let answer = (StatusCode::ACCEPTED, Answer(Registered { status: "confirmation_pending" }));
            Ok(with_cookies(answer.into_response(), [state.registration_cookie(&browser)?]))
        }
        Err(error) => {
            let errors: RegistrationErrors = error.downcast()?;
            let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY);
            let fields = field_errors::of_registration(errors, t).into_iter();
            Err(fields.fold(problem, |problem, (field, text)| problem.with_field(field, text)))
        }
    }
}

/// Confirms the address and signs in
///
/// # Errors
/// 422 for a link that does not work or a password that is missing or wrong, 429, 503.
#[utoipa::path(post, path = "/api/v1/confirm",
    request_body(content = Confirmation,
        example = json!({"token": "AZjA3npPfB6bEQ9NimwucQ", "password": "marble teapot kestrel orbit"})),
    security((), ("registration" = [])),
    responses(
        (status = 204, description = "Confirmed and signed in: sets the session's cookie"),
        (status = 422, description = "A link that does not work, or a password that is missing or wrong"),
        (status = 429, description = LIMITED)))]
pub async fn confirm(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Confirmation>,
) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let password = given.password.and_then(|password| Password::normalise(&password).ok());
    let browser = visitor.browser(given.keep);
    match account_confirm::confirm(&state.accounts, &given.token, visitor.registration, password, browser).await {
        Ok(Confirmed { new, device, .. }) => {
            let device = device.map(|device| state.device_cookie(&device)).transpose()?;
            let session = state.session_cookie(&new, visitor.session)?;
            let cookies = [session, Cookie::Registration.delete(state.https)].into_iter().chain(device);
            Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), cookies))
        }
        Err(error) => {
            let unprocessable = |code, detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
            Err(match error.downcast()? {
                ConfirmRefused::Invalid => unprocessable("invalid-token", "The token is unknown or expired."),
                ConfirmRefused::Confirmed => unprocessable("already-confirmed", "The address is confirmed: sign in."),
                ConfirmRefused::Password => {
                    unprocessable("password-needed", "The password that was chosen at the registration is needed.")
                }
            })
        }
    }
}
