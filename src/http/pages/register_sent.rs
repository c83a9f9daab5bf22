//! `/register/sent`: the page that waits with the person for the mail, and what its script asks for.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::account::delivery::DeliveryStatus;
use crate::account::register;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::delivery::{Delivery, status_text};
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/register_sent.html")]
pub(super) struct RegisterSentPage {
    pub(super) page: Page,
    /// The address that is written to, if this browser registered.
    pub(super) address: Option<String>,
    /// How far the mail has come.
    pub(super) delivery: Delivery,
}

/// GET /register/sent: where the mail is, or 303 to `/account` for somebody who has confirmed.
///
/// # Errors
/// When the database is away.
pub async fn sent(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let (address, status) = delivery_of(&state, &visitor).await?.unzip();
    if status.is_none() && signed_in.is_some() {
        // without the script the waiting page reloads itself: this is how it moves on
        return Ok(see_other(links::ACCOUNT, []));
    }
    let page = Page::of(&state, &visitor, links::REGISTER, signed_in.as_ref());
    let delivery = Delivery::new(&state, &visitor, page.t, links::REGISTER_STATUS, status);
    html(StatusCode::OK, &RegisterSentPage { page, address, delivery })
}

/// GET /register/status: `{"status": "queued|sent|delayed|rejected|confirmed|unknown"}` of this browser's registration.
///
/// # Errors
/// When the database is away.
pub async fn status(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let status = match delivery_of(&state, &visitor).await? {
        None if visitor.signed_in(&state).await?.is_some() => "confirmed",
        found => status_text(found.map(|(_, status)| status)),
    };
    Ok(axum::Json(json!({ "status": status })).into_response())
}

async fn delivery_of(state: &AppState, visitor: &Visitor) -> Result<Option<(String, DeliveryStatus)>, Problem> {
    match visitor.registration {
        Some(browser) => Ok(register::status(&state.accounts, browser).await?),
        None => Ok(None),
    }
}
