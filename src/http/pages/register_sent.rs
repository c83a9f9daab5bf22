//! `/register/sent`: the page that waits with the person for the mail, and what its script asks for.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::account::register::{self, DeliveryStatus};
use crate::http::extract::visitor::Visitor;
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
    /// How far the mail has come, if this browser has a registration that waits.
    pub(super) status: Option<DeliveryStatus>,
    /// Whether mails leave this machine.
    pub(super) mail_server: bool,
    /// Whether to offer POST /register/resend.
    pub(super) resend: bool,
}

impl RegisterSentPage {
    fn status_text(&self) -> &'static str {
        status_text(self.status)
    }

    /// Whether looking again can show something else.
    fn may_change(&self) -> bool {
        matches!(self.status, Some(DeliveryStatus::Queued | DeliveryStatus::Sent | DeliveryStatus::Delayed))
    }

    /// What the waiting person is told when the mail has come as far as `status`. A mail in the local mailbox has gone to
    /// no mail server, and no other inbox will get it.
    fn sentence(&self, status: Option<DeliveryStatus>) -> String {
        let t = self.page.t;
        match status {
            None => t.get("delivery-unknown"),
            Some(DeliveryStatus::Queued) => t.get("delivery-queued"),
            Some(DeliveryStatus::Sent) if self.page.demo_mailbox => t.get("delivery-sent-here"),
            Some(DeliveryStatus::Sent) if !self.mail_server => t.get("delivery-sent-nowhere"),
            Some(DeliveryStatus::Sent) => t.get("delivery-sent"),
            Some(DeliveryStatus::Delayed) => t.get("delivery-delayed"),
            Some(DeliveryStatus::Rejected) => t.get("delivery-rejected"),
        }
    }
}

/// The word for it in GET /register/status and in the style sheet.
pub(super) fn status_text(status: Option<DeliveryStatus>) -> &'static str {
    status.map_or("unknown", DeliveryStatus::as_str)
}

/// GET /register/sent: where the mail is, or 303 to `/account` for somebody who has confirmed.
///
/// # Errors
/// When the database is away.
pub async fn sent(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let (address, status) = delivery(&state, &visitor).await?.unzip();
    if status.is_none() && signed_in.is_some() {
        // without the script the waiting page reloads itself: this is how it moves on
        return Ok(see_other(links::ACCOUNT, []));
    }
    let page = Page::of(&state, &visitor, links::REGISTER, signed_in.as_ref());
    let mail_server = state.has_mail_server();
    html(StatusCode::OK, &RegisterSentPage { page, address, status, mail_server, resend: false })
}

/// GET /register/status: `{"status": "queued|sent|delayed|rejected|confirmed|unknown"}` of this browser's registration.
///
/// # Errors
/// When the database is away.
pub async fn status(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let status = match delivery(&state, &visitor).await? {
        None if visitor.signed_in(&state).await?.is_some() => "confirmed",
        found => status_text(found.map(|(_, status)| status)),
    };
    Ok(axum::Json(json!({ "status": status })).into_response())
}

async fn delivery(state: &AppState, visitor: &Visitor) -> Result<Option<(String, DeliveryStatus)>, Problem> {
    match visitor.registration {
        Some(browser) => Ok(register::status(&state.accounts, browser).await?),
        None => Ok(None),
    }
}
