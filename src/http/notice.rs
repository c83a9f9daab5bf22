//! What was just done, said on the next page: it travels in a cookie, since the page is another request's.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::cookies::Cookie;
use crate::http::state::AppState;
use crate::locale::Text;

/// Longer than the way to the next page takes.
const LIFETIME: Duration = Duration::from_mins(1);

/// Something that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A password was set by a link.
    PasswordReset,
    /// A password was changed.
    PasswordChanged,
    /// The account has another address.
    EmailChanged,
    /// A change of the address that waited was called off.
    EmailWithdrawn,
    /// The account has its former address again.
    EmailUndone,
    /// The deletion of the account was called off.
    Restored,
    /// The name or the language was changed.
    ProfileChanged,
    /// A session was ended.
    SessionEnded,
    /// All other sessions were ended.
    SessionsEnded,
    /// A mail was asked for again.
    MailAskedAgain,
    /// The address of a registration was corrected.
    AddressCorrected,
    /// The address of a registration was confirmed, in another browser.
    Confirmed,
}

impl Notice {
    const ALL: [Self; 12] = [
        Self::PasswordReset,
        Self::PasswordChanged,
        Self::ProfileChanged,
        Self::SessionEnded,
        Self::SessionsEnded,
        Self::MailAskedAgain,
        Self::AddressCorrected,
        Self::Confirmed,
        Self::EmailChanged,
        Self::EmailWithdrawn,
        Self::EmailUndone,
        Self::Restored,
    ];

    /// The cookie's value.
    fn word(self) -> &'static str {
        match self {
            Self::PasswordReset => "password-reset",
            Self::PasswordChanged => "password-changed",
            Self::EmailChanged => "email-changed",
            Self::EmailWithdrawn => "email-withdrawn",
            Self::EmailUndone => "email-undone",
            Self::Restored => "restored",
            Self::ProfileChanged => "profile-changed",
            Self::SessionEnded => "session-ended",
            Self::SessionsEnded => "sessions-ended",
            Self::MailAskedAgain => "mail-asked-again",
            Self::AddressCorrected => "address-corrected",
            Self::Confirmed => "confirmed",
        }
    }

    /// As the page says it.
    #[must_use]
    pub fn text(self, t: Text) -> String {
        match self {
            Self::PasswordReset => t.get("notice-password-reset"),
            Self::PasswordChanged => t.get("notice-password-changed"),
            Self::EmailChanged => t.get("notice-email-changed"),
            Self::EmailWithdrawn => t.get("notice-email-withdrawn"),
            Self::EmailUndone => t.get("notice-email-undone"),
            Self::Restored => t.get("notice-restored"),
            Self::ProfileChanged => t.get("notice-profile-changed"),
            Self::SessionEnded => t.get("notice-session-ended"),
            Self::SessionsEnded => t.get("notice-sessions-ended"),
            Self::MailAskedAgain => t.get("notice-mail-asked-again"),
            Self::AddressCorrected => t.get("notice-address-corrected"),
            Self::Confirmed => t.get("notice-confirmed"),
        }
    }

    /// What the request was sent with.
    #[must_use]
    pub fn read(headers: &HeaderMap, https: bool) -> Option<Self> {
        let value = Cookie::Notice.read(headers, https)?;
        Self::ALL.into_iter().find(|notice| notice.word() == value)
    }

    /// The cookie that brings it to the next page.
    ///
    /// # Errors
    /// Never for a word of ours.
    pub fn cookie(self, https: bool) -> anyhow::Result<HeaderValue> {
        Cookie::Notice.set(self.word(), LIFETIME, https)
    }
}

/// A layer around the pages: what one of them has said is said.
pub async fn forget(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let is_there = Cookie::Notice.is_mentioned(request.headers(), state.https);
    let mut response = next.run(request).await;
    if is_there && !response.status().is_redirection() {
        response.headers_mut().append(SET_COOKIE, Cookie::Notice.delete(state.https));
    }
    response
}
