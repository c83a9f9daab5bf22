//! `/register`: the form to register.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::register::{self, NewRegistration, RegistrationErrors};
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/register.html")]
pub(super) struct RegisterPage {
    pub(super) page: Page,
    /// `email` and `name`, as typed.
    pub(super) form: FormState,
}

/// GET /register
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let page = Page::of(&state, &visitor, links::REGISTER, signed_in.as_ref());
    html(StatusCode::OK, &RegisterPage { page, form: FormState::default() })
}

/// POST /register: 303 to `/register/sent`, or 422 with the form as typed (but for the password).
///
/// # Errors
/// 429 for a network that asks too often, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.register.check(visitor.client.network)?;
    let [email, password, name] = fields.take(["email", "password", "name"])?;
    let (locale, origin) = (visitor.locale.tag(), visitor.origin.clone());
    let new = NewRegistration { email: &email, name: &name, password: &password, locale, origin };
    match register::register(&state.accounts, new).await {
        Ok(browser) => Ok(see_other(links::REGISTER_SENT, [state.registration_cookie(&browser)?])),
        Err(error) => {
            let errors: RegistrationErrors = error.downcast()?;
            let page = Page::of(&state, &visitor, links::REGISTER, None);
            let form = FormState::of([("email", email), ("name", name)]);
            let form = field_errors::of_registration(errors, page.t)
                .into_iter()
                .fold(form, |form, (field, text)| form.with_field_error(field, text));
            html(StatusCode::UNPROCESSABLE_ENTITY, &RegisterPage { page, form })
        }
    }
}
