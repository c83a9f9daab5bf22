//! `/email/confirm`: the page behind the link in the mail to the address that an account is to move to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::change_email::{self, LinkRefused, LinkStep};
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

/// GET /email/confirm?token=: the button, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let (step, email) = change_email::look(&state.accounts, &token).await?;
    let page = frame(&state, &visitor, links::EMAIL_CONFIRM, &token);
    let (t, about) = (page.t, Some(email));
    match step {
        LinkStep::Button => {
            let (title, lead) = (t.get("email-confirm-title"), t.get("email-confirm-lead"));
            let button = Button { action: links::EMAIL_CONFIRM, token, text: t.get("email-confirm-submit") };
            LinkPage { page, title, lead, about, next: Next::Press(button) }.response(StatusCode::OK)
        }
        LinkStep::Done => {
            let (title, lead) = (t.get("email-done-title"), t.get("confirmed-lead"));
            LinkPage { page, title, lead, about, next: Next::Account }.response(StatusCode::OK)
        }
        LinkStep::Invalid => invalid(page, StatusCode::NOT_FOUND),
    }
}

/// POST /email/confirm: 303 to `/account`; or 422 for a link that does not work.
///
/// # Errors
/// 429 for a network that guesses, 503 when the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token] = fields.take(["token"])?;
    match change_email::confirm(&state.accounts, &token, visitor.origin.clone()).await {
        Ok(_) => {
            if let Some(session) = visitor.session {
                // it knows the user as they were
                state.sessions.forget_token(session);
            }
            Ok(see_other(links::ACCOUNT, [Notice::EmailChanged.cookie(state.https)?]))
        }
        Err(error) => {
            let LinkRefused = error.downcast()?;
            let page = frame(&state, &visitor, links::EMAIL_CONFIRM, "");
            invalid(page, StatusCode::UNPROCESSABLE_ENTITY)
        }
    }
}

fn invalid(page: Page, status: StatusCode) -> Result<Response, Problem> {
    let lead = page.t.get("email-invalid-lead");
    LinkPage::invalid(page, lead).response(status)
}
