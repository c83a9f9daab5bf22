//! `/reset`: the page behind the link in the mail for a forgotten password.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::REFERRER_POLICY;
use axum::response::Response;

use crate::account::reset::{self, PasswordSet, ResetRefused};
use crate::http::cookies::Cookie;
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::notice::Notice;
use crate::http::pages::layout::Page;
use crate::http::pages::link::{LinkPage, frame};
use crate::http::problem::Problem;
use crate::http::response::{NO_REFERRER, html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/reset.html")]
pub(super) struct ResetPage {
    pub(super) page: Page,
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
    let page = frame(&state, &visitor, links::RESET, &token);
    if !works {
        return invalid(page, StatusCode::NOT_FOUND);
    }
    shown(StatusCode::OK, &ResetPage { page, form: FormState::of([("token", token)]) })
}

/// POST /reset: 303 to `/login`, every session ended; or 422 with the page again.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token, password] = fields.take(["token", "password"])?;
    match reset::reset(&state.accounts, &token, &password, visitor.browser(false)).await {
        Ok(PasswordSet { ended, device }) => {
            state.sessions.forget_all(&ended);
            let deleted = [state.sign_on.delete(), Cookie::Reset.delete(state.https)];
            let device = device.map(|device| state.device_cookie(&device)).transpose()?;
            let notice = Notice::PasswordReset.cookie(state.https)?;
            Ok(see_other(links::LOGIN, deleted.into_iter().chain(device).chain([notice])))
        }
        Err(error) => match error.downcast()? {
            // a token that does not work is not repeated
            ResetRefused::Invalid => {
                invalid(frame(&state, &visitor, links::RESET, ""), StatusCode::UNPROCESSABLE_ENTITY)
            }
            ResetRefused::Weak(weakness) => {
                let page = frame(&state, &visitor, links::RESET, &token);
                let text = page.t.get(field_errors::of_new_password(weakness));
                let form = FormState::of([("token", token)]).with_field_error("password", text);
                shown(StatusCode::UNPROCESSABLE_ENTITY, &ResetPage { page, form })
            }
        },
    }
}

fn shown(status: StatusCode, page: &ResetPage) -> Result<Response, Problem> {
    let mut response = html(status, page)?;
    response.headers_mut().insert(REFERRER_POLICY, NO_REFERRER);
    Ok(response)
}

fn invalid(page: Page, status: StatusCode) -> Result<Response, Problem> {
    let lead = page.t.get("reset-invalid-lead");
    LinkPage::invalid_password(page, lead).response(status)
}
