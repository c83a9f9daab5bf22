//! The broker's surface on `RabbitMQ`, with its connections cut, stalled and blocked, and its node killed.
//!
//! Each test has a prefix of its own on the node that `TEST_BROKER_URL` names; those that kill or alarm have a node of
//! their own.

mod proxy;
mod routing;
mod trouble;
mod users;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bellhop::config::TopologyMode;
use bellhop::messaging::broker::rabbit::AmqpDeliveries;
use bellhop::messaging::broker::rabbit::AmqpDelivery;
use bellhop::messaging::broker::rabbit::Rabbit;
use bellhop::messaging::broker::{BrokerHealth, Publication, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::topology::{EVENTS, Exchange, Queue, QueueKind, TIERS, Topology};
use lapin::{Connection, ConnectionProperties};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::support::app::within as until;

/// A process of Bellhop as far as the broker sees it.
struct Process {
    rabbit: Rabbit,
    tasks: TaskTracker,
    stop: CancellationToken,
    prefix: String,
    url: String,
}

impl Process {
    fn start(url: &str, prefix: &str, topology: Topology, mode: TopologyMode) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let rabbit =
            Rabbit::start_with_prefix(prefix, url.into(), "test", Arc::new(topology), mode, &tasks, stop.clone());
        Self { rabbit: rabbit.expect("a URL"), tasks, stop, prefix: prefix.into(), url: url.into() }
    }

    /// On the shared node, with a prefix that nobody else has, connected.
    async fn fresh(topology: Topology) -> Self {
        let process = Self::start(&broker_url(), &fresh_prefix(), topology, TopologyMode::Apply);
        process.until_up().await;
        process
    }

    async fn until_up(&self) {
        until("connected", async || self.rabbit.health().await == BrokerHealth::Up).await;
    }

    async fn consume(&self, queue: &str) -> AmqpDeliveries {
        self.consume_many(queue, 1).await
    }

    async fn consume_many(&self, queue: &str, prefetch: u16) -> AmqpDeliveries {
        let queue = Queue { name: queue.into(), kind: QueueKind::Work };
        self.rabbit.consume(&queue, prefetch, self.stop.clone()).await.expect("running")
    }

    async fn node_queue(&self, name: &str) -> AmqpDeliveries {
        let queue = Queue { name: name.into(), kind: QueueKind::Node };
        let deliveries = self.rabbit.consume(&queue, 10, self.stop.clone()).await.expect("running");
        deliveries.subscribed().wait_for(Option::is_some).await.expect("a subscription");
        deliveries
    }

    async fn publish(&self, exchange: Exchange, key: &str, message: &Message) -> Published {
        let publication = Publication { exchange, routing_key: key.into(), message: message.clone() };
        self.rabbit.publish(vec![publication]).await.remove(0)
    }

    async fn until_depth(&self, queue: &str, messages: u64) {
        until(&format!("{messages} in {queue}"), async || {
            let depths = self.rabbit.depths().await.unwrap_or_default();
            depths.iter().any(|depth| depth.queue == queue && depth.messages == messages)
        })
        .await;
    }

    /// A channel beside Bellhop's, to do and to see what others would.
    async fn beside(&self) -> (Connection, lapin::Channel) {
        beside(&self.url).await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(30), self.tasks.wait()).await.expect("stops in time");
    }
}

async fn beside(url: &str) -> (Connection, lapin::Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

#[expect(clippy::disallowed_methods, reason = "scripts/test says where the broker is")]
fn broker_url() -> String {
    std::env::var("TEST_BROKER_URL").expect("no TEST_BROKER_URL: run scripts/test")
}

/// Where the broker listens, without credentials.
fn address(url: &str) -> String {
    let url = url::Url::parse(url).expect("a URL");
    format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5672))
}

fn fresh_prefix() -> String {
    format!("t{}.", Uuid::now_v7().simple())
}

/// One listener `work` for `user.#`; whatever is parked comes back at once.
fn topology() -> Topology {
    topology_of(&[("work", &["user.#"])])
}

fn topology_of(listeners: &[(&str, &[&str])]) -> Topology {
    Topology::new(listeners.iter().copied(), &["#"], [Duration::from_millis(200); TIERS.len()])
}

fn message(kind: &str) -> Message {
    let id = Uuid::now_v7();
    let body = format!(r#"{{"id":"{id}"}}"#).into_bytes();
    Message { id, kind: kind.into(), body, traceparent: None, attempt: 0, failure: None }
}

fn events(messages: &[Message]) -> Vec<Publication> {
    let event = |message: &Message| Publication {
        exchange: EVENTS,
        routing_key: message.kind.clone(),
        message: message.clone(),
    };
    messages.iter().map(event).collect()
}

async fn next(deliveries: &mut AmqpDeliveries) -> AmqpDelivery {
    let next = tokio::time::timeout(Duration::from_mins(1), deliveries.next()).await;
    next.expect("a delivery in time").expect("a subscription that goes on")
}

/// The next messages, acknowledged.
async fn take(deliveries: &mut AmqpDeliveries, count: usize) -> BTreeSet<Uuid> {
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let delivery = next(deliveries).await;
        assert!(delivery.ack().await.expect("a connection"));
        ids.insert(delivery.message.id);
    }
    ids
}
