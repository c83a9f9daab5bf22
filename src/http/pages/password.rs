//! `/account/password`: the form that changes the password.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::change_password::{self, PasswordChanged, PasswordErrors};
use crate::account::session::SignedIn;
use crate::http::extract::form::FormState;
use crate::http::extract::own_form::OwnFields;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::notice::Notice;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/password.html")]
pub(super) struct PasswordPage {
    pub(super) page: Page,
    /// Whose password it is: password managers look for the name beside it.
    pub(super) email: String,
    /// What is wrong; nothing of what was typed.
    pub(super) form: FormState,
}

impl PasswordPage {
    fn new(state: &AppState, visitor: &Visitor, signed_in: &SignedIn, form: FormState) -> Self {
        let page = Page::of(state, visitor, links::ACCOUNT, Some(signed_in));
        PasswordPage { page, email: signed_in.user.email.clone(), form }
    }
}

/// GET /account/password, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    html(StatusCode::OK, &PasswordPage::new(&state, &visitor, &signed_in, FormState::default()))
}

/// POST /account/password: 303 to `/account`, every other session ended and this one under a new token; or 422 with the form.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [current, password] = fields.take(["current_password", "password"])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    state.rate_limits.login.check(visitor.client.network)?;
    let browser = visitor.browser(signed_in.kept);
    match change_password::change_password(&state.accounts, &signed_in, &current, &password, browser).await {
        Ok(PasswordChanged { new, ended }) => {
            state.sessions.forget_all(&ended);
            let session = state.session_cookie(&new, visitor.session)?;
            Ok(see_other(links::ACCOUNT, [session, Notice::PasswordChanged.cookie(state.https)?]))
        }
        Err(error) => {
            let errors: PasswordErrors = error.downcast()?;
            let mut page = PasswordPage::new(&state, &visitor, &signed_in, FormState::default());
            page.form = field_errors::of_password(errors, page.page.t)
                .into_iter()
                .fold(page.form, |form, (field, text)| form.with_field_error(field, text));
            html(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
