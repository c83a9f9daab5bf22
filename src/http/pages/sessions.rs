//! `/account/sessions`: where one is signed in, and how to end it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use chrono::SecondsFormat;
use uuid::Uuid;

use crate::account::proof::{self, WrongPassword};
use crate::account::session::{self, SessionSummary, SignedIn};
use crate::device;
use crate::http::extract::form::FormState;
use crate::http::extract::own_form::OwnFields;
use crate::http::extract::visitor::Visitor;
use crate::http::notice::Notice;
use crate::http::pages::account_events::Live;
use crate::http::pages::ask_password::AskPasswordPage;
use crate::http::pages::format;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::redirect::Target;
use crate::http::response::{html, see_other};
use crate::http::state::AppState;
use crate::links;
use crate::locale::Text;

#[derive(Template)]
#[template(path = "pages/sessions.html")]
pub(super) struct SessionsPage {
    pub(super) page: Page,
    /// The present one first, then the last one used first.
    pub(super) sessions: Vec<SessionRow>,
    /// What happened since then is told by the stream.
    pub(super) live: Live,
}

/// A session.
pub(super) struct SessionRow {
    /// By which the script knows that it is shown.
    pub(super) id: Uuid,
    /// Where its end is asked for; none for the present one, which ends by signing out.
    pub(super) end: Option<String>,
    /// The device, as [`device::words`] says it.
    pub(super) device: String,
    /// The network address of the client.
    pub(super) ip: String,
    /// When it began, as [`format::moment`] says it.
    pub(super) begun: String,
    /// The same for programs: RFC 3339.
    pub(super) begun_iso: String,
    /// When it was last used, likewise.
    pub(super) seen: String,
    /// The same for programs.
    pub(super) seen_iso: String,
}

/// GET /account/sessions, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn list(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    let page = Page::of(&state, &visitor, links::ACCOUNT, Some(&signed_in));
    let mut sessions = session::of_user(&state.accounts, signed_in.user.id).await?;
    sessions.sort_by_key(|one| one.id != signed_in.session);
    let sessions = sessions.into_iter().map(|one| row(page.t, one, signed_in.session)).collect();
    html(StatusCode::OK, &SessionsPage { page, sessions, live: Live::now(&state) })
}

fn row(t: Text, one: SessionSummary, present: Uuid) -> SessionRow {
    let iso = |at: crate::clock::Timestamp| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    SessionRow {
        id: one.id,
        end: (one.id != present).then(|| links::end_session(&one.id.to_string())),
        device: device::words(t, &one.user_agent),
        ip: one.ip,
        begun: format::moment(t, one.created_at),
        begun_iso: iso(one.created_at),
        seen: format::moment(t, one.last_seen_at),
        seen_iso: iso(one.last_seen_at),
    }
}

/// Which sessions are to end.
#[derive(Clone, Copy)]
enum Ending {
    One(Uuid),
    Others,
}

impl Ending {
    fn action(self) -> String {
        match self {
            Ending::One(id) => links::end_session(&id.to_string()),
            Ending::Others => links::END_OTHER_SESSIONS.to_owned(),
        }
    }

    fn button(self, t: Text) -> String {
        match self {
            Ending::One(_) => t.get("sessions-end"),
            Ending::Others => t.get("sessions-end-others"),
        }
    }
}

/// Ends sessions once the password was shown: lately, or with this form. Otherwise a form that asks for it comes back. Whoever sits
/// down at a browser that was left open signs nobody out elsewhere (OWASP ASVS 7.5.2).
async fn proved(
    state: &AppState,
    visitor: &Visitor,
    signed_in: &SignedIn,
    current: &str,
    ending: Ending,
) -> Result<Result<Option<HeaderValue>, Response>, Problem> {
    if proof::is_fresh(&state.accounts, signed_in.session).await? {
        return Ok(Ok(None));
    }
    let mut page = Page::of(state, visitor, links::ACCOUNT, Some(signed_in));
    page.here = Target::parse(links::ACCOUNT_SESSIONS);
    let ask = AskPasswordPage {
        title: page.t.get("sessions-title"),
        lead: page.t.get("sessions-ask-lead"),
        email: signed_in.user.email.clone(),
        action: ending.action(),
        button: ending.button(page.t),
        form: FormState::default(),
        page,
    };
    if current.is_empty() {
        return Ok(Err(html(StatusCode::OK, &ask)?));
    }
    state.rate_limits.login.check(visitor.client.network)?;
    match proof::prove(&state.accounts, signed_in, visitor.client.ip, current).await {
        Ok(new) => Ok(Ok(Some(state.session_cookie(&new, visitor.session)?))),
        Err(error) => {
            let WrongPassword = error.downcast()?;
            Ok(Err(html(StatusCode::UNPROCESSABLE_ENTITY, &ask.refused())?))
        }
    }
}

/// POST /account/sessions/{id}/end: 303 back; the session is gone on every node. One that is gone already, or somebody else's, is no
/// error: there is nothing left to do. Where the password was not shown lately, a form that asks for it.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn end(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Path(id): Path<String>,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [current] = fields.take(["current_password"])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(links::LOGIN, [])) };
    let id: Uuid = id.parse().map_err(|_| Problem::of(StatusCode::NOT_FOUND))?;
    let renewed = match proved(&state, &visitor, &signed_in, &current, Ending::One(id)).await? {
        Ok(renewed) => renewed,
        Err(asked) => return Ok(asked),
    };
    session::end(&state.accounts, signed_in.user.id, id).await?;
    state.sessions.forget(id);
    Ok(see_other(links::ACCOUNT_SESSIONS, renewed.into_iter().chain([Notice::SessionEnded.cookie(state.https)?])))
}

/// POST /account/sessions/end-others: 303 back. Where the password was not shown lately, a form that asks for it.
///
/// # Errors
/// As [`end`].
pub async fn end_others(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [current] = fields.take(["current_password"])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(links::LOGIN, [])) };
    let renewed = match proved(&state, &visitor, &signed_in, &current, Ending::Others).await? {
        Ok(renewed) => renewed,
        Err(asked) => return Ok(asked),
    };
    let ended = session::end_others(&state.accounts, signed_in.user.id, signed_in.session).await?;
    state.sessions.forget_all(&ended);
    Ok(see_other(links::ACCOUNT_SESSIONS, renewed.into_iter().chain([Notice::SessionsEnded.cookie(state.https)?])))
}
