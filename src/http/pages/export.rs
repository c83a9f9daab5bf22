//! `/account/export`: everything that is kept about a person, as a file. Asks for the password if it was not shown lately.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, HeaderValue};
use axum::response::Response;

use crate::account::proof::{self, WrongPassword};
use crate::account::session::SignedIn;
use crate::http::export;
use crate::http::extract::form::FormState;
use crate::http::extract::own_form::OwnFields;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::ask_password::AskPasswordPage;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other, with_cookies};
use crate::http::state::AppState;
use crate::links;

fn page(state: &AppState, visitor: &Visitor, signed_in: &SignedIn) -> AskPasswordPage {
    let page = Page::of(state, visitor, links::ACCOUNT, Some(signed_in));
    AskPasswordPage {
        title: page.t.get("export-title"),
        lead: page.t.get("export-lead"),
        email: signed_in.user.email.clone(),
        action: links::ACCOUNT_EXPORT.to_owned(),
        button: page.t.get("export-submit"),
        form: FormState::default(),
        page,
    }
}

async fn file(state: &AppState, signed_in: SignedIn) -> Result<Response, Problem> {
    let mut response = export::answer(&state.accounts, signed_in.user).await?;
    let name = HeaderValue::from_static("attachment; filename=\"account.json\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(response)
}

/// GET /account/export: the file, or the form that asks for the password, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    if proof::is_fresh(&state.accounts, signed_in.session).await? {
        return file(&state, signed_in).await;
    }
    html(StatusCode::OK, &page(&state, &visitor, &signed_in))
}

/// POST /account/export: the file, or 422 with the form.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [current] = fields.take(["current_password"])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    state.rate_limits.login.check(visitor.client.network)?;
    match proof::prove(&state.accounts, &signed_in, visitor.client.ip, &current).await {
        Ok(new) => {
            let session = state.session_cookie(&new, visitor.session)?;
            Ok(with_cookies(file(&state, signed_in).await?, [session]))
        }
        Err(error) => {
            let WrongPassword = error.downcast()?;
            html(StatusCode::UNPROCESSABLE_ENTITY, &page(&state, &visitor, &signed_in).refused())
        }
    }
}
