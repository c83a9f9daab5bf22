//! `/account/activity`: the whole login log of who is signed in, page by page.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::SecondsFormat;
use uuid::Uuid;

use crate::account::login_log::{self, Entry, Filter};
use crate::device;
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::format;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;
use crate::locale::Text;

/// Rows of a page.
const ROWS: u8 = 50;

#[derive(Template)]
#[template(path = "pages/activity.html")]
pub(super) struct ActivityPage {
    pub(super) page: Page,
    /// Newest first.
    pub(super) activity: Vec<ActivityRow>,
    /// Whether only what was refused is shown.
    pub(super) refused: bool,
    /// Whether this is a later page than the first.
    pub(super) is_later: bool,
    /// The page with what is older, if there is more.
    pub(super) older: Option<String>,
}

/// One line of the login log.
pub(super) struct ActivityRow {
    /// What happened, as [`format::event`] says it.
    pub(super) what: String,
    /// Whether it went through; false marks a refusal.
    pub(super) ok: bool,
    /// When, as [`format::moment`] says it.
    pub(super) at: String,
    /// The same for programs: RFC 3339.
    pub(super) at_iso: String,
    /// The network address of the client.
    pub(super) ip: String,
    /// The device, as [`device::words`] says it.
    pub(super) agent: String,
    /// Anything else worth a line.
    pub(super) detail: Option<String>,
    /// The session that began, by which the script knows that it is shown.
    pub(super) session: Option<Uuid>,
}

impl ActivityRow {
    pub(super) fn of(t: Text, entry: Entry, present: Uuid) -> Self {
        ActivityRow {
            what: format::event(t, &entry.kind, entry.reason.as_deref()),
            ok: entry.reason.is_none(),
            at: format::moment(t, entry.at),
            at_iso: entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            ip: entry.ip,
            agent: device::words(t, &entry.user_agent),
            detail: (entry.session_id == Some(present)).then(|| t.get("activity-present")),
            session: entry.session_id,
        }
    }
}

/// GET /account/activity?before=&show=refused, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn activity(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    let page = Page::of(&state, &visitor, links::ACCOUNT, Some(&signed_in));
    // what is no entry begins at the newest one
    let before = query.get("before").and_then(|id| id.parse::<Uuid>().ok());
    let refused = query.get("show").as_deref() == Some("refused");
    // one more than is shown tells whether there is a next page
    let mut entries =
        login_log::of_user(&state.accounts, signed_in.user.id, Filter { before, refused }, ROWS + 1).await?;
    let more = entries.len() > usize::from(ROWS);
    entries.truncate(usize::from(ROWS));
    let last = entries.last().filter(|_| more).map(|entry| entry.id);
    let older = last.map(|id| {
        let show = if refused { "&show=refused" } else { "" };
        format!("{}?before={id}{show}", links::ACCOUNT_ACTIVITY)
    });
    let activity = entries.into_iter().map(|entry| ActivityRow::of(page.t, entry, signed_in.session)).collect();
    html(StatusCode::OK, &ActivityPage { page, activity, refused, is_later: before.is_some(), older })
}
