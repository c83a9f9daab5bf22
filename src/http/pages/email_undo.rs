//! `/email/undo`: the page behind the link in the mail to the address that an account had before.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::change_email::{self, LinkRefused};
use crate::http::extract::form::Fields;
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::notice::Notice;
use crate::http::pages::layout::Page;
use crate::http::pages::link::{Button, LinkPage, Next, frame};
use crate::http::problem::Problem;
use crate::http::response::see_other;
use crate::http::state::AppState;
use crate::links;

/// GET /email/undo?token=: the button, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let former = change_email::look_at_undo(&state.accounts, &token).await?;
    let page = frame(&state, &visitor, links::EMAIL_UNDO, &token);
    if former.is_none() {
        return invalid(page, StatusCode::NOT_FOUND);
    }
    let (title, lead) = (page.t.get("email-undo-title"), page.t.get("email-undo-lead"));
    let next = Next::Press(Button { action: links::EMAIL_UNDO, token, text: page.t.get("email-undo-submit") });
    LinkPage { page, title, lead, about: former, next }.response(StatusCode::OK)
}

/// POST /email/undo: 303 to the page that sets a new password, every session ended; or 422 for a link that does not work.
///
/// # Errors
/// 429 for a network that guesses, 503 when the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token] = fields.take(["token"])?;
    match change_email::undo(&state.accounts, &token, visitor.origin.clone()).await {
        Ok(undone) => {
            state.sessions.forget_all(&undone.ended);
            let cookies = [state.sign_on.delete(), Notice::EmailUndone.cookie(state.https)?];
            Ok(see_other(&links::token_path(links::RESET, &undone.reset), cookies))
        }
        Err(error) => {
            let LinkRefused = error.downcast()?;
            let page = frame(&state, &visitor, links::EMAIL_UNDO, "");
            invalid(page, StatusCode::UNPROCESSABLE_ENTITY)
        }
    }
}

fn invalid(page: Page, status: StatusCode) -> Result<Response, Problem> {
    let lead = page.t.get("email-undo-invalid-lead");
    LinkPage::invalid(page, lead).response(status)
}
