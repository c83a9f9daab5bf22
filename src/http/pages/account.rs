//! `/` and `/account`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::SecondsFormat;

use crate::account::login_log;
use crate::account::login_log::Entry;
use crate::http::pages::view;
use crate::http::pages::view::Account;
use crate::http::pages::view::ActivityRow;
use crate::http::pages::view::Home;
use crate::http::pages::view::Page;
use crate::http::problem::Problem;
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::http::state::html;
use crate::http::state::see_other;
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
    let entries = login_log::of_user(&web.accounts, signed_in.user.id, None, ROWS).await?;
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
