//! `/register`: the form to register.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::credentials::token::Token;
use crate::account::register::{self, NewRegistration, RegistrationErrors};
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::pages::language;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::redirect::Target;
use crate::http::response::{html, see_other, with_cookies};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/register.html")]
pub(super) struct RegisterPage {
    pub(super) page: Page,
    /// `email` and `name`, as typed.
    pub(super) form: FormState,
    /// The word by which this form is known when it is sent twice.
    pub(super) once: String,
    /// Where to go once confirmed.
    pub(super) next: Option<Target>,
}

impl RegisterPage {
    /// The way to sign in instead, and to the same place afterwards.
    fn login(&self) -> String {
        self.next.as_ref().map_or_else(|| links::LOGIN.to_owned(), |next| next.after(links::LOGIN))
    }
}

/// GET /register?next=
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let next = state.sign_on.target(query.get("next").as_deref());
    let signed_in = visitor.signed_in(&state).await?;
    let page = Page::of(&state, &visitor, links::REGISTER, signed_in.as_ref());
    let page = Page { form: Some(links::REGISTER), ..page };
    html(StatusCode::OK, &RegisterPage { page, form: FormState::default(), once: Token::new()?.reveal(), next })
}

/// The page after a form was sent.
fn again(state: &AppState, visitor: &Visitor, next: Option<&Target>) -> Page {
    let mut page = Page::of(state, visitor, links::REGISTER, None);
    if let Some(next) = next {
        page.here = Target::parse(&next.after(links::REGISTER));
    }
    Page { form: Some(links::REGISTER), ..page }
}

/// POST /register: 303 to `/register/sent`, or 422 with the form as typed (but for the password). With a `locale`, the form as
/// typed in that language, and nothing else.
///
/// # Errors
/// 429 for a network that asks too often, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(
    State(state): State<Arc<AppState>>,
    mut visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    let [email, password, name, once, next, locale] =
        fields.take(["email", "password", "name", "once", "next", "locale"])?;
    let next = state.sign_on.target(Some(&next));
    if let Some(cookie) = language::switch(&state, &mut visitor, &locale).await? {
        let page = again(&state, &visitor, next.as_ref());
        let form = FormState::of([("email", email), ("name", name)]);
        let shown = html(StatusCode::OK, &RegisterPage { page, form, once: Token::new()?.reveal(), next })?;
        return Ok(with_cookies(shown, [cookie]));
    }
    state.rate_limits.register.check(visitor.client.network)?;
    let new = NewRegistration {
        email: &email,
        name: &name,
        password: &password,
        locale: visitor.locale.tag(),
        // what is no word of ours is random enough for nothing
        form: Token::parse(&once).map(|_| once.as_str()),
        next: next.as_ref().map(Target::as_str),
        origin: visitor.origin.clone(),
    };
    match register::register(&state.accounts, new).await {
        Ok(browser) => Ok(see_other(links::REGISTER_SENT, [state.registration_cookie(&browser)?])),
        Err(error) => {
            let errors: RegistrationErrors = error.downcast()?;
            let page = again(&state, &visitor, next.as_ref());
            let form = FormState::of([("email", email), ("name", name)]);
            let form = field_errors::of_registration(errors, page.t)
                .into_iter()
                .fold(form, |form, (field, text)| form.with_field_error(field, text));
            html(StatusCode::UNPROCESSABLE_ENTITY, &RegisterPage { page, form, once: Token::new()?.reveal(), next })
        }
    }
}
