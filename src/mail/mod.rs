//! Mails: building and sending them. Knows addresses and texts, never an account.
//!
//! * `message`: from a [`Mail`] to bytes that nobody's name can break out of
//! * `smtp`: sending to a mail server over a few connections; `domain_limiter`: none of the domains takes up all
//! * `mailbox`: keeping mails in a folder while there is no mail server
//! * `transport`: one or the other
//!
//! Sending is at least once: a mail whose last reply is lost is sent again under the same Message-ID, which
//! mailboxes fold.

mod domain_limiter;
mod health;
mod mailbox;
mod message;
mod outcome;
mod smtp;
mod transport;

pub use self::health::Health;
pub use self::mailbox::{Mailbox, StoredMail};
pub use self::message::{Built, Mail, MailError, Sender, build};
pub use self::outcome::{Class, EnhancedCode, Handover, Receipt, SendError, Trouble};
pub use self::smtp::{Login, Smtp, SmtpLimits, SmtpSettings, Tls, UrlError, read_authorities};
pub use self::transport::Transport;
