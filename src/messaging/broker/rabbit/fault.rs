//! Why something was not done on the broker, and the limit on every wait for it.

use std::time::Duration;

use lapin::ErrorKind;
use tokio::time::timeout;

/// For any single question to the broker; a confirm may take `publisher::CONFIRM_TIMEOUT`.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0} took too long")]
    TimedOut(&'static str),
    #[error(transparent)]
    Broker(#[from] lapin::Error),
    #[error("longer than AMQP allows: {0:?}")]
    TooLong(String),
    #[error("{0}")]
    Ended(String),
}

impl Fault {
    /// AMQP's reply code, if the broker gave one (0-9-1, section 1.2).
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Broker(error) => match error.kind() {
                ErrorKind::ProtocolError(error) => Some(error.get_id()),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the broker wrote, if it did.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Broker(error) => match error.kind() {
                ErrorKind::ProtocolError(error) => Some(error.get_message().to_string()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Wrong credentials (403), no such virtual host (530).
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(403 | 530))
    }
}

/// Waits for lapin, but not longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    what: &'static str,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match timeout(limit, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::TimedOut(what)),
    }
}
