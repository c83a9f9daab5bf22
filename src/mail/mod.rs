//! Mails: building them, and the ways they leave. Knows addresses and texts, never an account.

mod message;

pub use message::{Built, Mail, MailError, Sender, build};
