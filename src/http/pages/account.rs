//! `/account`: the page of who is signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{SecondsFormat, TimeDelta};

use crate::account::login_log::{self, Filter};
use crate::account::session::{self, Beginning};
use crate::clock::Timestamp;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::activity::ActivityRow;
use crate::http::pages::format;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;
use crate::locale::{Locale, Text};

/// Rows of the login log on the page.
const LOGIN_LOG_ROWS: u8 = 20;

#[derive(Template)]
#[template(path = "pages/account.html")]
pub(super) struct AccountPage {
    pub(super) page: Page,
    /// The display name.
    pub(super) name: String,
    /// The confirmed address.
    pub(super) email: String,
    /// The day of registration, as [`format::day`] says it.
    pub(super) since: String,
    /// The login log, newest first.
    pub(super) activity: Vec<ActivityRow>,
    /// The language that mails are written in.
    pub(super) language: Locale,
}

/// GET /account: the signed-in person's page, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn account(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(links::LOGIN, [])) };
    let page = Page::of(&state, &visitor, links::ACCOUNT, Some(&signed_in));
    let entries = login_log::of_user(&state.accounts, signed_in.user.id, Filter::default(), LOGIN_LOG_ROWS).await?;
    let mut rows: Vec<(Timestamp, ActivityRow)> =
        entries.into_iter().map(|entry| (entry.at, ActivityRow::of(page.t, entry, signed_in.session))).collect();
    // the log is written a moment later; whoever has just signed in sees it all the same
    if rows.iter().all(|(_, row)| row.detail.is_none())
        && let Some(begun) = session::beginning(&state.accounts, signed_in.session).await?
    {
        let at = rows.iter().position(|(at, _)| *at <= begun.created_at).unwrap_or(rows.len());
        // confirming makes the account and its first session in one transaction
        let is_first = begun.created_at - signed_in.user.created_at < TimeDelta::seconds(1);
        let kind = if is_first { "user.confirmed" } else { "login.succeeded" };
        rows.insert(at, (begun.created_at, present(page.t, kind, begun)));
    }
    let account = AccountPage {
        name: signed_in.user.name,
        email: signed_in.user.email,
        since: format::day(page.t, signed_in.user.created_at),
        activity: rows.into_iter().map(|(_, row)| row).collect(),
        language: Locale::from_tag(&signed_in.user.locale).unwrap_or_default(),
        page,
    };
    html(StatusCode::OK, &account)
}

/// The session that looks at the page, while the log does not have it.
fn present(t: Text, kind: &str, begun: Beginning) -> ActivityRow {
    ActivityRow {
        what: format::event(t, kind, None),
        ok: true,
        at: format::moment(t, begun.created_at),
        at_iso: begun.created_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        ip: begun.ip,
        agent: format::device(t, &begun.user_agent),
        detail: Some(t.get("activity-present")),
    }
}
