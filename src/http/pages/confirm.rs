//! `/confirm`: the page behind the link in the mail. Scanners press GET, people press the button.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::REFERRER_POLICY;
use axum::response::Response;

use crate::account::confirm::{self, ConfirmRefused, ConfirmStep};
use crate::account::credentials::policy::Password;
use crate::http::cookies::Cookie;
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{NO_REFERRER, html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/confirm.html")]
pub(super) struct ConfirmPage {
    pub(super) page: Page,
    /// What is asked for. A link that does not work is one whether it is unknown, expired or used (ASVS 6.3.8).
    pub(super) step: ConfirmStep,
    /// `token`, from the link.
    pub(super) form: FormState,
}

/// GET /confirm?token=: a button, or a button and a password, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let step = confirm::next_step(&state.accounts, &token, visitor.registration).await?;
    let status = if step == ConfirmStep::Invalid { StatusCode::NOT_FOUND } else { StatusCode::OK };
    page(&state, &visitor, status, step, FormState::of([("token", token)]))
}

/// POST /confirm: 303 to `/account`, signed in, or 422 with the page again.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token, password] = fields.take(["token", "password"])?;
    let typed = Password::normalise(&password).ok();
    let origin = visitor.origin.clone();
    match confirm::confirm(&state.accounts, &token, visitor.registration, typed, visitor.session, origin).await {
        Ok(new) => {
            let session = state.session_cookie(&new.token, visitor.session)?;
            Ok(see_other(links::ACCOUNT, [session, Cookie::Registration.delete(state.https)]))
        }
        Err(error) => {
            let t = visitor.locale.text();
            let form = FormState::of([("token", token)]);
            let (step, form) = match error.downcast()? {
                // a token that does not work is not repeated
                ConfirmRefused::Invalid => (ConfirmStep::Invalid, FormState::default()),
                ConfirmRefused::Password => {
                    let text = if password.is_empty() {
                        t.get("mistake-password-chosen")
                    } else {
                        t.get("confirm-password-wrong")
                    };
                    (ConfirmStep::Password, form.with_field_error("password", text))
                }
            };
            page(&state, &visitor, StatusCode::UNPROCESSABLE_ENTITY, step, form)
        }
    }
}

fn page(
    state: &AppState,
    visitor: &Visitor,
    status: StatusCode,
    step: ConfirmStep,
    form: FormState,
) -> Result<Response, Problem> {
    let page = Page::of(state, visitor, links::CONFIRM, None);
    let mut response = html(status, &ConfirmPage { page, step, form })?;
    response.headers_mut().insert(REFERRER_POLICY, NO_REFERRER);
    Ok(response)
}
