//! Mails: building them, and the ways they leave. Knows addresses and texts, never an account.
//!
//! * `message`: from a [`Mail`] to bytes that nobody's name can break out of
//! * `smtp`: handing it to a mail server over a few connections; `destinations`: none of them takes up all
//! * `mailbox`: keeping it in a folder while there is no mail server
//!
//! Sending is at least once: a mail whose last answer is lost is sent again under the same Message-ID, which
//! mailboxes fold.

mod destinations;
mod health;
mod mailbox;
mod message;
mod smtp;

pub use health::Health;
pub use mailbox::{Mailbox, Stored};
pub use message::{Built, Mail, MailError, Sender, build};
pub use smtp::{Limits, Login, Smtp, SmtpSettings, Tls, UrlError};

/// Characters of a text from a server that are kept.
const TEXT_LIMIT: usize = 500;

/// Proof that somebody else is responsible for the mail now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What the server said, one line, at most 500 characters.
    pub response: String,
}

/// Why a mail was not handed over. The texts are one line of at most 500 characters and hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Try again later: network, TLS, time limit, a login that is refused, or a 4xx answer. After a lost answer to the
    /// final dot the server may have the mail.
    #[error("{0}")]
    Temporary(String),
    /// It was kept back in the last moment, as was asked for.
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

/// The way out that the settings chose.
pub enum Transport {
    /// A mail server.
    Smtp(Box<Smtp>),
    /// The local mailbox.
    Mailbox(Mailbox),
}

impl Transport {
    /// Hands a mail over, if `may` says so in the last moment in which it can be kept back; safe to drop and to repeat.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(&self, mail: &Mail, may: impl AsyncFn() -> bool) -> Result<Receipt, SendError> {
        match self {
            Self::Smtp(smtp) => smtp.send_if(mail, may).await,
            Self::Mailbox(_) if !may().await => Err(SendError::Withdrawn),
            Self::Mailbox(mailbox) => mailbox.send(mail).await,
        }
    }

    /// Where mails go, for the start-up lines; holds no secret.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Smtp(smtp) => smtp.describe(),
            Self::Mailbox(mailbox) => mailbox.describe(),
        }
    }

    /// How the last attempt went.
    #[must_use]
    pub fn health(&self) -> Health {
        match self {
            Self::Smtp(smtp) => smtp.health(),
            Self::Mailbox(mailbox) => mailbox.health(),
        }
    }

    /// The mailbox whose mails people may read in the browser, if there is one.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Smtp(_) => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Ends resting connections politely; for the end of the program, takes about a second at most for each.
    pub async fn close(&self) {
        if let Self::Smtp(smtp) = self {
            smtp.close().await;
        }
    }
}

/// A stranger's text as one line, at most [`TEXT_LIMIT`] characters, without control characters.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").chars().take(TEXT_LIMIT).collect()
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transport").field(&self.describe()).finish()
    }
}
