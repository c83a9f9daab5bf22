//! `/mailbox`: the mails, while nobody has configured a mail server. For this machine alone; to everybody else there is
//! no such page.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::format;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::html;
use crate::http::state::AppState;
use crate::links;
use crate::mail;

#[derive(Template)]
#[template(path = "pages/mailbox.html")]
pub(super) struct MailboxPage {
    pub(super) page: Page,
    /// The mails, newest first.
    pub(super) mails: Vec<MailRow>,
}

/// One mail in the list.
#[derive(Clone)]
pub(super) struct MailRow {
    /// Its id, one segment of a path.
    pub(super) id: String,
    /// The recipient.
    pub(super) to: String,
    /// The subject.
    pub(super) subject: String,
    /// When it came, for people.
    pub(super) at: String,
}

/// The mailbox, if there is one and this caller may see it.
pub(super) fn open<'a>(state: &'a AppState, visitor: &Visitor) -> Result<&'a mail::Mailbox, Problem> {
    state.mailbox().filter(|_| visitor.is_local).ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))
}

/// GET /mailbox
///
/// # Errors
/// 404 when there is none for this caller.
pub async fn list(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let stored = open(&state, &visitor)?.list(None).await?;
    let signed_in = visitor.signed_in(&state).await?;
    let page = Page::of(&state, &visitor, links::MAILBOX, signed_in.as_ref());
    let t = page.t;
    let row = |mail: mail::StoredMail| MailRow {
        id: mail.id,
        to: mail.to,
        subject: mail.subject,
        at: format::moment(t, mail.received_at),
    };
    html(StatusCode::OK, &MailboxPage { page, mails: stored.into_iter().map(row).collect() })
}

/// GET /mailbox.json?to=
///
/// # Errors
/// 404 when there is none for this caller.
pub async fn json(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let stored = open(&state, &visitor)?.list(query.get("to").as_deref()).await?;
    Ok(axum::Json(stored).into_response())
}
