//! `/forgot`: the form for who has forgotten the password.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::credentials::token::Token;
use crate::account::identity::address::AddressError;
use crate::account::reset::{self, ResetRequest};
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::pages::language;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other, with_cookies};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/forgot.html")]
pub(super) struct ForgotPage {
    pub(super) page: Page,
    /// `email`, as typed.
    pub(super) form: FormState,
    /// The word by which this form is known when it is sent twice.
    pub(super) once: String,
}

/// GET /forgot
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let email = signed_in.as_ref().map(|signed_in| signed_in.user.email.clone()).unwrap_or_default();
    let page = Page::of(&state, &visitor, links::FORGOT, signed_in.as_ref());
    let page = Page { form: Some(links::FORGOT), ..page };
    html(StatusCode::OK, &ForgotPage { page, form: FormState::of([("email", email)]), once: Token::new()?.reveal() })
}

/// POST /forgot: 303 to `/forgot/sent` whoever has the address, or 422 for what is none. With a `locale`, the form as typed in that
/// language, and nothing else.
///
/// # Errors
/// 429 for a network that asks too often, 503 when the database is away.
pub async fn submit(
    State(state): State<Arc<AppState>>,
    mut visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    let [email, once, locale] = fields.take(["email", "once", "locale"])?;
    if let Some(cookie) = language::switch(&state, &mut visitor, &locale).await? {
        let page = Page { form: Some(links::FORGOT), ..Page::of(&state, &visitor, links::FORGOT, None) };
        let form = FormState::of([("email", email)]);
        let shown = html(StatusCode::OK, &ForgotPage { page, form, once: Token::new()?.reveal() })?;
        return Ok(with_cookies(shown, [cookie]));
    }
    state.rate_limits.register.check(visitor.client.network)?;
    let request = ResetRequest {
        email: &email,
        locale: visitor.locale.tag(),
        // what is no word of ours is random enough for nothing
        form: Token::parse(&once).map(|_| once.as_str()),
        in_any_case: false,
        origin: visitor.origin.clone(),
    };
    match reset::request(&state.accounts, request).await {
        Ok(browser) => Ok(see_other(links::FORGOT_SENT, [state.reset_cookie(&browser)?])),
        Err(error) => {
            let error: AddressError = error.downcast()?;
            let page = Page { form: Some(links::FORGOT), ..Page::of(&state, &visitor, links::FORGOT, None) };
            let text = page.t.get(field_errors::of_address(error));
            let form = FormState::of([("email", email)]).with_field_error("email", text);
            html(StatusCode::UNPROCESSABLE_ENTITY, &ForgotPage { page, form, once: Token::new()?.reveal() })
        }
    }
}
