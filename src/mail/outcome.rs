//! How sending a mail ends.

use super::message::MailError;
use crate::text;

/// Characters of a server's text that are kept.
const MAX_REPLY_CHARS: usize = 500;

/// The mail is another server's responsibility now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The server's reply, one line, at most 500 characters.
    pub response: String,
}

/// Why a mail was not sent. The texts are one line of at most 500 characters and hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Try again later: network, TLS, time limit, a login that is refused, or a 4xx answer. After a lost answer to the
    /// final dot the server may have the mail.
    #[error("{0}")]
    Temporary(String),
    /// The caller withdrew it at the last moment.
    #[error("kept back: somebody else sends this mail now")]
    Withdrawn,
    /// Trying again does not help.
    #[error("{code} {text}")]
    Permanent {
        /// The 5xx reply code (RFC 5321 section 4.2.3), or 0 if the mail could not be built and never left.
        code: u16,
        /// The server's words without the code.
        text: String,
        /// Whether the address is at fault, so that the person can correct it.
        recipient: bool,
    },
}

impl From<MailError> for SendError {
    fn from(error: MailError) -> Self {
        Self::Permanent { code: 0, text: error.to_string(), recipient: error == MailError::Recipient }
    }
}

/// A server's text as receipts, errors and logs may hold it.
pub(super) fn reply_text(text: &str) -> String {
    text::one_line(text, MAX_REPLY_CHARS)
}
