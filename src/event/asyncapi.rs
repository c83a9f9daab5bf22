//! The events and their routes as an `AsyncAPI` 3 document for other services, generated from the types that are sent and
//! the topology that is declared. docs/asyncapi.json holds it; a test compares.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::bounds::{MAX_IP_CHARS, SMTP_CODES, TEXTS};
use super::catalogue::Event;
use super::envelope::{CONTENT_TYPE, SOURCE, VERSION};
use crate::messaging::broker::rabbit;
use crate::messaging::broker::rabbit::PREFIX;
use crate::messaging::message::{MAX_BODY_BYTES, MAX_REASON_CHARS};
use crate::messaging::topology::{
    BROADCAST, Binding, DEAD, EVENTS, Exchange, ExchangeKind, Queue, QueueKind, RETRY, Target, Topology, dead, matches,
};

/// The `AsyncAPI` 3.0 document of all events on this topology: a channel, a message and an operation for each event,
/// called by its type; a channel for each exchange and queue, called by its name on `RabbitMQ`; and an operation for each
/// listener.
#[must_use]
pub fn asyncapi(topology: &Topology) -> Value {
    let (mut channels, mut messages, mut operations) = (Map::new(), Map::new(), Map::new());
    let kinds = kinds();
    for Kind { name, summary, data } in &kinds {
        channels.insert(
            name.clone(),
            json!({
                "address": name,
                "summary": summary,
                "messages": references([name]),
                "bindings": exchange_binding(EVENTS),
            }),
        );
        operations.insert(
            name.clone(),
            json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/{name}") },
                "bindings": { "amqp": { "deliveryMode": 2, "mandatory": true, "bindingVersion": BINDING } },
            }),
        );
        let message = json!({
            "name": name,
            "summary": summary,
            "contentType": "application/cloudevents+json",
            "headers": { "$ref": "#/components/schemas/Headers" },
            "bindings": { "amqp": { "messageType": name, "bindingVersion": BINDING } },
            "payload": envelope(name, data),
        });
        messages.insert(name.clone(), message);
    }
    let kinds: Vec<String> = kinds.into_iter().map(|kind| kind.name).collect();
    for exchange in topology.exchanges.iter().filter(|exchange| **exchange != EVENTS) {
        channels.insert(full(exchange.name), exchange_channel(topology, *exchange, &kinds));
    }
    let node = Queue { name: "node.{node}".into(), kind: QueueKind::Node };
    for queue in topology.queues.iter().chain([&node]) {
        let id = full(queue.name.trim_end_matches(".{node}"));
        // a tier's exchange and queue have one name
        let id = if channels.contains_key(&id) { format!("{id}.queue") } else { id };
        if queue.kind == QueueKind::Work {
            let operation = json!({
                "action": "receive",
                "channel": { "$ref": format!("#/channels/{id}") },
                "bindings": { "amqp": { "ack": true, "bindingVersion": BINDING } },
            });
            operations.insert(id.clone(), operation);
        }
        channels.insert(id, queue_channel(topology, queue, &kinds));
    }
    let mut schemas = Vec::new();
    Event::schemas(&mut schemas);
    let mut schemas: Map<String, Value> =
        schemas.into_iter().map(|(name, schema)| (name, bounded(json!(schema)))).collect();
    schemas.insert("Headers".into(), headers());
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Bellhop's events",
            "version": VERSION.to_string(),
            "description": format!(
                "What happens to accounts, as CloudEvents 1.0 in JSON. On RabbitMQ every event is published \
                 to the topic exchange bellhop.events under its type as routing key: bind a durable queue of your own. \
                 The AMQP message_id is the event's id. An event may come more than once and out of order: fold \
                 repeats by id. Fields may be added; ignore those that you do not know. Anything else that changes \
                 gets a new number at the end of dataschema. A body has at most {MAX_BODY_BYTES} bytes, with fields that \
                 are added too. The channels whose names begin with bellhop. are \
                 Bellhop's own exchanges and queues, with their arguments and what they are bound to: for operators; \
                 nobody else publishes to them or consumes from them."
            ),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas },
    })
}

/// The version of the AMQP bindings of `AsyncAPI` that the document is written in.
const BINDING: &str = "0.3.0";

