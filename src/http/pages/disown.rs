//! `/login/not-me`: the page behind the link in the warning of a sign-in. Scanners press GET, people press the button.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::disown::{self, DisownRefused, Disowned};
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

/// GET /login/not-me?token=: a button, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let works = disown::is_open(&state.accounts, &token).await?;
    let page = frame(&state, &visitor, links::DISOWN, &token);
    if !works {
        return invalid(page, StatusCode::NOT_FOUND);
    }
    let (title, lead) = (page.t.get("disown-title"), page.t.get("disown-lead"));
    let next = Next::Press(Button { action: links::DISOWN, token, text: page.t.get("disown-submit") });
    LinkPage { page, title, lead, about: None, next }.response(StatusCode::OK)
}

/// POST /login/not-me: the session has ended, and a mail is on its way with the link to a new password: 303 to `/forgot/sent`. Or 422
/// for a link that does not work.
///
/// # Errors
/// 429 for a network that guesses, 503 when the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token] = fields.take(["token"])?;
    match disown::disown(&state.accounts, &token, visitor.locale.tag(), visitor.origin.clone()).await {
        Ok(Disowned { ended, browser }) => {
            state.sessions.forget_all(&ended);
            let cookies = [state.reset_cookie(&browser)?, Notice::SessionEnded.cookie(state.https)?];
            Ok(see_other(links::FORGOT_SENT, cookies))
        }
        Err(error) => {
            let DisownRefused = error.downcast()?;
            let page = frame(&state, &visitor, links::DISOWN, "");
            invalid(page, StatusCode::UNPROCESSABLE_ENTITY)
        }
    }
}

fn invalid(page: Page, status: StatusCode) -> Result<Response, Problem> {
    let lead = page.t.get("disown-invalid-lead");
    LinkPage::invalid_password(page, lead).response(status)
}
