//! What can go wrong in an SMTP conversation, and whose fault it is.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// What can go wrong in one phase.
#[derive(Debug)]
pub(super) enum Failure {
    /// No usable reply: network, TLS, time limit, not SMTP. The connection cannot be used any more.
    Lost(String),
    /// A reply with an error code.
    Refused { code: u16, text: String },
    /// The caller withdrew the mail.
    Withdrawn,
}

/// Where in the conversation it failed, which decides what that means for the mail.
#[derive(Clone, Copy, PartialEq, Eq)]
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

/// We may not send at all, rather than not this mail: 530, 534, 535, 538 of RFC 4954 section 6. An operator mends that,
/// and then the mail should be sent.
pub(super) fn is_about_our_login(code: u16) -> bool {
    matches!(code, 530 | 534 | 535 | 538)
}

pub(super) fn is_transport_failure(phase: Phase, failure: &Failure) -> bool {
    let login = matches!(failure, Failure::Refused { code, .. } if is_about_our_login(*code));
    phase == Phase::Connection || login || ends_the_connection(failure)
}

/// Whether another address would help. The enhanced code says it best where there is one (RFC 3463): X.1 is the
/// address, X.2 the mailbox, X.7 a policy of the server; without one, a refused RCPT is about its recipient.
pub(super) fn is_about_the_recipient(phase: Phase, text: &str) -> bool {
    let subject = text.strip_prefix("5.").and_then(|rest| rest.split_once('.')).map(|(subject, _)| subject);
    match subject {
        Some("1") => phase != Phase::From,
        Some("2") => true,
        Some("7") => false,
        _ => phase == Phase::Recipient,
    }
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
                Self::Refused { code: code.into(), text }
            }
            None => Self::Lost(error.to_string()),
        }
    }
}
