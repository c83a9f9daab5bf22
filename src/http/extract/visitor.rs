//! Who calls, from where and in which language, as far as the request tells.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, USER_AGENT};
use axum::http::request::Parts;

use crate::account::credentials::token::{Token, TokenHash};
use crate::account::session::SignedIn;
use crate::event::Origin;
use crate::http::accept;
use crate::http::cookies::Cookie;
use crate::http::middleware::client_ip::Client;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::locale::Locale;

/// Characters of a `User-Agent` that are kept.
const MAX_USER_AGENT_CHARS: usize = 512;

/// The caller of a request, as an extractor.
#[derive(Debug)]
pub struct Visitor {
    /// The caller's address and network.
    pub client: Client,
    /// Whether the person sits at this machine.
    pub is_local: bool,
    /// The caller's address with the program, for events.
    pub origin: Origin,
    /// The session cookie, if it is of our form.
    pub session: Option<TokenHash>,
    /// The cookie of the browser that registered, likewise.
    pub registration: Option<TokenHash>,
    /// What the browser asks for.
    pub locale: Locale,
}

impl FromRequestParts<Arc<AppState>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Problem> {
        let client = Client::from_request_parts(parts, state).await?;
        let headers = &parts.headers;
        let token = |cookie: Cookie| cookie.read(headers, state.https).and_then(Token::parse).map(|token| token.hash());
        let agent = headers.get(USER_AGENT).and_then(|agent| std::str::from_utf8(agent.as_bytes()).ok());
        let agent = agent.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT_CHARS);
        Ok(Visitor {
            client,
            is_local: client.is_local(headers),
            origin: Origin { ip: client.ip, user_agent: agent.collect() },
            session: token(Cookie::Session),
            registration: token(Cookie::Registration),
            locale: accept::locale(headers.get(ACCEPT_LANGUAGE)),
        })
    }
}

impl Visitor {
    /// Who is signed in, if anybody is.
    ///
    /// # Errors
    /// When it cannot be found out: that is not the same as nobody.
    pub async fn signed_in(&self, state: &AppState) -> Result<Option<SignedIn>, Problem> {
        match self.session {
            Some(token) => Ok(state.sessions.find(&state.accounts, token).await?),
            None => Ok(None),
        }
    }
}
