//! `/api/v1`: the same use cases for programs, JSON in and out, and the document that describes them, generated from
//! these functions.

pub mod admin;

use axum::Json as Answer;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::account::confirm::{self, ConfirmRefused};
use crate::account::credentials::policy::Password;
use crate::account::login_log;
use crate::account::login_log::Entry;
use crate::account::session::SignedIn;
use crate::account::user::User;
use crate::account::{login, register as account_register};
use crate::http::cookies::Cookie;
use crate::http::extract::json::Json;
use crate::http::new_registration;
use crate::http::pages::login as pages;
use crate::http::pages::view::ApiIndex;
use crate::http::pages::view::ApiRow;
use crate::http::problem::{FieldProblem, Problem};
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::http::state::html;
use crate::http::state::query;
use crate::http::state::with_cookies;
use chrono::{DateTime, Utc};

/// Entries of the login log in one answer, unless asked for otherwise.
const PAGE: u8 = 20;
/// … and at the most.
const LONGEST_PAGE: u8 = 100;

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
}

/// What signing in takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The address.
    email: String,
    /// The password.
    password: String,
}

/// A person's account.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The account.
    user: Person,
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub struct Person {
    /// The account's id.
    id: Uuid,
    /// The address as typed.
    email: String,
    /// What to call the person.
    name: String,
    /// The language of their pages and mails: `en`, `zh-CN`.
    locale: String,
    /// When the address was confirmed.
    created_at: DateTime<Utc>,
}

impl From<User> for Me {
    fn from(User { id, email, name, locale, created_at }: User) -> Self {
        Me { user: Person { id, email, name, locale, created_at } }
    }
}

/// A part of the login log.
#[derive(Serialize, ToSchema)]
pub struct Activity {
    /// Newest first.
    items: Vec<Item>,
    /// To be given as `before` for what is older; none when there is nothing older.
    next: Option<Uuid>,
}

/// Something that happened at the door.
#[derive(Serialize, ToSchema)]
pub struct Item {
    /// The event's id.
    id: Uuid,
    /// The event's type: `login.succeeded`, `login.failed`.
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
    fn from(Entry { id, kind, at, ip, user_agent, reason }: Entry) -> Self {
        Item { id, r#type: kind, at, ip, user_agent, reason }
    }
}

/// Problem details (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `problem` writes")]
pub struct ProblemDetails {
    r#type: String,
    title: String,
    status: u16,
    /// A word for programs.
    code: String,
    detail: Option<String>,
    /// The fields that were refused.
    errors: Option<Vec<FieldProblem>>,
}

/// Asks for an account
///
/// The answer is the same whoever has the address. Sets a cookie that stands for the password when confirming.
///
/// # Errors
/// 422 with the fields that were refused, 429, 503.
#[utoipa::path(post, path = "/api/v1/register", request_body = Registration, responses(
    (status = 202, body = Registered), (status = 422, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn register(
    State(web): State<Web>,
    visitor: Visitor,
    Json(given): Json<Registration>,
) -> Result<Response, Problem> {
    web.limits.register.check(visitor.client.network)?;
    let typed = [given.email.as_str(), given.password.as_str(), given.name.as_str()];
    match new_registration::check(&web, &visitor, visitor.locale.text(), typed).await? {
        Ok(wish) => {
            let browser = account_register::register(&web.accounts, wish).await?;
            let answer = (StatusCode::ACCEPTED, Answer(Registered { status: "confirmation_pending" }));
            Ok(with_cookies(answer.into_response(), [web.registration_cookie(&browser)?]))
        }
        Err(errors) => {
            let refused = [("email", errors.email), ("password", errors.password), ("name", errors.name)];
            let refused = refused.into_iter().filter_map(|(field, error)| Some((field, error?)));
            let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY);
            Err(refused.fold(problem, |problem, (field, error)| problem.with_field(field, error)))
        }
    }
}

/// Confirms the address and signs in
///
/// # Errors
/// 422 for a link that does not work or a password that is missing or wrong, 429, 503.
#[utoipa::path(post, path = "/api/v1/confirm", request_body = Confirmation, responses(
    (status = 204), (status = 422, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn confirm(
    State(web): State<Web>,
    visitor: Visitor,
    Json(given): Json<Confirmation>,
) -> Result<Response, Problem> {
    web.limits.confirm.check(visitor.client.network)?;
    let password = given.password.and_then(|password| Password::normalise(&password).ok());
    let origin = visitor.origin.clone();
    match confirm::confirm(&web.accounts, &given.token, visitor.registration, password, visitor.session, origin).await {
        Ok(begun) => {
            visitor.session.inspect(|replaced| web.sessions.forget_token(*replaced));
            let cookies = [web.session_cookie(&begun.token)?, Cookie::Registration.delete(web.https())];
            Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), cookies))
        }
        Err(error) => {
            let unprocessable = |code, detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
            Err(match error.downcast::<ConfirmRefused>()? {
                ConfirmRefused::Invalid => unprocessable("invalid-token", "The token is unknown, expired or used."),
                ConfirmRefused::Password => {
                    unprocessable("password-needed", "The password that was chosen at the registration is needed.")
                }
            })
        }
    }
}

