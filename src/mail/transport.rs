//! The two ways in which mails leave.

use super::health::Health;
use super::mailbox::Mailbox;
use super::message::Mail;
use super::outcome::{Handover, Receipt, SendError};
use super::smtp::Smtp;

/// How mails leave, by the settings.
pub enum Transport {
    /// A mail server.
    Smtp(Box<Smtp>),
    /// The local mailbox.
    Mailbox(Mailbox),
}

impl Transport {
    /// Sends a mail as far as `handover` says, if `may` still holds at the last moment at which it can be withdrawn; safe to
    /// drop and to repeat.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(
        &self,
        mail: &Mail,
        handover: Handover,
        may: impl AsyncFn() -> bool,
    ) -> Result<Receipt, SendError> {
        match self {
            Self::Smtp(smtp) => smtp.send_if(mail, handover, may).await,
            Self::Mailbox(_) if !may().await => Err(SendError::Withdrawn),
            Self::Mailbox(mailbox) => mailbox.send(mail, handover).await,
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

    /// The result of the last attempt.
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

    /// Closes idle connections with QUIT, for the end of the program; about a second at most for each.
    pub async fn close(&self) {
        if let Self::Smtp(smtp) = self {
            smtp.close().await;
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transport").field(&self.describe()).finish()
    }
}
