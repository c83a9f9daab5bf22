//! `/account`: the page of who is signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::deletion;
use crate::account::login_log;
use crate::http::extract::visitor::Visitor;
use crate::http::pages::account_events::Live;
use crate::http::pages::activity::ActivityRow;
use crate::http::pages::format;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;
use crate::locale::Locale;

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
    /// When the account is deleted, as [`format::moment`] says it, if that was asked for.
    pub(super) deletes: Option<String>,
    /// The login log, newest first.
    pub(super) activity: Vec<ActivityRow>,
    /// What happened since then is told by the stream.
    pub(super) live: Live,
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
    let entries = login_log::latest(&state.accounts, &signed_in.user, LOGIN_LOG_ROWS).await?;
    let activity = entries.into_iter().map(|entry| ActivityRow::of(page.t, entry, signed_in.session)).collect();
    let deletes = deletion::due(&state.accounts, signed_in.user.id).await?;
    let account = AccountPage {
        name: signed_in.user.name,
        email: signed_in.user.email,
        since: format::day(page.t, signed_in.user.created_at),
        activity,
        live: Live::now(&state),
        deletes: deletes.map(|at| format::moment(page.t, at)),
        language: Locale::from_tag(&signed_in.user.locale).unwrap_or_default(),
        page,
    };
    html(StatusCode::OK, &account)
}
