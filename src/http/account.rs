//! `/` and `/account`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::SecondsFormat;

use super::problem::Problem;
use super::view::{self, Account, ActivityRow, Home, Page};
use super::web::{Visitor, Web, html, see_other};
use crate::account::activity::{self, Entry};
use crate::locale::{Locale, Text};

/// Rows of the login log on the account page.
const ROWS: u8 = 20;

/// GET /
///
/// # Errors
/// When the database is away.
pub async fn home(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&web).await?;
    let page = visitor.page(&web, "/", signed_in.as_ref());
    html(StatusCode::OK, &Home { page })
}

/// GET /account: the signed-in person's page, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn account(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&web).await? else { return Ok(see_other("/login", [])) };
    let page: Page = visitor.page(&web, "/account", Some(&signed_in));
    let entries = activity::of_user(&web.accounts, signed_in.user.id, None, ROWS).await?;
    let account = Account {
        name: signed_in.user.name,
        email: signed_in.user.email,
        since: view::day(page.t, signed_in.user.created_at),
        activity: entries.into_iter().map(|entry| row(page.t, entry)).collect(),
        language: Locale::from_tag(&signed_in.user.locale).unwrap_or_default().tag(),
        page,
    };
    html(StatusCode::OK, &account)
}

fn row(t: Text, entry: Entry) -> ActivityRow {
    ActivityRow {
        what: view::activity_words(t, &entry.kind, entry.reason.as_deref()),
        ok: entry.reason.is_none(),
        at: view::moment(t, entry.at),
        at_iso: entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        ip: entry.ip,
        agent: view::device(t, &entry.user_agent),
        detail: None,
    }
}
