//! `/logout`: ends the session of this browser.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use crate::http::extract::own_form::OwnFields;
use crate::http::extract::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::response::{CLEAR_SITE_DATA, see_other};
use crate::http::state::AppState;
use crate::links;

/// POST /logout: 303 to the start; the session is gone on every node.
///
/// # Errors
/// When the database is away: the session lives, and the person is told so.
pub async fn logout(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [] = fields.take([])?;
    if let Some(token) = visitor.session {
        state.sessions.revoke(&state.accounts, token).await?;
    }
    Ok(([CLEAR_SITE_DATA], see_other(links::HOME, [state.sign_on.delete()])).into_response())
}
