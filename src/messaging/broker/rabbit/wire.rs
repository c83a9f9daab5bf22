//! What a message looks like on the wire: AMQP names, properties and headers, and back.
//!
//! Written and read headers: `attempt` (integer), `traceparent`, and for what waits or is a dead letter `dead-queue` (short name),
//! `reason`, `first-at`, `last-at` (RFC 3339). They are our own on purpose: what `RabbitMQ` counts in `x-…` headers has
//! changed its meaning between versions, so those are written never and read only where the broker itself gave a
//! message up.

use chrono::{DateTime, SecondsFormat};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::fault::Fault;
use crate::clock::Timestamp;
use crate::messaging::message::{Failure, MAX_BODY_BYTES, MAX_REASON_CHARS, Message, too_large};
use crate::messaging::topology::{DEFAULT, Exchange};
use crate::telemetry;
use crate::text::one_line;

/// `CloudEvents` 1.0, JSON event format, section 3.
const CONTENT_TYPE: &str = "application/cloudevents+json";
/// As many bytes as AMQP gives to names.
const MAX_QUEUE_CHARS: usize = 255;
/// AMQP 0-9-1, `delivery-mode`: kept on disk.
const PERSISTENT: u8 = 2;

/// The names that exchanges and queues have on the broker: a prefix before the short name.
#[derive(Clone, Debug)]
pub(super) struct Names(pub(super) String);

impl Names {
    pub(super) fn queue(&self, short: &str) -> Result<ShortString, Fault> {
        name(format!("{}{short}", self.0))
    }

    /// The default exchange has no name to put a prefix before.
    pub(super) fn exchange(&self, short: &str) -> Result<ShortString, Fault> {
        if short == DEFAULT.name { Ok(ShortString::default()) } else { name(format!("{}{short}", self.0)) }
    }

    /// Keys are the same on every broker, but for the default exchange, whose keys are names of queues.
    pub(super) fn key(&self, exchange: &Exchange, key: &str) -> Result<ShortString, Fault> {
        if *exchange == DEFAULT { self.queue(key) } else { name(key.to_owned()) }
    }

    fn short<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(self.0.as_str()).unwrap_or(name)
    }
}

/// AMQP holds names in 255 bytes (0-9-1, section 4.2.5.3).
fn name(text: String) -> Result<ShortString, Fault> {
    ShortString::try_new(text.clone()).map_err(|_| Fault::TooLong(text))
}

