//! How an event becomes a message's body and is decoded again: `CloudEvents` 1.0 in JSON.

use chrono::{Datelike as _, SubsecRound as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::bounds::{SMTP_CODES, YEARS};
use super::catalogue::{Event, TYPES};
use crate::clock::Timestamp;
use crate::messaging::message::MAX_BODY_BYTES;
use crate::messaging::outbox::OutboxEvent;

/// The version of every payload so far, at the end of `dataschema`.
pub(super) const VERSION: u32 = 1;

/// What every envelope says of itself.
const SPECVERSION: &str = "1.0";
pub(super) const SOURCE: &str = "bellhop";
pub(super) const CONTENT_TYPE: &str = "application/json";

impl OutboxEvent for Event {
    fn kind(&self) -> &'static str {
        match self {
            Event::UserRegistered { .. } => "user.registered",
            Event::UserConfirmed { .. } => "user.confirmed",
            Event::LoginSucceeded { .. } => "login.succeeded",
            Event::LoginNewDevice { .. } => "login.new_device",
            Event::LoginAfterFailures { .. } => "login.after_failures",
            Event::LoginFailed { .. } => "login.failed",
            Event::SessionRevoked { .. } => "session.revoked",
            Event::MailSent { .. } => "mail.sent",
            Event::MailDelayed { .. } => "mail.delayed",
            Event::MailRejected { .. } => "mail.rejected",
            Event::PasswordResetRequested { .. } => "password.reset_requested",
            Event::PasswordChanged { .. } => "password.changed",
            Event::UserUpdated { .. } => "user.updated",
            Event::ConfirmationRequested { .. } => "confirmation.requested",
            Event::SessionBegun { .. } => "session.begun",
            Event::MailKeptBack { .. } => "mail.kept_back",
            Event::UserReminderDue { .. } => "user.reminder_due",
            Event::UserDeletionScheduled { .. } => "user.deletion_scheduled",
            Event::UserDeletionDue { .. } => "user.deletion_due",
            Event::UserRestored { .. } => "user.restored",
            Event::UserDeleted { .. } => "user.deleted",
            Event::EmailChangeRequested { .. } => "email.change_requested",
            Event::EmailChanged { .. } => "email.changed",
        }
    }

    fn body(&self, id: Uuid, at: Timestamp) -> String {
        let mut event = self.clone();
        // whoever makes an event cuts its texts; one that did not must not become a dead letter
        event.texts().into_iter().for_each(|(bound, text)| bound.fit(text));
        let envelope = Envelope {
            specversion: SPECVERSION.into(),
            id,
            source: SOURCE.into(),
            subject: self.subject(),
            time: at,
            datacontenttype: CONTENT_TYPE.into(),
            dataschema: format!("urn:bellhop:{}:{VERSION}", self.kind()),
            event,
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

impl Envelope {
    /// Holds an event that anybody may have written to what its document says.
    fn check(&mut self) -> Result<(), String> {
        if self.source != SOURCE {
            return Err(format!("source is not {SOURCE}"));
        }
        if self.datacontenttype != CONTENT_TYPE {
            return Err(format!("datacontenttype is not {CONTENT_TYPE}"));
        }
        if !YEARS.contains(&self.time.year()) {
            return Err(format!("time is not between {} and {}", YEARS.start(), YEARS.end()));
        }
        if self.event.smtp_code().is_some_and(|code| !SMTP_CODES.contains(&code)) {
            return Err(format!("smtp_code is not between {} and {}", SMTP_CODES.start(), SMTP_CODES.end()));
        }
        self.event.texts().into_iter().try_for_each(|(bound, text)| bound.check(text))
    }
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

/// Decodes an event. Unknown fields are ignored; an unknown type or version is an error, and so are a body with another id
/// than its message and a field that holds more than it can.
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
    if body.len() > MAX_BODY_BYTES {
        return Err(Undecodable(format!("not an event: larger than {MAX_BODY_BYTES} bytes")));
    }
    let head: Head = serde_json::from_slice(body).map_err(wrong)?;
    if head.specversion != SPECVERSION {
        return Err(Undecodable("not CloudEvents 1.0".into()));
    }
    // before the whole is decoded: an event of a newer program is not malformed
    if !TYPES.contains(&head.kind.as_str()) {
        return Err(Undecodable("a type that this program does not know".into()));
    }
    if head.dataschema != format!("urn:bellhop:{}:{VERSION}", head.kind) {
        return Err(Undecodable("a version of its type that this program does not know".into()));
    }
    let mut envelope: Envelope = serde_json::from_slice(body).map_err(wrong)?;
    if envelope.id != id {
        return Err(Undecodable("the message's id is not the event's".into()));
    }
    envelope.check().map_err(|what| Undecodable(format!("not an event: {what}")))?;
    // databases keep microseconds
    Ok(Received { id, at: envelope.time.trunc_subsecs(6), event: envelope.event })
}
