//! The catalogue: everything that can happen, its routing key and its payload.
//!
//! Events are public: other services bind queues of their own. They carry ids and facts, never an address, a password, a
//! token or a link; whoever needs more reads the row. The envelope is `CloudEvents` 1.0 JSON. What is added later must
//! be optional; anything else is a new version under the same type. docs/asyncapi.json describes them to others, made by
//! [`asyncapi()`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::messaging::outbox::Happening;

mod asyncapi;

pub use asyncapi::asyncapi;

/// The version of every payload so far, at the end of `dataschema`.
const VERSION: u32 = 1;

/// Every type there is, as [`Happening::kind`] calls it.
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
        /// What the mail server or the network said.
        reason: String,
    },
    /// A mail server refused a mail for good.
    #[serde(rename = "mail.rejected")]
    MailRejected {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
        /// What the mail server said.
        reason: String,
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
    /// The word in the event and in the log.
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

impl Happening for Event {
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
        // maps with string keys, strings and numbers: there is nothing in it that JSON could not say
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

/// A received event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The event's id, the same in every copy.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Why a body is no event of ours. It will be none the next time either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(String);

/// Reads an event. Fields that this program does not know are ignored; a type or version that it does not know is an
/// error, and so is a body that lies about its id.
///
/// # Errors
/// In one line, why it cannot be read. Nothing of the body is repeated in it.
pub fn decode(id: Uuid, body: &[u8]) -> Result<Received, Undecodable> {
    #[derive(Deserialize)]
    struct Head {
        specversion: String,
        #[serde(rename = "type")]
        kind: String,
        dataschema: String,
    }
    let wrong = |error: serde_json::Error| {
        // serde repeats unknown words of the body in its message
        Undecodable(format!("not an event: wrong JSON at line {} column {}", error.line(), error.column()))
    };
    let head: Head = serde_json::from_slice(body).map_err(wrong)?;
    if head.specversion != "1.0" {
        return Err(Undecodable("not CloudEvents 1.0".into()));
    }
    // told apart from what is broken: a newer program sent it, and reads it
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    pub(super) fn every() -> Vec<Event> {
        let (user, registration, session) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let origin = Origin { ip: "192.0.2.7".parse().unwrap(), user_agent: "Reader/1".into() };
        let mail =
            MailFact { registration, template: "confirmation".into(), message_id: "<1.confirmation@a.example>".into() };
        vec![
            Event::UserRegistered { registration, origin: origin.clone() },
            Event::UserConfirmed { user, registration, origin: origin.clone() },
            Event::LoginSucceeded { user, session, origin: origin.clone() },
            Event::LoginFailed { user: None, attempted: "ab".into(), reason: Refusal::UnknownAddress, origin },
            Event::SessionRevoked { user, session },
            Event::MailSent { mail: mail.clone() },
            Event::MailDelayed { mail: mail.clone(), reason: "451 later".into() },
            Event::MailRejected { mail, reason: "550 no".into() },
        ]
    }

    #[test]
    fn what_is_written_down_can_be_read_again() {
        let clock = Clock::default();
        for event in every() {
            let (id, at) = (clock.new_id(), clock.now());
            let body = event.body(id, at);
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(json["type"], event.kind(), "{body}");
            assert_eq!(decode(id, body.as_bytes()), Ok(Received { id, at, event }), "{body}");
        }
    }

    #[test]
    fn every_type_is_listed() {
        let kinds: Vec<&str> = every().iter().map(Event::kind).collect();
        assert_eq!(kinds, TYPES);
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_types_and_versions_are_not() {
        let clock = Clock::default();
        let (id, at) = (clock.new_id(), clock.now());
        let body = every().remove(0).body(id, at);
        let more = body.replacen('{', r#"{"tenant":"a","#, 1).replace(r#""data":{"#, r#""data":{"colour":"red","#);
        assert!(decode(id, more.as_bytes()).is_ok(), "{more}");
        for (wrong, reason) in [
            (body.replace(":1\"", ":2\""), "a version of its type that this program does not know"),
            (body.replace("user.registered", "user.canary"), "a type that this program does not know"),
            (body.replace("\"1.0\"", "\"2.0\""), "not CloudEvents 1.0"),
            (body.replace("registration", "canary-word"), "not an event"),
            (body[..body.len() - 1].to_owned(), "not an event"),
            (String::new(), "not an event"),
            ("[]".to_owned(), "not an event"),
        ] {
            let error = decode(id, wrong.as_bytes()).expect_err(&wrong).to_string();
            assert!(error.starts_with(reason) && !error.contains("canary"), "{error}");
        }
        assert!(decode(clock.new_id(), body.as_bytes()).is_err(), "another id");
    }
}
