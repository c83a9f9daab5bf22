//! `/login` and `/logout`.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::account::login::{self, LoginRefused};
use crate::http::cookies::Cookie;
use crate::http::extract::form::Fields;
use crate::http::extract::redirect::Target;
use crate::http::pages::view::Login;
use crate::http::problem::Problem;
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::http::state::html;
use crate::http::state::query;
use crate::http::state::see_other;

/// `Clear-Site-Data`: what a browser forgets at the logout (OWASP ASVS 14.3.1).
pub const FORGET: HeaderValue = HeaderValue::from_static("\"cache\", \"cookies\", \"storage\"");

/// Where a login leads when nobody asked for another place.
const HOME: &str = "/account";

/// GET /login?next=
///
/// # Errors
/// When the database is away.
pub async fn form(State(web): State<Web>, visitor: Visitor, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let next = query(raw.as_deref(), "next").map(|next| Target::parse(&next));
    if visitor.signed_in(&web).await?.is_some() {
        return Ok(see_other(next.as_ref().map_or(HOME, Target::as_str), []));
    }
    let page = visitor.page(&web, "/login", None);
    let next = next.map(|next| next.as_str().to_owned());
    html(StatusCode::OK, &Login { page, email: String::new(), next, error: None })
}

/// POST /login: 303, or 422 with one message for all causes.
///
/// # Errors
/// 429 for a network that asks too often, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    web.limits.login.check(visitor.client.network)?;
    let [email, password, next] = fields.take(["email", "password", "next"])?;
    let next = (!next.is_empty()).then(|| Target::parse(&next));
    match login::login(&web.accounts, &email, &password, visitor.session, visitor.origin.clone()).await {
        Ok((begun, _)) => {
            if let Some(replaced) = visitor.session {
                web.sessions.forget_token(replaced);
            }
            Ok(see_other(next.as_ref().map_or(HOME, Target::as_str), [web.session_cookie(&begun.token)?]))
        }
        Err(error) => {
            let LoginRefused = error.downcast()?;
            let page = visitor.page(&web, "/login", None);
            let error = Some(page.t.get("login-refused"));
            let next = next.map(|next| next.as_str().to_owned());
            html(StatusCode::UNPROCESSABLE_ENTITY, &Login { page, email, next, error })
        }
    }
}

/// POST /logout: 303 to the start; the session is gone on every node.
///
/// # Errors
/// When the database is away: the session lives, and the person is told so.
pub async fn logout(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    let [] = fields.take([])?;
    end(&web, &visitor).await?;
    let mut response = see_other("/", [Cookie::Session.delete(web.https())]);
    response.headers_mut().insert("clear-site-data", FORGET);
    Ok(response)
}

/// Ends the session of this browser, here at once and elsewhere by the event.
///
/// # Errors
/// When the database is away.
pub async fn end(web: &Web, visitor: &Visitor) -> Result<(), Problem> {
    if let Some(token) = visitor.session {
        web.sessions.revoke(&web.accounts, token).await?;
    }
    Ok(())
}
