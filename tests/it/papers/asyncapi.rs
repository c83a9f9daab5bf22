//! docs/asyncapi.json says what is on the broker, and what a message carries.

use std::collections::{BTreeMap, BTreeSet};

use bellhop::messaging::broker::Published;
use bellhop::messaging::message::Message;
use lapin::options::BasicGetOptions;
use lapin::{Connection, ConnectionProperties};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::{paper, publish};
use crate::support::app::{Stack, TestApp, within};
use crate::support::rabbit;

/// A virtual host's objects as `rabbitmqctl` lists them, by name; those of ours.
async fn listed(vhost: &str, what: &str, columns: &[&str]) -> BTreeMap<String, Value> {
    let arguments = [&[what, "-p", vhost, "--formatter", "json", "name"], columns].concat();
    let listed = rabbit::ctl(&arguments).await;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let named = listed.into_iter().map(|object| (object["name"].as_str().unwrap().to_owned(), object));
    named.filter(|(name, _)| name.starts_with("bellhop.")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_has_the_exchanges_queues_and_headers_that_the_asyncapi_document_describes() {
    let app = TestApp::start(Stack::Large).await;
    app.signed_in_client("ann@example.org").await;
    let url = app.app.config.messaging.broker_url.as_ref().unwrap().expose_secret();
    let vhost = Url::parse(url).unwrap().path().trim_start_matches('/').to_owned();
    let document: Value = serde_json::from_str(&paper("docs/asyncapi.json")).unwrap();
    let channels = document["channels"].as_object().unwrap();
    // a node's queue is called otherwise each time
    let is_one = |channel: &Value| channel["parameters"].get("node").is_none();
    let described = |kind: &str, fields: &[&str]| -> BTreeMap<String, Vec<Value>> {
        let channels = channels.values().filter(|channel| is_one(channel));
        let objects = channels.map(|channel| &channel["bindings"]["amqp"][kind]).filter(|object| object.is_object());
        let name = |object: &Value| object["name"].as_str().unwrap().to_owned();
        objects.map(|object| (name(object), fields.iter().map(|field| object[*field].clone()).collect())).collect()
    };

    let there = listed(&vhost, "list_exchanges", &["type", "durable", "auto_delete"]).await;
    let there: BTreeMap<String, Vec<Value>> = there
        .into_iter()
        .map(|(name, object)| (name, ["type", "durable", "auto_delete"].map(|field| object[field].clone()).into()))
        .collect();
    assert_eq!(described("exchange", &["type", "durable", "autoDelete"]), there);

    let (mut nodes, mut queues) = (Vec::new(), Vec::new());
    within("the node's queue", async || {
        let there = listed(&vhost, "list_queues", &["durable", "exclusive", "auto_delete", "arguments"]).await;
        (nodes, queues) = there.into_iter().partition(|(name, _)| name.starts_with("bellhop.node."));
        !nodes.is_empty()
    })
    .await;
    let fields = ["durable", "exclusive", "auto_delete"];
    // what is not exclusive has no word there in some versions
    let of = |queue: &Value| fields.map(|field| json!(queue[field] == json!(true))).to_vec();
    let there: BTreeMap<String, Vec<Value>> = queues.iter().map(|(name, queue)| (name.clone(), of(queue))).collect();
    assert_eq!(described("queue", &["durable", "exclusive", "autoDelete"]), there);
    let [(_, node)] = &nodes[..] else { panic!("one node: {nodes:?}") };
    assert_eq!(of(node), [json!(false), json!(true), json!(true)]);
    for (name, queue) in &queues {
        let mut arguments: BTreeMap<String, Value> =
            queue["arguments"].as_array().unwrap().iter().map(argument).collect();
        let channel = channels.values().find(|channel| channel["bindings"]["amqp"]["queue"]["name"] == json!(name));
        let mut wanted: BTreeMap<String, Value> =
            serde_json::from_value(channel.unwrap()["x-arguments"].clone()).unwrap();
        // the waits of tests are shorter
        assert_eq!(arguments.remove("x-message-ttl").is_some(), wanted.remove("x-message-ttl").is_some(), "{name}");
        assert_eq!(arguments, wanted, "{name}");
    }

    let columns = ["source_name", "destination_kind", "destination_name", "routing_key"];
    let there = rabbit::ctl(&[&["list_bindings", "-p", &vhost, "--formatter", "json"], &columns[..]].concat()).await;
    let there: Vec<Value> = serde_json::from_str(&there).unwrap();
    let there = there.iter().map(|binding| columns.map(|column| binding[column].as_str().unwrap().to_owned()));
    // every queue is bound to the default exchange
    let (nodes, there): (BTreeSet<_>, BTreeSet<_>) = there
        .filter(|[source, ..]| !source.is_empty())
        .partition(|[_, _, destination, _]| destination.starts_with("bellhop.node."));
    let described: BTreeSet<[String; 4]> = channels
        .values()
        .filter(|channel| is_one(channel))
        .flat_map(|channel| {
            let kind = if channel["bindings"]["amqp"]["is"] == "queue" { "queue" } else { "exchange" };
            let name = &channel["bindings"]["amqp"][kind]["name"];
            let bound = channel.get("x-bindings").and_then(Value::as_array).into_iter().flatten();
            bound.map(move |from| {
                [&from["exchange"], &json!(kind), name, &from["routingKey"]]
                    .map(|text| text.as_str().unwrap().to_owned())
            })
        })
        .collect();
    assert_eq!(described, there);
    let of_node: Vec<&str> = nodes.iter().map(|[source, ..]| source.as_str()).collect();
    assert_eq!(json!([{ "exchange": of_node[0], "routingKey": "" }]), channels["bellhop.node"]["x-bindings"]);

    // what rests carries every header there is
    let unreadable = Message {
        id: Uuid::now_v7(),
        kind: "login.failed".into(),
        body: b"{}".into(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        attempt: 0,
        failure: None,
    };
    assert_eq!(publish(&app, "login.failed", unreadable).await, [Published::Confirmed]);
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut headers = BTreeSet::new();
    within("a dead letter", async || {
        let got = channel.basic_get("bellhop.login-log.dead".into(), BasicGetOptions::default()).await.unwrap();
        let Some(got) = got else { return false };
        let table = got.delivery.properties.headers().clone().unwrap();
        let ours = table.inner().keys().map(ToString::to_string).filter(|name| !name.starts_with("x-"));
        headers.extend(ours);
        true
    })
    .await;
    let described = document["components"]["schemas"]["Headers"]["properties"].as_object().unwrap();
    assert_eq!(headers, described.keys().cloned().collect());
}

/// An argument of a queue as `rabbitmqctl` lists it: name, type, value.
fn argument(argument: &Value) -> (String, Value) {
    match argument.as_array().map(Vec::as_slice) {
        Some([name, _, value]) => (name.as_str().unwrap().to_owned(), value.clone()),
        _ => panic!("{argument}"),
    }
}
