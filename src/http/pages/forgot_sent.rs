//! `/forgot/sent`: the page that waits for the mail with the person who has forgotten the password.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::account::delivery::DeliveryStatus;
use crate::account::reset;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::delivery::{Delivery, status_text};
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::html;
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/forgot_sent.html")]
pub(super) struct ForgotSentPage {
    pub(super) page: Page,
    /// The address that is written to, if this browser asked.
    pub(super) address: Option<String>,
    /// How long the link in the mail works, in words.
    pub(super) lifetime: String,
    /// How far the mail has come.
    pub(super) delivery: Delivery,
}

/// GET /forgot/sent: where the mail is; the same whoever has the address.
///
/// # Errors
/// When the database is away.
pub async fn sent(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let (address, status) = delivery_of(&state, &visitor).await?.unzip();
    let page = Page::of(&state, &visitor, links::FORGOT, signed_in.as_ref());
    let delivery = Delivery::new(&state, &visitor, page.t, links::FORGOT_STATUS, status);
    html(
        StatusCode::OK,
        &ForgotSentPage { lifetime: page.t.span(state.accounts.lifetimes.reset), page, address, delivery },
    )
}

/// GET /forgot/status: `{"status": "queued|sent|delayed|rejected|unknown"}` of this browser's request.
///
/// # Errors
/// When the database is away.
pub async fn status(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let status = delivery_of(&state, &visitor).await?.map(|(_, status)| status);
    Ok(axum::Json(json!({ "status": status_text(status) })).into_response())
}

async fn delivery_of(state: &AppState, visitor: &Visitor) -> Result<Option<(String, DeliveryStatus)>, Problem> {
    match visitor.reset {
        Some(browser) => Ok(reset::status(&state.accounts, browser).await?),
        None => Ok(None),
    }
}
