//! `/mailbox/{id}`: the text part of one mail in the local mailbox.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::extract::visitor::Visitor;
use crate::http::pages::format;
use crate::http::pages::layout::Page;
use crate::http::pages::mailbox;
use crate::http::problem::Problem;
use crate::http::response::html;
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/mail.html")]
pub(super) struct MailPage {
    pub(super) page: Page,
    /// The recipient.
    pub(super) to: String,
    /// The subject.
    pub(super) subject: String,
    /// When it came, for people.
    pub(super) at: String,
    /// The text, cut into words and links by [`text_parts`].
    pub(super) text_parts: Vec<TextPart>,
}

/// A piece of a mail's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TextPart {
    /// What is shown.
    pub(super) text: String,
    /// Where it leads, if it is a link: an http or https address.
    pub(super) href: Option<String>,
}

/// GET /mailbox/{id}
///
/// # Errors
/// 404 when there is none, or no such mail.
pub async fn show(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mail = mailbox::open(&state, &visitor)?.get(&id).await?;
    let mail = mail.ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))?;
    let signed_in = visitor.signed_in(&state).await?;
    let page = Page::of(&state, &visitor, links::MAILBOX, signed_in.as_ref());
    let (at, text_parts) = (format::moment(page.t, mail.received_at), text_parts(&mail.text));
    html(StatusCode::OK, &MailPage { page, to: mail.to, subject: mail.subject, at, text_parts })
}

/// Cuts a plain text into words and links: whatever starts with `http://` or `https://` leads there, up to the next
/// blank and without the full stop or bracket after it. No other scheme becomes a link.
pub(super) fn text_parts(text: &str) -> Vec<TextPart> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = ["https://", "http://"].iter().filter_map(|scheme| rest.find(scheme)).min() {
        let (before, from_link) = rest.split_at(at);
        let end =
            from_link.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')).unwrap_or(from_link.len());
        let link = from_link.get(..end).unwrap_or(from_link).trim_end_matches(['.', ',', ';', ')', '。', '，', '）']);
        plain.push_str(before);
        rest = from_link.get(link.len()..).unwrap_or_default();
        if !plain.is_empty() {
            parts.push(TextPart { text: std::mem::take(&mut plain), href: None });
        }
        parts.push(TextPart { text: link.to_owned(), href: Some(link.to_owned()) });
    }
    if !rest.is_empty() {
        parts.push(TextPart { text: rest.to_owned(), href: None });
    }
    parts
}
