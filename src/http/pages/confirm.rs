//! `/confirm`: the page behind the link in the mail. Scanners press GET, people press the button.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::REFERRER_POLICY;
use axum::response::Response;

use crate::account::confirm::{self, ConfirmRefused, ConfirmStep, Confirmed, Link};
use crate::account::credentials::policy::Password;
use crate::http::cookies::Cookie;
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::redirect::Target;
use crate::http::response::{NO_REFERRER, html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/confirm.html")]
pub(super) struct ConfirmPage {
    pub(super) page: Page,
    /// What is asked for. A link that does not work is one whether it is unknown or expired (ASVS 6.3.8).
    pub(super) step: ConfirmStep,
    /// Where the person wanted to go.
    pub(super) next: Option<Target>,
    /// `token`, from the link.
    pub(super) form: FormState,
}

impl ConfirmPage {
    /// The way on for somebody whose address is confirmed.
    fn login(&self) -> String {
        self.next.as_ref().map_or_else(|| links::LOGIN.to_owned(), |next| next.after(links::LOGIN))
    }
}

/// GET /confirm?token=: a button, or a button and a password, or the word that all is done, or 404 for a link that does not
/// work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let Link { step, next } = confirm::look(&state.accounts, &token, visitor.registration).await?;
    let status = if step == ConfirmStep::Invalid { StatusCode::NOT_FOUND } else { StatusCode::OK };
    page(&state, &visitor, status, (step, next), FormState::of([("token", token)])).await
}

/// POST /confirm: 303 to `/account` or where the person wanted to go, signed in; 200 when the address was confirmed before;
/// or 422 with the page again.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token, password, keep] = fields.take(["token", "password", "keep"])?;
    let typed = Password::normalise(&password).ok();
    let browser = visitor.browser(!keep.is_empty());
    match confirm::confirm(&state.accounts, &token, visitor.registration, typed, browser).await {
        Ok(Confirmed { new, next, device }) => {
            let device = device.map(|device| state.device_cookie(&device)).transpose()?;
            let session = state.session_cookie(&new, visitor.session)?;
            let next = state.sign_on.target(next.as_deref());
            let to = next.as_ref().map_or(links::ACCOUNT, Target::as_str);
            Ok(see_other(to, [session, Cookie::Registration.delete(state.https)].into_iter().chain(device)))
        }
        Err(error) => {
            let t = visitor.reads(visitor.signed_in(&state).await?.as_ref()).text();
            let refused = error.downcast()?;
            let Link { next, .. } = confirm::look(&state.accounts, &token, visitor.registration).await?;
            let form = FormState::of([("token", token), ("keep", keep)]);
            let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
            let (status, step, form) = match refused {
                // a token that does not work is not repeated
                ConfirmRefused::Invalid => (unprocessable, ConfirmStep::Invalid, FormState::default()),
                ConfirmRefused::Confirmed => (StatusCode::OK, ConfirmStep::Confirmed, form),
                ConfirmRefused::Password => {
                    let text = if password.is_empty() {
                        t.get("mistake-password-chosen")
                    } else {
                        t.get("confirm-password-wrong")
                    };
                    (unprocessable, ConfirmStep::Password, form.with_field_error("password", text))
                }
            };
            page(&state, &visitor, status, (step, next), form).await
        }
    }
}

async fn page(
    state: &AppState,
    visitor: &Visitor,
    status: StatusCode,
    (step, next): (ConfirmStep, Option<String>),
    form: FormState,
) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(state).await?;
    let mut page = Page::of(state, visitor, links::CONFIRM, signed_in.as_ref());
    page.here = Target::parse(&links::token_path(links::CONFIRM, form.value("token")));
    let next = state.sign_on.target(next.as_deref());
    let mut response = html(status, &ConfirmPage { page, step, next, form })?;
    response.headers_mut().insert(REFERRER_POLICY, NO_REFERRER);
    Ok(response)
}