/// Signs in
///
/// # Errors
/// 401 with one message for all causes, 429, 503.
#[utoipa::path(post, path = "/api/v1/login", request_body = Credentials, responses(
    (status = 200, body = Me), (status = 401, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn login(
    State(web): State<Web>,
    visitor: Visitor,
    Json(given): Json<Credentials>,
) -> Result<Response, Problem> {
    web.limits.login.check(visitor.client.network)?;
    let origin = visitor.origin.clone();
    match login::login(&web.accounts, &given.email, &given.password, visitor.session, origin).await {
        Ok((begun, user)) => {
            if let Some(replaced) = visitor.session {
                web.sessions.forget_token(replaced);
            }
            let cookie = web.session_cookie(&begun.token)?;
            Ok(with_cookies(Answer(Me::from(user)).into_response(), [cookie]))
        }
        Err(error) => {
            let login::LoginRefused = error.downcast()?;
            Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong-credentials", "The address or the password is wrong."))
        }
    }
}

/// Signs out
///
/// # Errors
/// 503.
#[utoipa::path(post, path = "/api/v1/logout", responses((status = 204)))]
pub async fn logout(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    pages::end(&web, &visitor).await?;
    let mut response = with_cookies(StatusCode::NO_CONTENT.into_response(), [Cookie::Session.delete(web.https())]);
    response.headers_mut().insert("clear-site-data", pages::FORGET);
    Ok(response)
}

/// Who is signed in
///
/// # Errors
/// 401, 503.
#[utoipa::path(get, path = "/api/v1/me", responses(
    (status = 200, body = Me), (status = 401, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn me(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    Ok(Answer(Me::from(signed_in(&web, &visitor).await?.user)).into_response())
}

/// The login log of who is signed in
///
/// # Errors
/// 401, 422 for a `before` or `limit` that is none, 503.
#[utoipa::path(get, path = "/api/v1/me/activity",
    params(("before" = Option<Uuid>, Query, description = "only what is older than this entry"),
           ("limit" = Option<u8>, Query, description = "1 to 100", minimum = 1, maximum = 100)),
    responses((status = 200, body = Activity), (status = 401, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn activity(State(web): State<Web>, visitor: Visitor, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let signed_in = signed_in(&web, &visitor).await?;
    let wrong = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-parameter", detail);
    let before = query(raw.as_deref(), "before").map(|text| text.parse::<Uuid>()).transpose();
    let before = before.map_err(|_| wrong("before is not the id of an entry."))?;
    let limit = query(raw.as_deref(), "limit").map_or(Ok(PAGE), |text| text.parse::<u8>());
    let limit = limit.ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
    let limit = limit.ok_or_else(|| wrong("limit is not a number from 1 to 100."))?;
    // one more than asked for tells whether there is a next page
    let mut entries = login_log::of_user(&web.accounts, signed_in.user.id, before, limit + 1).await?;
    let more = entries.len() > usize::from(limit);
    entries.truncate(usize::from(limit));
    let next = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(Answer(Activity { items: entries.into_iter().map(Item::from).collect(), next }).into_response())
}

async fn signed_in(web: &Web, visitor: &Visitor) -> Result<SignedIn, Problem> {
    visitor.signed_in(web).await?.ok_or_else(|| Problem::of(StatusCode::UNAUTHORIZED))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Bellhop", description = "Sign-up and login. Errors are problem details (RFC 9457)."),
    paths(
        register,
        confirm,
        login,
        logout,
        me,
        activity,
        admin::queues,
        admin::dead_letters,
        admin::redrive,
        admin::discard
    )
)]
struct Document;

/// GET /api/openapi.json: the OpenAPI 3.1 document of these functions.
pub async fn document() -> Response {
    Answer(Document::openapi()).into_response()
}

/// GET /api: the same to read.
///
/// # Errors
/// When the database is away.
pub async fn index(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&web).await?;
    let page = visitor.page(&web, "/api", signed_in.as_ref());
    let operations = Document::openapi().paths.paths.into_iter().flat_map(|(path, item)| {
        let rows = operations(item).into_iter();
        rows.map(move |(method, operation)| ApiRow {
            method: method.to_owned(),
            path: path.clone(),
            summary: operation.summary.unwrap_or_default(),
        })
    });
    html(StatusCode::OK, &ApiIndex { page, operations: operations.collect() })
}

fn operations(item: PathItem) -> Vec<(&'static str, Operation)> {
    let all = [("GET", item.get), ("POST", item.post), ("PUT", item.put), ("DELETE", item.delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation?))).collect()
}
