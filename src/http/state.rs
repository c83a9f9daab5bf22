//! What every handler needs.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use url::Url;

use crate::account::Accounts;
use crate::account::credentials::token::{Token, TokenHash};
use crate::account::reset::REQUEST_LIFETIME;
use crate::account::session::NewSession;
use crate::account::session::cache::SessionCache;
use crate::http::cookies::Cookie;
use crate::http::live::LivePages;
use crate::http::rate_limit::RateLimits;
use crate::http::readiness::Readiness;
use crate::http::sign_on::SignOn;
use crate::mail::{Mailbox, Transport};
use crate::messaging::operator::Operator;

/// How long browsers keep it: they allow no more.
const DEVICE_LIFETIME: Duration = Duration::from_hours(400 * 24);

/// What the handlers share, behind an `Arc`.
#[derive(Debug)]
pub struct AppState {
    /// The use cases' needs.
    pub accounts: Accounts,
    /// The sessions that this node remembers.
    pub sessions: Arc<SessionCache>,
    /// How mails leave: the local mailbox has pages.
    pub mail: Arc<Transport>,
    /// Whether people on this machine may read the local mailbox.
    pub shows_mailbox: bool,
    /// Whether we can take requests.
    pub readiness: Arc<Readiness>,
    /// Whether browsers reach us by https.
    pub https: bool,
    /// Who shares the sign-in.
    pub sign_on: SignOn,
    /// Whom to tell of a weakness.
    pub security_contact: Option<Url>,
    /// How often a network may ask.
    pub rate_limits: RateLimits,
    /// The pages that stay open and are told.
    pub live: Arc<LivePages>,
    /// What administrators see and do.
    pub operator: Operator,
}

impl AppState {
    /// The local mailbox, while mails go there and it may be read.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mail.mailbox().filter(|_| self.shows_mailbox)
    }

    /// Whether mails leave this machine.
    #[must_use]
    pub fn has_mail_server(&self) -> bool {
        self.mail.mailbox().is_none()
    }

    /// The cookie of a session that has just begun in the place of another; this node forgets the replaced one at once.
    ///
    /// # Errors
    /// Never for a token of ours.
    pub fn session_cookie(&self, new: &NewSession, replaced: Option<TokenHash>) -> anyhow::Result<HeaderValue> {
        if let Some(replaced) = replaced {
            self.sessions.forget_token(replaced);
        }
        let token = new.token.reveal();
        self.sign_on.set(&token, new.kept.then_some(self.accounts.lifetimes.session))
    }

    /// The cookie of a browser that has just signed in for the first time.
    ///
    /// # Errors
    /// Never for one of ours.
    pub fn device_cookie(&self, device: &str) -> anyhow::Result<HeaderValue> {
        Cookie::Device.set(device, DEVICE_LIFETIME, self.https)
    }

    /// The cookie of a browser that has just asked for a new password.
    ///
    /// # Errors
    /// Never for a token of ours.
    pub fn reset_cookie(&self, token: &Token) -> anyhow::Result<HeaderValue> {
        Cookie::Reset.set(&token.reveal(), REQUEST_LIFETIME, self.https)
    }

    /// The cookie of a browser that has just registered.
    ///
    /// # Errors
    /// Never for a token of ours.
    pub fn registration_cookie(&self, token: &Token) -> anyhow::Result<HeaderValue> {
        Cookie::Registration.set(&token.reveal(), self.accounts.lifetimes.purge_after, self.https)
    }
}
