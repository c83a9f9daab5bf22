//! The five models of messaging, persistence, and declaring again with other arguments: a test for each claim, put to
//! every broker where the claim exists there.
//!
//! Some claims are shown elsewhere, and not again here:
//!
//! * work queue: `brokers` has `each_message_goes_to_one_of_the_competing_consumers` and
//!   `prefetch_is_what_a_consumer_may_hold`
//! * simple: `brokers` has `a_redriven_message_goes_to_the_queue_by_name`, through the default exchange
//! * direct: `brokers` has `a_parked_message_comes_back_to_exactly_its_queue`
//! * topic: `topology::matches` has its own table, which `topic` here puts to the brokers
//! * fanout: `rabbit::routing` has `every_running_node_gets_a_copy_and_its_queue_goes_with_it`
//! * persistence: `rabbit::trouble` has `nothing_confirmed_is_lost_when_the_broker_is_killed`, and `kill::crashes` kills
//!   whole programs
//! * arguments: `rabbit::trouble` has `a_queue_with_other_arguments_is_reported_used_and_mended_by_the_command_in_the_report`
//!   for a queue of another kind
//!
//! Bellhop has no way to acknowledge automatically, to fetch without limit, to declare what does not last or to send
//! what is not kept. What these would do is shown with lapin alone, on a vhost of the test's own.

mod direct;
mod durability;
mod examples;
mod fanout;
mod redeclaring;
mod simple;
mod topic;
mod work_queue;

use std::time::Duration;

use bellhop::messaging::broker::{Deliveries, Delivery, Publication};
use bellhop::messaging::topology::{Binding, EVENTS, Exchange, Queue, QueueKind, Target, Topology};
use futures_util::StreamExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use uuid::Uuid;

use crate::brokers::{Setup, message};
use crate::support::app::within;

/// An exchange and these queues, each bound with these keys.
fn bound(exchange: Exchange, queues: &[(&str, &[&str])]) -> Topology {
    let mut topology = Topology { exchanges: vec![exchange], ..Topology::default() };
    for (queue, keys) in queues {
        topology.queues.push(Queue { name: (*queue).into(), kind: QueueKind::Work });
        for key in *keys {
            let to = Target::Queue((*queue).into());
            topology.bindings.push(Binding { from: exchange.name, key: (*key).into(), to });
        }
    }
    topology
}

/// A web node's own queue, bound to the broadcast; what is said from now on is heard.
async fn node(setup: &Setup) -> Deliveries {
    let queue = Queue { name: format!("node.{}", Uuid::new_v4().simple()), kind: QueueKind::Node };
    let deliveries = setup.broker.consume(&queue, 10, setup.stop.child_token()).await.unwrap();
    let mut subscribed = deliveries.subscribed();
    let flowing = tokio::time::timeout(Duration::from_secs(30), subscribed.wait_for(Option::is_some));
    flowing.await.expect("a subscription in time").expect("a subscription");
    deliveries
}

/// The next message of a node's queue.
async fn hear(node: &mut Deliveries) -> Delivery {
    let heard = tokio::time::timeout(Duration::from_secs(30), node.next()).await;
    heard.expect("a message in time").expect("a node that is not stopped")
}

/// The id of the next message of a node's queue, with which the node is done.
async fn hear_out(node: &mut Deliveries) -> Uuid {
    let heard = hear(node).await;
    heard.ack().await.unwrap();
    heard.message().id
}

/// An event of this type, and where it goes.
fn event(kind: &str) -> Publication {
    Publication { exchange: EVENTS, routing_key: kind.into(), message: message(kind) }
}

/// Waits until each queue holds this many messages, and asks that none holds more.
async fn expect_depths(setup: &Setup, expected: &[(&str, u64)], after: &str) {
    let mut found = Vec::new();
    within(&format!("{expected:?} after {after:?}"), async || {
        found.clear();
        for (queue, _) in expected {
            found.push((*queue, setup.depth(queue).await));
        }
        let is_past = found.iter().zip(expected).any(|((_, found), (_, expected))| found > expected);
        assert!(!is_past, "{found:?} instead of {expected:?} after {after:?}");
        found == expected
    })
    .await;
}

/// AMQP without Bellhop: a connection and a channel that confirms.
async fn amqp(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("a channel that confirms");
    (connection, channel)
}

/// Declares a queue of this type (`classic` or `quorum`).
async fn declare(channel: &Channel, name: &str, kind: &str, durable: bool) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, arguments).await.expect("a queue");
}

/// How many messages are ready in a queue and how many consumers it has; the broker's complaint if it is not there,
/// which costs the channel.
async fn look(channel: &Channel, name: &str) -> Result<(u32, u32), lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(name.into(), passive, FieldTable::default()).await?;
    Ok((found.message_count(), found.consumer_count()))
}

/// Sends a text to a queue by its name and waits until the broker has it; `mode` 2 is persistent, 1 is not.
async fn send(channel: &Channel, queue: &str, text: &str, mode: u8) {
    let properties = BasicProperties::default().with_delivery_mode(mode);
    let (exchange, options) = (ShortString::default(), BasicPublishOptions::default());
    let sent = channel.basic_publish(exchange, queue.into(), options, text.as_bytes(), properties).await;
    assert!(matches!(sent.expect("a channel").await, Ok(Confirmation::Ack(None))), "{text}");
}

async fn next(consumer: &mut Consumer) -> lapin::message::Delivery {
    let next = tokio::time::timeout(Duration::from_secs(30), consumer.next()).await;
    next.expect("a message in time").expect("a consumer that goes on").expect("a message")
}
