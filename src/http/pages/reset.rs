//! `/reset`: the page behind the link in the mail for a forgotten password.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::REFERRER_POLICY;
use axum::response::Response;

use crate::account::reset::{self, ResetRefused};
use crate::http::cookies::Cookie;
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::redirect::Target;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::notice::Notice;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{NO_REFERRER, html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/reset.html")]
pub(super) struct ResetPage {
    pub(super) page: Page,
    /// Whether the link works. One that does not is one whether it is unknown, used or expired (ASVS 6.3.8).
    pub(super) works: bool,
    /// `token`, from the link.
    pub(super) form: FormState,
}

/// GET /reset?token=: the form, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let works = reset::is_open(&state.accounts, &token).await?;
    let status = if works { StatusCode::OK } else { StatusCode::NOT_FOUND };
    page(&state, &visitor, status, works, FormState::of([("token", token)]))
}

/// POST /reset: 303 to `/login`, every session ended; or 422 with the page again.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token, password] = fields.take(["token", "password"])?;
    match reset::reset(&state.accounts, &token, &password, visitor.origin.clone()).await {
        Ok(ended) => {
            state.sessions.forget_all(&ended);
            let deleted = [Cookie::Session, Cookie::Reset].map(|cookie| cookie.delete(state.https));
            Ok(see_other(links::LOGIN, deleted.into_iter().chain([Notice::PasswordReset.cookie(state.https)?])))
        }
        Err(error) => {
            let (works, form) = match error.downcast()? {
                // a token that does not work is not repeated
                ResetRefused::Invalid => (false, FormState::default()),
                ResetRefused::Weak(weakness) => {
                    let text = visitor.locale.text().get(field_errors::of_new_password(weakness));
                    (true, FormState::of([("token", token)]).with_field_error("password", text))
                }
            };
            page(&state, &visitor, StatusCode::UNPROCESSABLE_ENTITY, works, form)
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
    let mut page = Page::of(state, visitor, links::RESET, None);
    page.here = Target::parse(&links::token_path(links::RESET, form.value("token")));
    let mut response = html(status, &ResetPage { page, works, form })?;
    response.headers_mut().insert(REFERRER_POLICY, NO_REFERRER);
    Ok(response)
}
