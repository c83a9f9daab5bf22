//! `/account/events`: the pages of who is signed in are told of other sign-ins, and of their own session's end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::session;
use crate::clock::Timestamp;
use crate::device;
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::live::{self, Look, Source};
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::links;
use crate::locale::Text;

/// What is looked at twice: as much as the clocks of nodes may differ, and a transaction may take. The page knows what it shows.
const OVERLAP: Duration = Duration::from_mins(1);

/// A page is not open for longer.
const OLDEST: Duration = Duration::from_hours(400 * 24);

/// Where a page is told what happened since it was made.
pub(super) struct Live {
    since: Timestamp,
}

impl Live {
    pub(super) fn now(state: &AppState) -> Self {
        Live { since: state.accounts.clock.now() }
    }

    #[cfg(test)]
    pub(super) fn since(since: Timestamp) -> Self {
        Live { since }
    }

    /// The path of the stream.
    pub(super) fn url(&self) -> String {
        format!("{}?since={}", links::ACCOUNT_EVENTS, self.since.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// A sign-in, in the words of the API's sessions.
#[derive(Serialize)]
struct SignIn {
    id: Uuid,
    device: String,
    ip: String,
    begun_at: DateTime<Utc>,
}

/// GET /account/events?since=: `text/event-stream` with `sign-in` for each other session that begins, or has begun since then, and
/// `session-ended` at the end of the own one, or at once where there is none: the page of it is still there. An open page is no use
/// of the session.
///
/// # Errors
/// 503 when the database is away.
pub async fn events(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let Some(place) = state.live.admit(visitor.client) else { return Ok(live::nothing()) };
    let looked = state.live.watchers().before_look();
    let signed_in = match visitor.session {
        Some(token) => session::peek(&state.accounts, token).await?,
        None => None,
    };
    let Some(signed_in) = signed_in else {
        let nobodys = state.live.watchers().watch(Uuid::nil(), looked);
        return Ok(live::stream(&state.live, place, nobodys, ended()?, Over));
    };
    let now = state.accounts.clock.now();
    let since = query.get("since").and_then(|since| since.parse::<Timestamp>().ok()).unwrap_or(now);
    // nothing to be told is older, and no time of a stranger's choice is reckoned with
    let since = since.clamp(now - OLDEST, now);
    let mut told = Told {
        accounts: state.accounts.clone(),
        t: visitor.reads(Some(&signed_in)).text(),
        user: signed_in.user.id,
        session: signed_in.session,
        since,
        known: Vec::new(),
    };
    let first = told.look().await?;
    let watcher = state.live.watchers().watch(signed_in.user.id, looked);
    Ok(live::stream(&state.live, place, watcher, first, told))
}

fn ended() -> anyhow::Result<Look> {
    Ok(Look { events: vec![live::event("session-ended", &json!({}))?], is_last: true, ..Look::default() })
}

/// Nothing comes after the end.
struct Over;

impl Source for Over {
    async fn look(&mut self) -> anyhow::Result<Look> {
        ended()
    }
}

/// What a page has been told.
struct Told {
    accounts: Accounts,
    t: Text,
    user: Uuid,
    /// Not its token, of which it gets another when the password is shown.
    session: Uuid,
    since: Timestamp,
    /// Sessions that began within the overlap before the last look.
    known: Vec<Uuid>,
}

impl Source for Told {
    async fn look(&mut self) -> anyhow::Result<Look> {
        let accounts = &self.accounts;
        let now = accounts.clock.now();
        let Some(until) = session::until(accounts, self.session).await? else { return ended() };
        let begun = session::begun_since(accounts, self.user, self.since - OVERLAP).await?;
        let mut events = Vec::new();
        for one in begun.iter().filter(|one| one.id != self.session && !self.known.contains(&one.id)) {
            let device = device::words(self.t, &one.user_agent);
            let sign_in = SignIn { id: one.id, device, ip: one.ip.clone(), begun_at: one.created_at };
            events.push(live::event("sign-in", &sign_in)?);
        }
        self.known = begun.into_iter().map(|one| one.id).collect();
        self.since = now;
        Ok(Look { events, again_in: (until - now).to_std().ok(), is_last: false })
    }
}
