//! `/login/not-me`: the page behind the link in the warning of a sign-in. Scanners press GET, people press the button.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::REFERRER_POLICY;
use axum::response::Response;

use crate::account::disown::{self, DisownRefused};
use crate::account::reset::{self, ResetRequest};
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::redirect::Target;
use crate::http::extract::visitor::Visitor;
use crate::http::notice::Notice;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{NO_REFERRER, html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/disown.html")]
pub(super) struct DisownPage {
    pub(super) page: Page,
    /// Whether the link works.
    pub(super) works: bool,
    /// `token`, from the link.
    pub(super) form: FormState,
}

/// GET /login/not-me?token=: a button, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let works = disown::is_open(&state.accounts, &token).await?;
    let status = if works { StatusCode::OK } else { StatusCode::NOT_FOUND };
    page(&state, &visitor, status, works, FormState::of([("token", token)]))
}

/// POST /login/not-me: the session has ended, and a mail is on its way with the link to a new password: 303 to `/forgot/sent`. Or 422
/// with the page again.
///
/// # Errors
/// 429 for a network that guesses, 503 when the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token] = fields.take(["token"])?;
    match disown::disown(&state.accounts, &token).await {
        Ok((session, email)) => {
            state.sessions.forget(session);
            let (locale, origin) = (visitor.locale.tag(), visitor.origin.clone());
            // the button pressed twice asks once
            let request = ResetRequest { email: &email, locale, form: Some(&token), origin };
            let browser = reset::request(&state.accounts, request).await?;
            let cookies = [state.reset_cookie(&browser)?, Notice::SessionEnded.cookie(state.https)?];
            Ok(see_other(links::FORGOT_SENT, cookies))
        }
        Err(error) => {
            let DisownRefused = error.downcast()?;
            page(&state, &visitor, StatusCode::UNPROCESSABLE_ENTITY, false, FormState::default())
        }
    }
}

fn page(
    state: &AppState,
    visitor: &Visitor,
    status: StatusCode,
    works: bool,
    form: FormState,
) -> Result<Response, Problem> {
    let mut page = Page::of(state, visitor, links::DISOWN, None);
    page.here = Target::parse(&links::token_path(links::DISOWN, form.value("token")));
    let mut response = html(status, &DisownPage { page, works, form })?;
    response.headers_mut().insert(REFERRER_POLICY, NO_REFERRER);
    Ok(response)
}