/// The name on `RabbitMQ`.
fn full(short: &str) -> String {
    format!("{PREFIX}{short}")
}

fn references<'a>(kinds: impl IntoIterator<Item = &'a String>) -> Value {
    let reference = |kind: &'a String| (kind.clone(), json!({ "$ref": format!("#/components/messages/{kind}") }));
    Value::Object(kinds.into_iter().map(reference).collect())
}

/// An object with more fields.
fn with(object: Value, more: Value) -> Value {
    match (object, more) {
        (Value::Object(mut fields), Value::Object(more)) => {
            fields.extend(more);
            Value::Object(fields)
        }
        (object, _) => object,
    }
}

/// An exchange of ours beside the one for events.
fn exchange_channel(topology: &Topology, exchange: Exchange, kinds: &[String]) -> Value {
    let channel = json!({
        "bindings": exchange_binding(exchange),
        "x-bindings": bindings(topology, |to| matches!(to, Target::Exchange(name) if *name == exchange.name)),
    });
    if exchange == BROADCAST {
        let broadcast = Target::Exchange(BROADCAST.name);
        return with(
            channel,
            json!({
                // a fanout exchange asks for no routing key
                "address": null,
                "summary": "A copy for every running web node of what nodes must hear.",
                "messages": references(kinds.iter().filter(|kind| takes(topology, &broadcast, kind))),
            }),
        );
    }
    let queues = topology.queues.iter().filter(|queue| queue.kind == QueueKind::Work);
    let queues: Vec<&str> = queues.map(|queue| queue.name.as_str()).collect();
    let summary = match exchange {
        RETRY => "Brings what has waited back to exactly the queue it failed in.",
        DEAD => "Brings what a listener gave up to the dead letters of the queue it failed in.",
        _ => "Where a listener sends what failed, to wait before the next attempt; the routing key is kept.",
    };
    with(
        channel,
        json!({
            "address": "{queue}",
            "parameters": {
                "queue": { "enum": queues, "description": "The short name of the queue that it failed in." },
            },
            "summary": summary,
            // what failed was meant for one of our queues
            "messages": references(kinds.iter().filter(|kind| topology.is_wanted(kind))),
        }),
    )
}

/// Whether events of this kind go there.
fn takes(topology: &Topology, to: &Target, kind: &str) -> bool {
    let mut bound = topology.bindings.iter().filter(|binding| binding.from == EVENTS.name && binding.to == *to);
    bound.any(|binding| matches(&binding.key, kind))
}

fn queue_channel(topology: &Topology, queue: &Queue, kinds: &[String]) -> Value {
    let takes = |queue: &str, kind: &String| takes(topology, &Target::Queue(queue.to_owned()), kind);
    let (summary, kept) = match queue.kind {
        QueueKind::Work => {
            ("What a listener works off.", kinds.iter().filter(|kind| takes(&queue.name, kind)).collect())
        }
        QueueKind::Dead => {
            let works = topology.queues.iter().find(|work| dead(&work.name) == queue.name);
            let takes = |kind: &&String| works.is_some_and(|work| takes(&work.name, kind));
            ("Dead letters with their reasons, for operators.", kinds.iter().filter(takes).collect())
        }
        QueueKind::Wait { .. } => (
            "What failed waits here, all equally long.",
            kinds.iter().filter(|kind| topology.is_wanted(kind)).collect::<Vec<_>>(),
        ),
        QueueKind::Node => {
            let broadcast = Target::Exchange(BROADCAST.name);
            let heard = kinds.iter().filter(|kind| self::takes(topology, &broadcast, kind)).collect();
            ("A running web node's own: it hears what was broadcast, and goes with the node.", heard)
        }
    };
    let name = full(&queue.name);
    let node = queue.kind == QueueKind::Node;
    let bound = if node {
        json!([{ "exchange": full(BROADCAST.name), "routingKey": "" }])
    } else {
        bindings(topology, |to| matches!(to, Target::Queue(name) if *name == queue.name))
    };
    let channel = json!({
        "address": name,
        "summary": summary,
        "messages": references(kept),
        "bindings": { "amqp": {
            "is": "queue",
            "queue": { "name": name, "durable": !node, "exclusive": node, "autoDelete": node },
            "bindingVersion": BINDING,
        } },
        "x-arguments": rabbit::arguments(queue),
        "x-bindings": bound,
    });
    let parameters = json!({ "parameters": { "node": { "description": "Another one at each start." } } });
    if node { with(channel, parameters) } else { channel }
}

