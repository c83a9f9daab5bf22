//! `/account/restore`: the page behind the link that calls the deletion of an account off.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::deletion;
use crate::http::extract::form::Fields;
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::notice::Notice;
use crate::http::pages::format;
use crate::http::pages::layout::Page;
use crate::http::pages::link::{Button, LinkPage, Next, frame};
use crate::http::problem::Problem;
use crate::http::response::see_other;
use crate::http::state::AppState;
use crate::links;

/// GET /account/restore?token=: the button, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let token = query.get("token").unwrap_or_default();
    let found = deletion::look(&state.accounts, &token).await?;
    let page = frame(&state, &visitor, links::ACCOUNT_RESTORE, &token);
    let Some((user, deletes_at)) = found else {
        return invalid(page, StatusCode::NOT_FOUND);
    };
    let title = page.t.get("restore-title");
    let lead = page.t.args("restore-lead", &[("moment", &format::moment(page.t, deletes_at))]);
    let next = Next::Press(Button { action: links::ACCOUNT_RESTORE, token, text: page.t.get("restore-submit") });
    LinkPage { page, title, lead, about: Some(user.email), next }.response(StatusCode::OK)
}

/// POST /account/restore: 303 to `/account`; or 422 for a link that does not work.
///
/// # Errors
/// 429 for a network that guesses, 503 when the database is away.
pub async fn submit(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.confirm.check(visitor.client.network)?;
    let [token] = fields.take(["token"])?;
    let Some((user, _)) = deletion::look(&state.accounts, &token).await? else {
        let page = frame(&state, &visitor, links::ACCOUNT_RESTORE, "");
        return invalid(page, StatusCode::UNPROCESSABLE_ENTITY);
    };
    deletion::call_off(&state.accounts, user.id, visitor.origin.clone()).await?;
    Ok(see_other(links::ACCOUNT, [Notice::Restored.cookie(state.https)?]))
}

fn invalid(page: Page, status: StatusCode) -> Result<Response, Problem> {
    let lead = page.t.get("restore-invalid-lead");
    LinkPage::invalid(page, lead).response(status)
}
