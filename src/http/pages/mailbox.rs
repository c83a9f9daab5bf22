//! `/mailbox`: the mails, while nobody has configured a mail server. For this machine alone; to everybody else there is
//! no such page.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::http::pages::view::Mail;
use crate::http::pages::view::MailRow;
use crate::http::pages::view::Mailbox;
use crate::http::pages::view::moment;
use crate::http::pages::view::text_parts;
use crate::http::problem::Problem;
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::http::state::html;
use crate::http::state::query;
use crate::mail;

fn mailbox<'a>(web: &'a Web, visitor: &Visitor) -> Result<&'a mail::Mailbox, Problem> {
    web.mailbox().filter(|_| visitor.here).ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))
}

/// GET /mailbox
///
/// # Errors
/// 404 when there is none for this caller.
pub async fn list(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    let stored = mailbox(&web, &visitor)?.list(None).await?;
    let signed_in = visitor.signed_in(&web).await?;
    let page = visitor.page(&web, "/mailbox", signed_in.as_ref());
    let t = page.t;
    let row = |mail: mail::StoredMail| MailRow {
        id: mail.id,
        to: mail.to,
        subject: mail.subject,
        at: moment(t, mail.received_at),
    };
    html(StatusCode::OK, &Mailbox { page, mails: stored.into_iter().map(row).collect() })
}

/// GET /mailbox/{id}
///
/// # Errors
/// 404 when there is none, or no such mail.
pub async fn show(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Problem> {
    let mail = mailbox(&web, &visitor)?.get(&id).await?.ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))?;
    let signed_in = visitor.signed_in(&web).await?;
    let page = visitor.page(&web, "/mailbox", signed_in.as_ref());
    let text_parts = text_parts(&mail.text);
    let at = moment(page.t, mail.received_at);
    html(StatusCode::OK, &Mail { page, to: mail.to, subject: mail.subject, at, text_parts })
}

/// GET /mailbox.json?to=
///
/// # Errors
/// 404 when there is none for this caller.
pub async fn json(State(web): State<Web>, visitor: Visitor, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let to = query(raw.as_deref(), "to");
    let stored = mailbox(&web, &visitor)?.list(to.as_deref()).await?;
    Ok(axum::Json(stored).into_response())
}