/// What leads to an exchange or a queue: `AsyncAPI` has no word for it.
fn bindings(topology: &Topology, leads: impl Fn(&Target) -> bool) -> Value {
    let bound = topology.bindings.iter().filter(|binding| leads(&binding.to));
    let described = |Binding { from, key, .. }: &Binding| json!({ "exchange": full(from), "routingKey": key });
    Value::Array(bound.map(described).collect())
}

fn exchange_binding(exchange: Exchange) -> Value {
    let kind = match exchange.kind {
        ExchangeKind::Topic => "topic",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Direct => "direct",
    };
    json!({ "amqp": {
        "is": "routingKey",
        "exchange": { "name": full(exchange.name), "type": kind, "durable": true, "autoDelete": false },
        "bindingVersion": BINDING,
    } })
}

/// The headers beside AMQP's own properties.
fn headers() -> Value {
    json!({
        "type": "object",
        "required": ["attempt"],
        "properties": {
            "attempt": { "type": "integer", "minimum": 0, "description": "How often it has failed: 0 where it was published." },
            "traceparent": { "type": "string", "description": "W3C trace context of the request that caused it." },
            "dead-queue": { "type": "string", "description": "On what waits or rests: the short name of the queue it failed in." },
            "reason": { "type": "string", "maxLength": MAX_REASON_CHARS, "description": "On what waits or rests: the last error." },
            "first-at": { "type": "string", "format": "date-time", "description": "On what waits or rests: when it failed first." },
            "last-at": { "type": "string", "format": "date-time", "description": "On what waits or rests: when it failed last." },
        },
    })
}

/// What the enum says of one event.
struct Kind {
    name: String,
    summary: String,
    data: Value,
}

fn kinds() -> Vec<Kind> {
    let event = json!(Event::schema());
    let kinds = event.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    kinds
        .filter_map(|kind| {
            Some(Kind {
                name: kind.pointer("/properties/type/enum/0")?.as_str()?.to_owned(),
                summary: kind.get("description")?.as_str()?.to_owned(),
                data: bounded(kind.pointer("/properties/data")?.clone()),
            })
        })
        .collect()
}

/// A schema with the bounds that events are held to when they are read.
fn bounded(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get_mut("properties") {
                for (name, property) in properties.iter_mut() {
                    bound(name, property);
                }
            }
            fields.values_mut().for_each(|value| *value = bounded(value.take()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = bounded(value.take())),
        _ => {}
    }
    schema
}

fn bound(name: &str, property: &mut Value) {
    let Value::Object(property) = property else { return };
    let is = |kind: &str| {
        property
            .get("type")
            .is_some_and(|types| types == kind || types.as_array().is_some_and(|types| types.contains(&kind.into())))
    };
    if is("string") && name == "ip" {
        property.insert("maxLength".into(), MAX_IP_CHARS.into());
    } else if is("string")
        && let Some(text) = TEXTS.into_iter().find(|text| text.field == name)
    {
        property.insert("maxLength".into(), text.max_chars.into());
        property.insert("pattern".into(), text.pattern().into());
    } else if name == "smtp_code" {
        property.insert("minimum".into(), (*SMTP_CODES.start()).into());
        property.insert("maximum".into(), (*SMTP_CODES.end()).into());
    }
}

