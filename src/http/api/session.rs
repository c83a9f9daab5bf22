//! Signing in and out.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::account::login::{self as account_login, LoggedIn, LoginRefused};
use crate::http::api::schema::{LIMITED, Me};
use crate::http::extract::json::Json;
use crate::http::extract::visitor::Visitor;
use crate::http::middleware::request_log::LoginFailed;
use crate::http::problem::Problem;
use crate::http::response::{CLEAR_SITE_DATA, with_cookies};
use crate::http::state::AppState;

/// What signing in takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The address.
    email: String,
    /// The password.
    password: String,
    /// Whether the session is to stay when the browser is closed, without an idle limit.
    #[serde(default)]
    keep: bool,
}

/// Signs in
///
/// # Errors
/// 401 with one message for all causes, 429, 503.
#[utoipa::path(post, path = "/api/v1/login",
    request_body(content = Credentials,
        example = json!({"email": "ada@example.org", "password": "marble teapot kestrel orbit"})),
    responses(
        (status = 200, description = "Signed in: sets the session's cookie", body = Me),
        (status = 401, description = "The address or the password is wrong"),
        (status = 429, description = LIMITED)))]
pub async fn login(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Credentials>,
) -> Result<Response, Problem> {
    state.rate_limits.login.check(visitor.client.network)?;
    let browser = visitor.browser(given.keep);
    match account_login::login(&state.accounts, &given.email, &given.password, browser).await {
        Ok(LoggedIn { new, user, device, .. }) => {
            let session = state.session_cookie(&new, visitor.session)?;
            let device = device.map(|device| state.device_cookie(&device)).transpose()?;
            Ok(with_cookies(Answer(Me::from(user)).into_response(), [session].into_iter().chain(device)))
        }
        Err(error) => {
            let LoginRefused = error.downcast()?;
            let detail = "The address or the password is wrong.";
            let mut refused = Problem::new(StatusCode::UNAUTHORIZED, "wrong-credentials", detail).into_response();
            refused.extensions_mut().insert(LoginFailed);
            Ok(refused)
        }
    }
}

/// Signs out
///
/// # Errors
/// 503.
#[utoipa::path(post, path = "/api/v1/logout", security((), ("session" = [])),
    responses((status = 204, description = "Signed out, as far as somebody was signed in")))]
pub async fn logout(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    if let Some(token) = visitor.session {
        state.sessions.revoke(&state.accounts, token).await?;
    }
    let answer = (StatusCode::NO_CONTENT, [CLEAR_SITE_DATA]).into_response();
    Ok(with_cookies(answer, [state.sign_on.delete()]))
}