/// The properties that `message` travels with.
pub(super) fn properties(message: &Message) -> Result<BasicProperties, Fault> {
    let mut headers = FieldTable::default();
    headers.insert("attempt".into(), AMQPValue::LongLongInt(message.attempt.into()));
    if let Some(traceparent) = &message.traceparent {
        headers.insert("traceparent".into(), text(traceparent));
    }
    if let Some(failure) = &message.failure {
        let reason: String = failure.reason.chars().take(MAX_REASON_CHARS).collect();
        headers.insert("dead-queue".into(), text(&failure.queue));
        headers.insert("reason".into(), text(&reason));
        headers.insert("first-at".into(), text(&failure.first_at.to_rfc3339_opts(SecondsFormat::Micros, true)));
        headers.insert("last-at".into(), text(&failure.last_at.to_rfc3339_opts(SecondsFormat::Micros, true)));
    }
    let properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(name(message.id.to_string())?)
        .with_type(name(message.kind.clone())?)
        .with_app_id("bellhop".into())
        .with_headers(headers);
    // ids of events sort by time (UUID version 7), so the time of the event is in its id
    Ok(match message.id.get_timestamp() {
        Some(time) => properties.with_timestamp(time.to_unix().0),
        None => properties,
    })
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// The message of a delivery, and why it is not one of ours if it is not.
///
/// Always a message, so that whoever consumes can put it aside with its reason. Where the id is missing it is derived
/// from the content (UUID version 8, RFC 9562 section 5.8), so that putting it aside twice folds. A body that is larger than
/// an event's can be is dropped here, before the next one is taken from the channel.
pub(super) fn read(names: &Names, delivery: &mut lapin::message::Delivery) -> (Message, Option<String>) {
    let mut body = std::mem::take(&mut delivery.data);
    let properties = &delivery.properties;
    let headers = properties.headers().clone().unwrap_or_default();
    let mut flaws = Vec::new();
    if body.len() > MAX_BODY_BYTES {
        flaws.push(too_large(body.len()));
    }

    let id = properties.message_id().as_ref().map(ShortString::as_str);
    let id = id.and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_else(|| {
        flaws.push(format!("message_id is {}, not a UUID", id.map_or("missing".into(), |id| format!("{id:?}"))));
        derived_id(delivery.routing_key.as_str(), &body)
    });
    if body.len() > MAX_BODY_BYTES {
        body = Vec::new();
    }
    let kind = properties.kind().as_ref().map_or_else(
        || {
            flaws.push("type is missing".into());
            delivery.routing_key.to_string()
        },
        ToString::to_string,
    );
    let message = Message {
        id,
        kind,
        body,
        traceparent: string(&headers, "traceparent").as_deref().and_then(telemetry::traceparent),
        attempt: integer(&headers, "attempt").unwrap_or(0),
        failure: failure(names, &headers, *properties.timestamp()),
    };
    (message, (!flaws.is_empty()).then(|| flaws.join("; ")))
}

fn derived_id(routing_key: &str, body: &[u8]) -> Uuid {
    // of what is too large the length and the beginning are enough
    let (head, length) = (body.get(..MAX_BODY_BYTES).unwrap_or(body), body.len().to_be_bytes());
    let digest =
        Sha256::new().chain_update(routing_key).chain_update([0]).chain_update(length).chain_update(head).finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn failure(names: &Names, headers: &FieldTable, sent: Option<u64>) -> Option<Failure> {
    let ours = string(headers, "reason").map(|reason| {
        let fallback = sent.and_then(seconds).unwrap_or_default();
        Failure {
            queue: one_line(&string(headers, "dead-queue").unwrap_or_default(), MAX_QUEUE_CHARS),
            reason: one_line(&reason, MAX_REASON_CHARS),
            first_at: time(headers, "first-at").unwrap_or(fallback),
            last_at: time(headers, "last-at").unwrap_or(fallback),
        }
    });
    // newer than ours where it exists: whatever is published by us carries none
    match (broken_off(names, headers), ours) {
        (Some(theirs), Some(ours)) => Some(Failure { first_at: ours.first_at, ..theirs }),
        (theirs, ours) => theirs.or(ours),
    }
}

/// What the broker wrote when it took a message out of a queue by itself, which it does when every process that was
/// handed the message died with it (`delivery_limit`). Messages that have only waited carry `expired` and no more.
fn broken_off(names: &Names, headers: &FieldTable) -> Option<Failure> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else { return None };
    deaths.as_slice().iter().find_map(|death| {
        let AMQPValue::FieldTable(death) = death else { return None };
        let reason = string(death, "reason").filter(|reason| reason != "expired")?;
        let at = match death.inner().get("time") {
            Some(AMQPValue::Timestamp(at)) => seconds(*at)?,
            _ => return None,
        };
        let queue = names.short(&string(death, "queue")?).to_owned();
        let reason =
            format!("the broker gave it up ({reason}): the processes that had it in hand ended before it was done");
        Some(Failure { queue, reason, first_at: at, last_at: at })
    })
}

fn string(headers: &FieldTable, key: &str) -> Option<String> {
    match headers.inner().get(key)? {
        AMQPValue::LongString(value) => Some(value.to_string()),
        AMQPValue::ShortString(value) => Some(value.to_string()),
        _ => None,
    }
}

fn integer(headers: &FieldTable, key: &str) -> Option<u32> {
    match headers.inner().get(key)? {
        AMQPValue::LongLongInt(value) => u32::try_from(*value).ok(),
        AMQPValue::LongInt(value) => u32::try_from(*value).ok(),
        AMQPValue::LongUInt(value) => Some(*value),
        AMQPValue::ShortInt(value) => u32::try_from(*value).ok(),
        AMQPValue::ShortUInt(value) => Some((*value).into()),
        AMQPValue::ShortShortInt(value) => u32::try_from(*value).ok(),
        AMQPValue::ShortShortUInt(value) => Some((*value).into()),
        _ => None,
    }
}

fn time(headers: &FieldTable, key: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(&string(headers, key)?).ok().map(|time| time.to_utc())
}

fn seconds(unix: u64) -> Option<Timestamp> {
    DateTime::from_timestamp(i64::try_from(unix).ok()?, 0)
}
