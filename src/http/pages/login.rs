//! `/login`: the form to sign in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::login::{self, LoggedIn, LoginRefused};
use crate::error::OverBudget;
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::middleware::request_log::LoginFailed;
use crate::http::notice::Notice;
use crate::http::pages::language;
use crate::http::pages::layout::Page;
use crate::http::problem::{Problem, with_retry_after};
use crate::http::redirect::Target;
use crate::http::response::{html, see_other, with_cookies};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/login.html")]
pub(super) struct LoginPage {
    pub(super) page: Page,
    /// `email`, as typed. There is one error for all causes.
    pub(super) form: FormState,
    /// Where to go afterwards.
    pub(super) next: Option<Target>,
}

impl LoginPage {
    /// The way to register instead, and to the same place afterwards.
    fn register(&self) -> String {
        self.next.as_ref().map_or_else(|| links::REGISTER.to_owned(), |next| next.after(links::REGISTER))
    }
}

/// GET /login?next=
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let next = state.sign_on.target(query.get("next").as_deref());
    if visitor.signed_in(&state).await?.is_some() {
        return Ok(see_other(target(next.as_ref()), []));
    }
    let page = Page { form: Some(links::LOGIN), ..Page::of(&state, &visitor, links::LOGIN, None) };
    html(StatusCode::OK, &LoginPage { page, form: FormState::default(), next })
}

/// The page after a form was sent.
fn again(state: &AppState, visitor: &Visitor, next: Option<&Target>) -> Page {
    let mut page = Page::of(state, visitor, links::LOGIN, None);
    if let Some(next) = next {
        page.here = Target::parse(&next.after(links::LOGIN));
    }
    Page { form: Some(links::LOGIN), ..page }
}

/// POST /login: 303, or 422 with one message for all causes. With a `locale`, the form as typed in that language, and nothing else.
///
/// # Errors
/// 429 for a network that asks too often, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(
    State(state): State<Arc<AppState>>,
    mut visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    let [email, password, keep, next, locale] = fields.take(["email", "password", "keep", "next", "locale"])?;
    let next = state.sign_on.target(Some(&next));
    if let Some(cookie) = language::switch(&state, &mut visitor, &locale).await? {
        let page = again(&state, &visitor, next.as_ref());
        let shown =
            html(StatusCode::OK, &LoginPage { page, form: FormState::of([("email", email), ("keep", keep)]), next })?;
        return Ok(with_cookies(shown, [cookie]));
    }
    state.rate_limits.login.check(visitor.client.network)?;
    match login::login(&state.accounts, &email, &password, visitor.browser(!keep.is_empty())).await {
        Ok(LoggedIn { new, restored, device, .. }) => {
            let device = device.map(|device| state.device_cookie(&device)).transpose()?;
            let session = state.session_cookie(&new, visitor.session)?;
            let notice = if restored { Some(Notice::Restored.cookie(state.https)?) } else { None };
            Ok(see_other(target(next.as_ref()), [session].into_iter().chain(device).chain(notice)))
        }
        Err(error) => {
            let page = again(&state, &visitor, next.as_ref());
            let form = FormState::of([("email", email), ("keep", keep)]);
            if let Some(OverBudget(wait)) = error.downcast_ref() {
                let text = page.t.args("login-too-often", &[("wait", &page.t.wait(*wait))]);
                let form = form.with_error(text);
                let answer = html(StatusCode::TOO_MANY_REQUESTS, &LoginPage { page, form, next })?;
                return Ok(with_retry_after(answer, *wait));
            }
            let LoginRefused = error.downcast()?;
            let form = form.with_error(page.t.get("login-refused"));
            let mut refused = html(StatusCode::UNPROCESSABLE_ENTITY, &LoginPage { page, form, next })?;
            refused.extensions_mut().insert(LoginFailed);
            Ok(refused)
        }
    }
}

/// Where a login leads: to the account when nobody asked for another place.
fn target(next: Option<&Target>) -> &str {
    next.map_or(links::ACCOUNT, Target::as_str)
}
