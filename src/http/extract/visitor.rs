//! Who calls, from where and in which language, as far as the request tells.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_LANGUAGE, USER_AGENT};
use axum::http::request::Parts;

use crate::account::credentials::token::{Token, TokenHash};
use crate::account::session::{Browser, SignedIn};
use crate::event::{MAX_USER_AGENT_CHARS, Origin};
use crate::http::accept;
use crate::http::cookies::Cookie;
use crate::http::middleware::client_ip::Client;
use crate::http::notice::Notice;
use crate::http::problem::Problem;
use crate::http::redirect::Target;
use crate::http::state::AppState;
use crate::links;
use crate::locale::Locale;

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
    /// The cookie of the browser that asked for a new password, likewise.
    pub reset: Option<TokenHash>,
    /// The device cookie, if there is one.
    pub device: Option<String>,
    /// What was just done, to be said.
    pub notice: Option<Notice>,
    /// The language that was chosen in this browser, if one was.
    pub chosen_locale: Option<Locale>,
    /// That, or what the browser asks for.
    pub locale: Locale,
    /// Where the caller is: the path with its query, or without it for a request that may change something.
    pub here: Target,
}

impl FromRequestParts<Arc<AppState>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Problem> {
        let client = Client::from_request_parts(parts, state).await?;
        let headers = &parts.headers;
        let token = |cookie: Cookie| cookie.read(headers, state.https).and_then(Token::parse).map(|token| token.hash());
        let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
        let agent = String::from_utf8_lossy(agent.unwrap_or_default());
        let agent = agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT_CHARS);
        let chosen_locale = accept::chosen_locale(headers);
        Ok(Visitor {
            client,
            is_local: client.is_local(parts.version, headers),
            origin: Origin { ip: client.ip, user_agent: agent.collect() },
            session: token(state.sign_on.cookie()),
            registration: token(Cookie::Registration),
            reset: token(Cookie::Reset),
            device: Cookie::Device.read(headers, state.https).map(str::to_owned),
            notice: Notice::read(headers, state.https),
            chosen_locale,
            locale: chosen_locale.unwrap_or_else(|| accept::locale(headers.get(ACCEPT_LANGUAGE))),
            here: Target::here(&parts.method, &parts.uri),
        })
    }
}

impl Visitor {
    /// The way to sign in and back here.
    #[must_use]
    pub fn login(&self) -> String {
        self.here.after(links::LOGIN)
    }

    /// The browser for which a session is to begin.
    #[must_use]
    pub fn browser(&self, keep: bool) -> Browser {
        let (origin, device) = (self.origin.clone(), self.device.clone());
        Browser { origin, replaces: self.session, device, keep }
    }

    /// The language of what is written for the visitor: that which was chosen in this browser, or else that of the account that is
    /// signed in.
    #[must_use]
    pub fn reads(&self, signed_in: Option<&SignedIn>) -> Locale {
        let own = signed_in.and_then(|signed_in| Locale::from_tag(&signed_in.user.locale));
        self.chosen_locale.or(own).unwrap_or(self.locale)
    }

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
