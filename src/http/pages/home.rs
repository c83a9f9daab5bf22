//! `/`: what this is.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::extract::visitor::Visitor;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::html;
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/home.html")]
pub(super) struct HomePage {
    pub(super) page: Page,
}

/// GET /
///
/// # Errors
/// When the database is away.
pub async fn home(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let page = Page::of(&state, &visitor, links::HOME, signed_in.as_ref());
    html(StatusCode::OK, &HomePage { page })
}
