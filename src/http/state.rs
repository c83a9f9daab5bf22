//! What every handler needs, and who is asking.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{ACCEPT_LANGUAGE, SET_COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use url::Url;

use crate::account::Accounts;
use crate::account::credentials::token::Token;
use crate::account::credentials::token::TokenHash;
use crate::account::register::REGISTRATION_LIFETIME;
use crate::account::session::cache::SessionCache;
use crate::account::session::{ABSOLUTE_LIFETIME, SignedIn};
use crate::event::Origin;
use crate::http::cookies::Cookie;
use crate::http::health::Readiness;
use crate::http::middleware::client_ip::Client;
use crate::http::new_registration::Raters;
use crate::http::pages::view::Page;
use crate::http::problem::Problem;
use crate::http::rate_limit::Limiter;
use crate::locale::Locale;
use crate::mail::{Mailbox, Transport};
use crate::messaging::operator::Operator;
use crate::telemetry;

/// Characters of a `User-Agent` that are kept.
const AGENT: usize = 512;

/// What the handlers share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Web(Arc<Inner>);

/// The parts of [`Web`].
#[derive(Debug)]
pub struct Inner {
    /// The use cases' needs.
    pub accounts: Accounts,
    /// The sessions that this node remembers.
    pub sessions: Arc<SessionCache>,
    /// How mails leave: the local mailbox has pages.
    pub mail: Arc<Transport>,
    /// Whether we can take requests.
    pub readiness: Readiness,
    /// The base of links.
    pub public_url: Url,
    /// How often a network may ask.
    pub limits: Limits,
    /// Rating a new password is work for a processor.
    pub raters: Raters,
    /// What administrators see and do.
    pub operator: Operator,
    /// Where requests that change something run to their end.
    pub tasks: TaskTracker,
}

/// How often a network may ask for what is dear or can be guessed at.
#[derive(Debug)]
pub struct Limits {
    /// Registrations.
    pub register: Limiter,
    /// Logins.
    pub login: Limiter,
    /// Confirmations.
    pub confirm: Limiter,
}

impl Limits {
    /// One a second with some to spare, or none at all.
    #[must_use]
    pub fn new(on: bool) -> Self {
        let limiter = || if on { Limiter::new(60, 60) } else { Limiter::off() };
        Limits { register: limiter(), login: limiter(), confirm: limiter() }
    }
}

impl std::ops::Deref for Web {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Web {
    /// Shares the parts.
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Web(Arc::new(inner))
    }

    /// Whether browsers reach us by https.
    #[must_use]
    pub fn https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// The local mailbox, while mails go there.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match &*self.mail {
            Transport::Mailbox(mailbox) => Some(mailbox),
            Transport::Smtp(_) => None,
        }
    }

    /// The cookie of a session that has just begun.
    ///
    /// # Errors
    /// Never for a token of ours.
    pub fn session_cookie(&self, token: &Token) -> anyhow::Result<HeaderValue> {
        Cookie::Session.set(&token.reveal(), ABSOLUTE_LIFETIME, self.https())
    }

    /// The cookie of a browser that has just registered.
    ///
    /// # Errors
    /// Never for a token of ours.
    pub fn registration_cookie(&self, token: &Token) -> anyhow::Result<HeaderValue> {
        Cookie::Registration.set(&token.reveal(), REGISTRATION_LIFETIME, self.https())
    }
}

/// Who is asking, from where and in which language, as far as the request tells. An extractor.
#[derive(Debug)]
pub struct Visitor {
    /// The caller's address and network.
    pub client: Client,
    /// Whether the person sits at this machine.
    pub here: bool,
    /// The caller's address with the program, for events.
    pub origin: Origin,
    /// The session cookie, if it is of our form.
    pub session: Option<TokenHash>,
    /// The cookie of the browser that registered, likewise.
    pub registration: Option<TokenHash>,
    /// What the browser asks for.
    pub locale: Locale,
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let client = Client::from_request_parts(parts, web).await?;
        let header =
            |name| parts.headers.get(name).and_then(|value: &HeaderValue| std::str::from_utf8(value.as_bytes()).ok());
        let token =
            |cookie: Cookie| cookie.read(&parts.headers, web.https()).and_then(Token::parse).map(|token| token.hash());
        let agent = header(USER_AGENT).unwrap_or_default().chars().filter(|c| !c.is_control()).take(AGENT);
        Ok(Visitor {
            client,
            here: client.is_here(&parts.headers),
            origin: Origin { ip: client.ip, user_agent: agent.collect() },
            session: token(Cookie::Session),
            registration: token(Cookie::Registration),
            locale: Locale::negotiate(header(ACCEPT_LANGUAGE)),
        })
    }
}

impl Visitor {
    /// Who is signed in, if anybody is.
    ///
    /// # Errors
    /// When it cannot be found out: that is not the same as nobody.
    pub async fn signed_in(&self, web: &Web) -> Result<Option<SignedIn>, Problem> {
        match self.session {
            Some(token) => Ok(web.sessions.find(&web.accounts, token).await?),
            None => Ok(None),
        }
    }

    /// The frame of a page, for whoever is signed in.
    #[must_use]
    pub fn page(&self, web: &Web, path: &'static str, signed_in: Option<&SignedIn>) -> Page {
        let own = signed_in.and_then(|signed_in| Locale::from_tag(&signed_in.user.locale));
        Page {
            signed_in: signed_in.map(|signed_in| signed_in.user.name.clone()),
            demo_mailbox: web.mailbox().is_some() && self.here,
            ..Page::new(own.unwrap_or(self.locale), path)
        }
    }
}

/// A page with its status.
///
/// # Errors
/// When the template fails to format, which is a 500.
pub fn html(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    Ok((status, Html(page.render()?)).into_response())
}

/// "See other", with cookies.
#[must_use]
pub fn see_other(to: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    with_cookies(Redirect::to(to).into_response(), cookies)
}

/// Adds cookies to an answer.
#[must_use]
pub fn with_cookies(mut response: Response, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The value of a query parameter, or none if it is missing or comes twice.
#[must_use]
pub fn query(query: Option<&str>, name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(key, _)| key == name);
    let (value, None) = (values.next()?.1, values.next()) else { return None };
    Some(value.into_owned())
}

/// The layer that lets a request which may change something run to its end, even when the caller goes away: a dropped
/// request must not cancel a use case between two of its steps. It also names the trace that events carry on.
pub async fn detach(State(web): State<Web>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let trace = trace_of(request.headers());
    let run = telemetry::traced(trace, next.run(request)).in_current_span();
    match web.tasks.spawn(run).await {
        Ok(response) => response,
        // the layer that catches panics is further out
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Problem::unavailable(Duration::from_secs(1)).into_response(),
    }
}

fn trace_of(headers: &HeaderMap) -> String {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
    given.and_then(telemetry::traceparent).unwrap_or_else(telemetry::new_traceparent)
}
