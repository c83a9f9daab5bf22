//! What can go wrong in an SMTP conversation.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// What can go wrong in one phase.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// No usable reply: network, TLS, time limit, not SMTP, in our own words. The connection cannot be used any more.
    Lost(String),
    /// A reply with an error code, and the server's words.
    Refused { code: u16, text: String },
    /// The caller withdrew the mail.
    Withdrawn,
}

/// Where in the conversation it failed, which decides what that means for the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Up to and including AUTH: independent of this mail.
    Connection,
    From,
    Recipient,
    Message,
}

/// Waits for one phase, at most `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    phase: &str,
    talk: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(limit, talk).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Failure::Lost(text))) => Err(Failure::Lost(format!("{phase}: {text}"))),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::Lost(format!("{phase}: no answer within {limit:?}"))),
    }
}

/// 421 announces that the server hangs up (RFC 5321 section 3.8).
pub(super) fn ends_the_connection(failure: &Failure) -> bool {
    matches!(failure, Failure::Lost(_) | Failure::Refused { code: 421, .. })
}

pub(super) fn is_transport_failure(phase: Phase, failure: &Failure) -> bool {
    phase == Phase::Connection || ends_the_connection(failure)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Lost("the server closed the connection".to_owned()),
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<lettre::transport::smtp::Error> for Failure {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        match error.status() {
            Some(code) => {
                let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                // what stands for the text of a reply that has none
                let text = text.trim_matches(['-', ' ']).to_owned();
                Self::Refused { code: code.into(), text }
            }
            // lettre's words for it would repeat the server's
            None if error.is_response() => Self::Lost("the answer is no whole SMTP reply".to_owned()),
            None => Self::Lost(error.to_string()),
        }
    }
}
