//! `/forgot/sent`: the page that waits for the mail with the person who has forgotten the password.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::credentials::token::TokenHash;
use crate::account::reset::{self, Waiting};
use crate::http::extract::visitor::Visitor;
use crate::http::pages::delivery::{self, Delivery, Words};
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
    let waiting = waiting(&state, visitor.reset).await?;
    let (address, progress) = waiting.map(|waiting| (waiting.email, waiting.delivery)).unzip();
    let page = Page::of(&state, &visitor, links::FORGOT, signed_in.as_ref());
    let words = Words::new(&state, &visitor, page.t);
    let delivery = Delivery { words, url: links::FORGOT_STATUS, events: links::FORGOT_EVENTS, progress };
    html(
        StatusCode::OK,
        &ForgotSentPage { lifetime: page.t.span(state.accounts.lifetimes.reset), page, address, delivery },
    )
}

/// GET /forgot/status: how far the mail of this browser's request has come, in JSON.
///
/// # Errors
/// When the database is away.
pub async fn status(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let waiting = waiting(&state, visitor.reset).await?;
    Ok(delivery::status(&state, &visitor, waiting.map(|waiting| waiting.delivery).as_ref()))
}

/// GET /forgot/sent/events: the same as a stream, each time that it changes.
///
/// # Errors
/// When the database is away.
pub async fn events(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let (accounts, browser) = (state.accounts.clone(), visitor.reset);
    let read = move || {
        let accounts = accounts.clone();
        async move {
            let Some(browser) = browser else { return Ok(None) };
            let waiting = reset::waiting(&accounts, browser).await?;
            Ok(waiting.map(|waiting| (waiting.id, waiting.delivery)))
        }
    };
    delivery::events(&state, &visitor, read).await
}

async fn waiting(state: &AppState, browser: Option<TokenHash>) -> Result<Option<Waiting>, Problem> {
    match browser {
        Some(browser) => Ok(reset::waiting(&state.accounts, browser).await?),
        None => Ok(None),
    }
}
