//! How sending a mail ends.

use std::borrow::Cow;
use std::fmt;

use super::message::MailError;
use crate::text;

/// Characters of a text that are kept.
const MAX_CHARS: usize = 500;

/// How far a mail is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// To the recipient.
    Whole,
    /// To where the mail server has judged the recipient, and no further; the rest takes as long, and ends, as it last
    /// did for a whole one. What is told about a mail that is kept back is then told as about any other.
    KeptBack,
}

/// The mail is another server's responsibility now, or was kept back where it would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The server's reply, one line, at most 500 characters.
    pub response: String,
}

/// What a failure is about, which says who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The recipient's address or mailbox: the person can correct it.
    Recipient,
    /// The sender's address or domain.
    Sender,
    /// Our login: it is missing, wrong or not enough.
    Login,
    /// What the server wants of whoever sends: relaying, names, reputation, content.
    Policy,
    /// How much we may send.
    Quota,
    /// The message: its size or its form.
    Message,
    /// A command that the server does not take.
    Protocol,
    /// The server's own trouble.
    Server,
    /// The server, or we, want it later.
    Busy,
    /// No usable answer: network, TLS, time limit.
    Unreachable,
}

impl Class {
    /// As events and logs have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.texts().0
    }

    /// The word, and a sentence for operators.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Class::Recipient => ("recipient", "the mail server refuses the recipient"),
            Class::Sender => ("sender", "the mail server refuses our sender address"),
            Class::Login => ("login", "the mail server refuses our login, or wants one"),
            Class::Policy => ("policy", "the mail server refuses us by a policy"),
            Class::Quota => ("quota", "the mail server takes no more mails from us"),
            Class::Message => ("message", "the mail server refuses the message"),
            Class::Protocol => ("protocol", "the mail server refuses a command"),
            Class::Server => ("server", "the mail server has trouble of its own"),
            Class::Busy => ("busy", "the mail server wants the mail later"),
            Class::Unreachable => ("unreachable", "the mail server gives no usable answer"),
        }
    }
}

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about: 1 the address, 2 the mailbox, 3 the system, 4 the network, 5 the protocol, 6 the content, 7 a policy.
    pub subject: u16,
    /// What about it.
    pub detail: u16,
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Why a mail was not taken. [`ToString`] gives our own words and the codes, which may stand anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about.
    pub class: Class,
    /// The reply code (RFC 5321 section 4.2.3), if there was a reply.
    pub code: Option<u16>,
    /// The enhanced status code, if the reply had one.
    pub enhanced: Option<EnhancedCode>,
    /// The server's words without addresses, links and tokens, one line, for operators alone; empty if it said nothing.
    pub said: String,
    /// More than the class says, in our own words.
    detail: Option<Cow<'static, str>>,
}

impl Trouble {
    /// A reply that refuses; `said` is fit for operators.
    pub(super) fn refused(class: Class, code: u16, enhanced: Option<EnhancedCode>, said: String) -> Self {
        Self { class, code: Some(code), enhanced, said, detail: None }
    }

    /// Without a reply, in our own words.
    pub(super) fn without_reply(class: Class, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail: Cow<'static, str> = detail.into();
        let detail = Some(Cow::Owned(text::one_line(&detail, MAX_CHARS)));
        Self { class, code: None, enhanced: None, said: String::new(), detail }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail.as_deref().unwrap_or(self.class.texts().1))?;
        match (self.code, self.enhanced) {
            (Some(code), Some(enhanced)) => write!(f, " ({code} {enhanced})"),
            (Some(code), None) => write!(f, " ({code})"),
            (None, _) => Ok(()),
        }
    }
}

/// Why a mail was not sent. The texts are one line in our own words, and hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Try again later: it passes by itself, or an operator mends it. After a lost answer to the final dot the server may
    /// have the mail.
    #[error("{0}")]
    Temporary(Trouble),
    /// The caller withdrew it at the last moment.
    #[error("kept back: somebody else sends this mail now")]
    Withdrawn,
    /// The address is at fault: trying again does not help, and the person can correct it.
    #[error("{0}")]
    Rejected(Trouble),
}

impl From<MailError> for SendError {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Recipient => {
                Self::Rejected(Trouble::without_reply(Class::Recipient, "the recipient is not an ASCII mail address"))
            }
            error => Self::Temporary(Trouble::without_reply(Class::Message, error.to_string())),
        }
    }
}

/// A server's text as receipts and errors may hold it.
pub(super) fn reply_text(text: &str) -> String {
    text::one_line(text, MAX_CHARS)
}
