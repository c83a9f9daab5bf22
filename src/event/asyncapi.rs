//! The events as others may rely on them: an `AsyncAPI` 3 document, made from the types that are sent.
//!
//! It stands in docs/asyncapi.json; a test compares.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::{Event, VERSION};
use crate::messaging::topology::EVENTS;

/// The `AsyncAPI` 3.0 document of all events: a channel, a message and an operation for each, called by its type.
#[must_use]
pub fn asyncapi() -> Value {
    let (mut channels, mut messages, mut operations) = (Map::new(), Map::new(), Map::new());
    for Kind { name, summary, data } in kinds() {
        let message = json!({ "$ref": format!("#/components/messages/{name}") });
        channels.insert(
            name.clone(),
            json!({ "address": name, "summary": summary, "messages": { &name: message }, "bindings": exchange() }),
        );
        operations.insert(
            name.clone(),
            json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/{name}") },
                "bindings": { "amqp": { "deliveryMode": 2, "mandatory": true, "bindingVersion": "0.3.0" } },
            }),
        );
        let message = json!({
            "name": name,
            "summary": summary,
            "contentType": "application/cloudevents+json",
            "bindings": { "amqp": { "messageType": name, "bindingVersion": "0.3.0" } },
            "payload": envelope(&name, data),
        });
        messages.insert(name, message);
    }
    let mut schemas = Vec::new();
    Event::schemas(&mut schemas);
    let schemas: Map<String, Value> = schemas.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Bellhop's events",
            "version": VERSION.to_string(),
            "description": "What happens to accounts, as CloudEvents 1.0 in JSON. On RabbitMQ every event is published \
                to the topic exchange bellhop.events under its type as routing key: bind a durable queue of your own. \
                The AMQP message_id is the event's id. An event may come more than once and out of order: fold \
                repeats by id. Fields may be added; ignore those that you do not know. Anything else that changes \
                gets a new number at the end of dataschema.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas },
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
                data: kind.pointer("/properties/data")?.clone(),
            })
        })
        .collect()
}

fn exchange() -> Value {
    json!({ "amqp": {
        "is": "routingKey",
        "exchange": { "name": format!("bellhop.{}", EVENTS.name), "type": "topic", "durable": true, "autoDelete": false },
        "bindingVersion": "0.3.0",
    } })
}

/// The schema of the whole body: `CloudEvents` 1.0 around `data`.
fn envelope(name: &str, data: Value) -> Value {
    let mut schema = json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "format": "uuid", "description": "The same in every copy; sorts by time (UUID version 7)." },
            "source": { "const": "bellhop" },
            "type": { "const": name },
            "subject": {
                "type": "string",
                "format": "uuid",
                "description": "The user or the registration that it is about; missing when it is about nobody in particular.",
            },
            "time": { "type": "string", "format": "date-time", "description": "When it happened, UTC." },
            "datacontenttype": { "const": "application/json" },
            "dataschema": { "const": format!("urn:bellhop:{name}:{VERSION}") },
        },
    });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("data".into(), data);
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::every;
    use super::*;
    use crate::clock::Clock;
    use crate::messaging::outbox::Happening as _;

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
    fn every_event_that_is_sent_is_described_as_it_is_sent() {
        let (document, clock) = (asyncapi(), Clock::default());
        let messages = &document["components"]["messages"];
        let sent: Names = every().iter().map(|event| event.kind().to_owned()).collect();
        assert_eq!(keys(messages), sent);
        assert_eq!(keys(&document["channels"]), sent);
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
