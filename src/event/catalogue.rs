//! Every event with its routing key, its payload and its `CloudEvents` envelope.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::messaging::outbox::OutboxEvent;

/// The version of every payload so far, at the end of `dataschema`.
pub(super) const VERSION: u32 = 1;

/// Every type, as [`OutboxEvent::kind`] returns it.
pub const TYPES: [&str; 8] = [
    "user.registered",
    "user.confirmed",
    "login.succeeded",
    "login.failed",
    "session.revoked",
    "mail.sent",
    "mail.delayed",
    "mail.rejected",
];

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Somebody asked for an account; nobody has looked yet whether the address is taken.
    #[serde(rename = "user.registered")]
    UserRegistered {
        /// The pending registration.
        registration: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A registration became a user.
    #[serde(rename = "user.confirmed")]
    UserConfirmed {
        /// The new user.
        user: Uuid,
        /// What it was before.
        registration: Uuid,
        /// The session that began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<Uuid>,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// Somebody signed in.
    #[serde(rename = "login.succeeded")]
    LoginSucceeded {
        /// Who.
        user: Uuid,
        /// The session that began.
        session: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// Somebody tried to sign in and was refused.
    #[serde(rename = "login.failed")]
    LoginFailed {
        /// Whose address was tried, if anybody's.
        user: Option<Uuid>,
        /// A keyed hash of the address that was tried, hexadecimal.
        attempted: String,
        /// Why.
        reason: Refusal,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A session ended before its time; every node forgets it.
    #[serde(rename = "session.revoked")]
    SessionRevoked {
        /// Whose.
        user: Uuid,
        /// Which.
        session: Uuid,
    },
    /// A mail server took a mail.
    #[serde(rename = "mail.sent")]
    MailSent {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
    },
    /// A mail could not be handed over yet; it is tried again.
    #[serde(rename = "mail.delayed")]
    MailDelayed {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
        /// Why, in Bellhop's words: a mail server's may repeat the address or the link.
        reason: String,
        /// What the mail server answered.
        #[serde(flatten)]
        refusal: MailRefusal,
    },
    /// A mail server refused the recipient for good.
    #[serde(rename = "mail.rejected")]
    MailRejected {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
        /// Why, in Bellhop's words: a mail server's may repeat the address or the link.
        reason: String,
        /// What the mail server answered.
        #[serde(flatten)]
        refusal: MailRefusal,
    },
}

/// From where a request came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// The client's address as far as trusted proxies tell.
    #[schema(value_type = String)]
    pub ip: IpAddr,
    /// At most 512 characters, without control characters; empty if there was none.
    pub user_agent: String,
}

/// Why a login was refused. The person is told none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Nobody has this address.
    UnknownAddress,
    /// A registration waits, nobody has confirmed it.
    Unconfirmed,
    /// The password is another.
    WrongPassword,
    /// The account is switched off.
    Disabled,
    /// What was typed can be no password.
    Malformed,
}

impl Refusal {
    /// As it stands in the event and in the login log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::UnknownAddress => "unknown_address",
            Refusal::Unconfirmed => "unconfirmed",
            Refusal::WrongPassword => "wrong_password",
            Refusal::Disabled => "disabled",
            Refusal::Malformed => "malformed",
        }
    }
}

/// Which mail to which registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailFact {
    /// For whom.
    pub registration: Uuid,
    /// The template: `confirmation`, `already_registered`.
    pub template: String,
    /// The same for every copy.
    pub message_id: String,
}

/// What a mail server answered, without its words. Events of older programs have none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailRefusal {
    /// What it is about: `recipient`, `sender`, `login`, `policy`, `quota`, `message`, `protocol`, `server`, `busy`,
    /// `unreachable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The reply code (RFC 5321), if there was a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp_code: Option<u16>,
    /// The enhanced status code (RFC 3463), if the reply had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced_code: Option<String>,
}

impl Event {
    /// What the event is about: a user, a registration, or nobody in particular.
    #[must_use]
    pub fn subject(&self) -> Option<Uuid> {
        match self {
            Event::UserRegistered { registration, .. } => Some(*registration),
            Event::UserConfirmed { user, .. }
            | Event::LoginSucceeded { user, .. }
            | Event::SessionRevoked { user, .. } => Some(*user),
            Event::LoginFailed { user, .. } => *user,
            Event::MailSent { mail } | Event::MailDelayed { mail, .. } | Event::MailRejected { mail, .. } => {
                Some(mail.registration)
            }
        }
    }
}

impl OutboxEvent for Event {
    fn kind(&self) -> &'static str {
        match self {
            Event::UserRegistered { .. } => "user.registered",
            Event::UserConfirmed { .. } => "user.confirmed",
            Event::LoginSucceeded { .. } => "login.succeeded",
            Event::LoginFailed { .. } => "login.failed",
            Event::SessionRevoked { .. } => "session.revoked",
            Event::MailSent { .. } => "mail.sent",
            Event::MailDelayed { .. } => "mail.delayed",
            Event::MailRejected { .. } => "mail.rejected",
        }
    }

    fn body(&self, id: Uuid, at: Timestamp) -> String {
        let envelope = Envelope {
            specversion: "1.0".into(),
            id,
            source: "bellhop".into(),
            subject: self.subject(),
            time: at,
            datacontenttype: "application/json".into(),
            dataschema: format!("urn:bellhop:{}:{VERSION}", self.kind()),
            event: self.clone(),
        };
        // cannot fail: maps with string keys, strings and numbers
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    specversion: String,
    id: Uuid,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Uuid>,
    time: Timestamp,
    datacontenttype: String,
    dataschema: String,
    #[serde(flatten)]
    event: Event,
}

/// A decoded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The event's id, the same in every copy.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Why a body is not an event of ours. Redelivering it cannot help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(String);

/// Decodes an event. Unknown fields are ignored; an unknown type or version is an error, and so is a body with another id
/// than its message.
///
/// # Errors
/// One line that repeats nothing of the body.
pub fn decode(id: Uuid, body: &[u8]) -> Result<Received, Undecodable> {
    #[derive(Deserialize)]
    struct Head {
        specversion: String,
        #[serde(rename = "type")]
        kind: String,
        dataschema: String,
    }
    let wrong = |error: serde_json::Error| {
        // serde's message would repeat words of the body
        Undecodable(format!("not an event: wrong JSON at line {} column {}", error.line(), error.column()))
    };
    let head: Head = serde_json::from_slice(body).map_err(wrong)?;
    if head.specversion != "1.0" {
        return Err(Undecodable("not CloudEvents 1.0".into()));
    }
    // before the whole is decoded: an event of a newer program is not malformed
    if !TYPES.contains(&head.kind.as_str()) {
        return Err(Undecodable("a type that this program does not know".into()));
    }
    if head.dataschema != format!("urn:bellhop:{}:{VERSION}", head.kind) {
        return Err(Undecodable("a version of its type that this program does not know".into()));
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(wrong)?;
    if envelope.id != id {
        return Err(Undecodable("the message's id is not the event's".into()));
    }
    Ok(Received { id, at: envelope.time, event: envelope.event })
}
