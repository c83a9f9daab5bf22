//! `/account/delete`: asks for the deletion of the account, and calls it off.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::deletion;
use crate::account::proof::WrongPassword;
use crate::account::session::SignedIn;
use crate::http::extract::form::FormState;
use crate::http::extract::own_form::OwnFields;
use crate::http::extract::visitor::Visitor;
use crate::http::notice::Notice;
use crate::http::pages::ask_password::AskPasswordPage;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;

fn page(state: &AppState, visitor: &Visitor, signed_in: &SignedIn) -> AskPasswordPage {
    let page = Page::of(state, visitor, links::ACCOUNT, Some(signed_in));
    let grace = page.t.span(state.accounts.lifetimes.deletion_grace);
    AskPasswordPage {
        title: page.t.get("delete-title"),
        lead: page.t.args("delete-lead", &[("span", &grace)]),
        email: signed_in.user.email.clone(),
        action: links::ACCOUNT_DELETE.to_owned(),
        button: page.t.get("delete-submit"),
        form: FormState::default(),
        page,
    }
}

/// GET /account/delete, or 303 to `/login`; to `/account`, which says so, where it was asked for already.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    if deletion::due(&state.accounts, signed_in.user.id).await?.is_some() {
        return Ok(see_other(links::ACCOUNT, []));
    }
    html(StatusCode::OK, &page(&state, &visitor, &signed_in))
}

/// POST /account/delete: 303 to `/account`, which says when, every other session ended; or 422 with the form.
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
    match deletion::schedule(&state.accounts, &signed_in, &current, visitor.origin.clone()).await {
        Ok(scheduled) => {
            state.sessions.forget_all(&scheduled.ended);
            Ok(see_other(links::ACCOUNT, []))
        }
        Err(error) => {
            let WrongPassword = error.downcast()?;
            html(StatusCode::UNPROCESSABLE_ENTITY, &page(&state, &visitor, &signed_in).refused())
        }
    }
}

/// POST /account/delete/undo: 303 to `/account`.
///
/// # Errors
/// When the database is away.
pub async fn undo(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [] = fields.take([])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(links::LOGIN, [])) };
    deletion::call_off(&state.accounts, signed_in.user.id, visitor.origin.clone()).await?;
    Ok(see_other(links::ACCOUNT, [Notice::Restored.cookie(state.https)?]))
}
