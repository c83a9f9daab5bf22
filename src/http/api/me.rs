//! Who is signed in, and what is theirs.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::change_password::{self, PasswordChanged};
use crate::account::login_log::{self, Entry, Filter};
use crate::account::profile::{self, ProfileChange};
use crate::account::session::SignedIn;
use crate::http::api::schema::{LIMITED, Me};
use crate::http::extract::json::Json;
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::problem::Problem;
use crate::http::response::with_cookies;
use crate::http::state::AppState;

/// Entries of the login log in one answer, unless asked for otherwise.
const DEFAULT_PAGE_ENTRIES: u8 = 20;
/// … and at the most.
const MAX_PAGE_ENTRIES: u8 = 100;

/// A part of the login log.
#[derive(Serialize, ToSchema)]
pub struct Activity {
    /// Newest first.
    items: Vec<Item>,
    /// To be given as `before` for what is older; none when there is nothing older.
    next: Option<Uuid>,
}

/// An entry of the login log.
#[derive(Serialize, ToSchema)]
pub struct Item {
    /// The event's id.
    id: Uuid,
    /// The event's type: `login.succeeded`, `login.failed`, `user.confirmed`, `password.changed`.
    r#type: String,
    /// When.
    at: DateTime<Utc>,
    /// From which address.
    ip: String,
    /// With which program.
    user_agent: String,
    /// Why it was refused, if it was.
    reason: Option<String>,
}

impl From<Entry> for Item {
    fn from(Entry { id, kind, at, ip, user_agent, reason, .. }: Entry) -> Self {
        Item { id, r#type: kind, at, ip, user_agent, reason }
    }
}

/// Who is signed in
///
/// # Errors
/// 401, 503.
#[utoipa::path(get, path = "/api/v1/me", security(("session" = [])), responses(
    (status = 200, description = "The account", body = Me), (status = 401, description = "Nobody is signed in")))]
pub async fn me(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    Ok(Answer(Me::from(signed_in(&state, &visitor).await?.user)).into_response())
}

/// The login log of who is signed in
///
/// # Errors
/// 401, 422 for a `before` or `limit` that is none, 503.
#[utoipa::path(get, path = "/api/v1/me/activity",
    params(
        ("before" = Option<Uuid>, Query, description = "only what is older than this entry",
            example = "0198c0de-7a4f-7c1e-9b11-0f4d8a6c2e71"),
        ("limit" = Option<u8>, Query, description = "1 to 100", minimum = 1, maximum = 100, example = 20)),
    security(("session" = [])),
    responses(
        (status = 200, description = "A part of the log", body = Activity),
        (status = 401, description = "Nobody is signed in"),
        (status = 422, description = "A `before` or a `limit` that is none")))]
pub async fn activity(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    let wrong = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-parameter", detail);
    let before = query.get("before").map(|text| text.parse::<Uuid>()).transpose();
    let before = before.map_err(|_| wrong("before is not the id of an entry."))?;
    let limit = query.get("limit").map_or(Ok(DEFAULT_PAGE_ENTRIES), |text| text.parse::<u8>());
    let limit = limit.ok().filter(|limit| (1..=MAX_PAGE_ENTRIES).contains(limit));
    let limit = limit.ok_or_else(|| wrong("limit is not a number from 1 to 100."))?;
    // one more than asked for tells whether there is a next page
    let mut entries =
        login_log::of_user(&state.accounts, signed_in.user.id, Filter { before, refused: false }, limit + 1).await?;
    let more = entries.len() > usize::from(limit);
    entries.truncate(usize::from(limit));
    let next = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(Answer(Activity { items: entries.into_iter().map(Item::from).collect(), next }).into_response())
}

/// What is to change; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What to call the person, at most 100 characters.
    name: Option<String>,
    /// The language of their pages and mails: `en`, `zh-CN`.
    locale: Option<String>,
}

/// Changes the name or the language
///
/// # Errors
/// 401, 422 with the fields that were refused, 429, 503.
#[utoipa::path(patch, path = "/api/v1/me",
    request_body(content = Change, example = json!({"name": "Ada Lovelace", "locale": "en"})),
    security(("session" = [])),
    responses(
        (status = 200, description = "The account as it is now", body = Me),
        (status = 401, description = "Nobody is signed in"),
        (status = 422, description = "Fields that were refused"),
        (status = 429, description = LIMITED)))]
pub async fn change(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Change>,
) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    state.rate_limits.login.check(visitor.client.network)?;
    let change = ProfileChange { name: given.name.as_deref(), locale: given.locale.as_deref() };
    match profile::change(&state.accounts, &signed_in.user, change).await {
        Ok(user) => {
            state.sessions.forget(signed_in.session);
            Ok(Answer(Me::from(user)).into_response())
        }
        Err(error) => {
            let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY);
            let fields = field_errors::of_profile(error.downcast()?, visitor.locale.text()).into_iter();
            Err(fields.fold(problem, |problem, (field, text)| problem.with_field(field, text)))
        }
    }
}

/// What changing the password takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The present one.
    current_password: String,
    /// The new one, 15 to 256 characters.
    password: String,
}

/// Changes the password
///
/// Every other session ends; this one goes on under the cookie that is set.
///
/// # Errors
/// 401, 422 with the fields that were refused, 429, 503.
#[utoipa::path(post, path = "/api/v1/me/password",
    request_body(content = NewPassword,
        example = json!({"current_password": "marble teapot kestrel orbit", "password": "copper lantern orchid meadow"})),
    security(("session" = [])),
    responses(
        (status = 204, description = "Changed. Sets the session's cookie anew"),
        (status = 401, description = "Nobody is signed in"),
        (status = 422, description = "Fields that were refused"),
        (status = 429, description = LIMITED)))]
pub async fn change_password(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<NewPassword>,
) -> Result<Response, Problem> {
    let signed_in = signed_in(&state, &visitor).await?;
    state.rate_limits.login.check(visitor.client.network)?;
    let NewPassword { current_password, password } = given;
    let browser = visitor.browser(signed_in.kept);
    match change_password::change_password(&state.accounts, &signed_in, &current_password, &password, browser).await {
        Ok(PasswordChanged { new, ended }) => {
            state.sessions.forget_all(&ended);
            let cookie = state.session_cookie(&new, visitor.session)?;
            Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), [cookie]))
        }
        Err(error) => {
            let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY);
            let fields = field_errors::of_password(error.downcast()?, visitor.locale.text()).into_iter();
            Err(fields.fold(problem, |problem, (field, text)| problem.with_field(field, text)))
        }
    }
}

/// Who asks.
///
/// # Errors
/// 401, 503.
pub(super) async fn signed_in(state: &AppState, visitor: &Visitor) -> Result<SignedIn, Problem> {
    visitor.signed_in(state).await?.ok_or_else(|| Problem::of(StatusCode::UNAUTHORIZED))
}
