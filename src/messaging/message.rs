//! A message under way, as it looks on both brokers.

use std::time::Duration;

use uuid::Uuid;

use crate::clock::Timestamp;

/// An event on its way. On RabbitMQ `id` is the AMQP `message_id`, the other fields beside `body` are headers of our own
/// (`attempt`, `first-at`, `reason`, `dead-queue`, `traceparent`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event's id; consumers fold repeats by it.
    pub id: Uuid,
    /// The event's type, which is also the routing key it was first published with (`user.registered`).
    pub kind: String,
    /// `CloudEvents` 1.0 JSON.
    pub body: Vec<u8>,
    /// W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
    /// How often a listener has tried and parked it before: 0 on the first delivery.
    pub attempt: u32,
    /// Set on dead letters, and on what waits for another attempt.
    pub failure: Option<Failure>,
}

impl Message {
    /// How long it has been failing.
    #[must_use]
    pub fn failing_for(&self, now: Timestamp) -> Duration {
        self.failure.as_ref().map_or(Duration::ZERO, |failure| (now - failure.first_at).to_std().unwrap_or_default())
    }
}

/// Characters of a reason that travel; the rest is in the log.
pub(crate) const MAX_REASON_CHARS: usize = 1_000;

/// As a literal, for statements.
macro_rules! max_body_bytes {
    () => {
        65_536
    };
}
pub(super) use max_body_bytes;

/// More than any event has, with room for what newer programs add. Who may publish may publish anything: a larger body is
/// dropped where it arrives and is a dead letter, whatever was in it.
pub const MAX_BODY_BYTES: usize = max_body_bytes!();

/// Why a message whose body was dropped is none of ours.
pub(super) fn too_large(bytes: usize) -> String {
    format!("larger than an event can be: {bytes} bytes, at most {MAX_BODY_BYTES}; the body was dropped unread")
}

/// Why a message waits or is a dead letter, and since when it has been failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The queue it failed in (short name).
    pub queue: String,
    /// The last error, one line, at most 1,000 characters.
    pub reason: String,
    /// When it failed first.
    pub first_at: Timestamp,
    /// When it failed last.
    pub last_at: Timestamp,
}

/// What becomes of a delivery. An `Err` beside it is a failure that may pass: it is tried again at once, and then as
/// [`Outcome::RetryLater`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the message goes.
    Ack,
    /// Never again, for this reason: the message becomes a dead letter.
    Reject(String),
    /// It is not its turn: the message comes back to this queue after about this long. That counts as no failure.
    Snooze(Duration),
    /// It failed, and to try again at once would not help: the message comes back when the retry policy says so, or becomes a
    /// dead letter when it has been failing for too long.
    RetryLater {
        /// Why; it goes with the message.
        reason: String,
        /// What another server said about it, for the log alone; empty if there is nothing.
        said: String,
    },
}