/// The schema of the whole body: `CloudEvents` 1.0 around `data`.
fn envelope(name: &str, data: &Value) -> Value {
    let mut schema = json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "format": "uuid", "description": "The same in every copy; sorts by time (UUID version 7)." },
            "source": { "const": SOURCE },
            "type": { "const": name },
            "subject": {
                "type": "string",
                "format": "uuid",
                "description": "The user or the registration that it is about; missing when it is about nobody in particular.",
            },
            "time": { "type": "string", "format": "date-time", "description": "When it happened, UTC." },
            "datacontenttype": { "const": CONTENT_TYPE },
            "dataschema": { "const": format!("urn:bellhop:{name}:{VERSION}") },
        },
    });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("data".into(), data.clone());
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::Clock;
    use crate::event::tests::every;
    use crate::messaging::outbox::OutboxEvent as _;

    type Names = BTreeSet<String>;

    fn keys(object: &Value) -> Names {
        object.as_object().unwrap().keys().cloned().collect()
    }

    /// The properties of a schema and those that are required, through `allOf` and references.
    fn fields(document: &Value, schema: &Value) -> (Names, Names) {
        if let Some(reference) = schema["$ref"].as_str() {
            return fields(document, document.pointer(reference.trim_start_matches('#')).unwrap());
        }
        let own = |name: &str| schema.get(name).cloned().unwrap_or_default();
        let mut all: Names =
            own("properties").as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
        let required = own("required");
        let mut required: Names =
            required.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect();
        for part in own("allOf").as_array().into_iter().flatten() {
            let (more, more_required) = fields(document, part);
            all.extend(more);
            required.extend(more_required);
        }
        (all, required)
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(document: &Value, value: &Value) -> usize {
            match value {
                Value::Object(fields) => {
                    if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                        let at = reference.trim_start_matches('#');
                        assert!(document.pointer(at).is_some(), "{reference}");
                        return 1;
                    }
                    fields.values().map(|value| check(document, value)).sum()
                }
                Value::Array(values) => values.iter().map(|value| check(document, value)).sum(),
                _ => 0,
            }
        }
        let waits = [std::time::Duration::ZERO; crate::messaging::topology::TIERS.len()];
        let document = asyncapi(&Topology::new([("log", &["login.*"][..])], &["session.*"], waits));
        assert!(check(&document, &document) > 50);
        let received = keys(&document["channels"]["bellhop.log"]["messages"]);
        let logins = ["login.failed", "login.succeeded", "login.new_device", "login.after_failures"];
        assert_eq!(received, logins.map(Into::into).into());
        assert_eq!(keys(&document["channels"]["bellhop.log.dead"]["messages"]), received);
    }

    /// F68: what is not said is not held.
    #[test]
    fn every_text_and_number_of_an_event_has_its_bound_in_the_document() {
        fn unbounded(name: &str, schema: &Value, found: &mut Vec<String>) {
            let is = |kind: &str| {
                schema["type"] == kind || schema["type"].as_array().is_some_and(|all| all.contains(&kind.into()))
            };
            let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
            if is("string") && !has(&["format", "enum", "const", "maxLength"]) || is("integer") && !has(&["maximum"]) {
                found.push(name.to_owned());
            }
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                unbounded(name, schema, found);
            }
            for part in schema["allOf"].as_array().into_iter().flatten() {
                unbounded(name, part, found);
            }
        }
        let (document, mut found) = (asyncapi(&Topology::default()), Vec::new());
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            // beside the event: AMQP bounds headers, and ours are cut when they are read
            if name != "Headers" {
                unbounded(name, schema, &mut found);
            }
        }
        for (name, message) in document["components"]["messages"].as_object().unwrap() {
            unbounded(name, &message["payload"], &mut found);
        }
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(document["components"]["schemas"]["Origin"]["properties"]["user_agent"]["maxLength"], 512);
    }

    #[test]
    fn every_event_that_is_sent_is_described_as_it_is_sent() {
        let (document, clock) = (asyncapi(&Topology::default()), Clock::default());
        let messages = &document["components"]["messages"];
        let sent: Names = every().iter().map(|event| event.kind().to_owned()).collect();
        assert_eq!(keys(messages), sent);
        let of_events = keys(&document["channels"]).into_iter().filter(|name| !name.starts_with(PREFIX));
        assert_eq!(of_events.collect::<Names>(), sent);
        for event in every() {
            let schema = &messages[event.kind()]["payload"];
            let body: Value = serde_json::from_str(&event.body(clock.new_id(), clock.now())).unwrap();
            for (schema, object) in [(schema, &body), (&schema["properties"]["data"], &body["data"])] {
                let (all, required) = fields(&document, schema);
                assert!(keys(object).is_subset(&all), "{object} has more than {schema}");
                assert!(required.is_subset(&keys(object)), "{object} lacks something of {schema}");
            }
            for (name, property) in schema["properties"].as_object().unwrap() {
                assert!(property.get("const").is_none_or(|value| *value == body[name]), "{name} of {body}");
            }
        }
    }
}
