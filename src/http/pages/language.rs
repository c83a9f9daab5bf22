//! `/language`: the language of the pages, remembered by this browser and by the account that is signed in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::account::profile::{self, ProfileChange};
use crate::http::cookies::Cookie;
use crate::http::extract::form::Fields;
use crate::http::extract::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::redirect::Target;
use crate::http::response::see_other;
use crate::http::state::AppState;
use crate::locale::Locale;

/// How long a browser remembers the language.
const REMEMBERED: Duration = Duration::from_hours(365 * 24);

/// POST /language: 303 back to `next`.
///
/// # Errors
/// 422 for a language that is none of ours; when the database is away.
pub async fn choose(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    let [locale, next] = fields.take(["locale", "next"])?;
    let cookie = remember(&state, &visitor, known(&locale)?).await?;
    Ok(see_other(Target::parse(&next).as_str(), [cookie]))
}

/// For a form that was sent to be shown in another language, with what was typed into it, and not to be acted on: from now on the
/// visitor reads that language. Returns the cookie, or none for a form that was sent for its own sake.
///
/// # Errors
/// As [`choose`].
pub(super) async fn switch(
    state: &AppState,
    visitor: &mut Visitor,
    locale: &str,
) -> Result<Option<HeaderValue>, Problem> {
    if locale.is_empty() {
        return Ok(None);
    }
    let locale = known(locale)?;
    (visitor.locale, visitor.chosen_locale) = (locale, Some(locale));
    remember(state, visitor, locale).await.map(Some)
}

fn known(tag: &str) -> Result<Locale, Problem> {
    Locale::from_tag(tag).ok_or_else(|| Problem::of(StatusCode::UNPROCESSABLE_ENTITY))
}

/// Has the account remember the language, and gives the cookie by which the browser does.
async fn remember(state: &AppState, visitor: &Visitor, locale: Locale) -> Result<HeaderValue, Problem> {
    if let Some(signed_in) = visitor.signed_in(state).await?
        && signed_in.user.locale != locale.tag()
    {
        let change = ProfileChange { locale: Some(locale.tag()), ..ProfileChange::default() };
        profile::change(&state.accounts, &signed_in.user, change).await?;
        state.sessions.forget(signed_in.session);
    }
    Ok(cookie(state, locale)?)
}

/// The cookie by which a browser remembers the language.
pub(super) fn cookie(state: &AppState, locale: Locale) -> anyhow::Result<HeaderValue> {
    Cookie::Language.set(locale.tag(), REMEMBERED, state.https)
}
