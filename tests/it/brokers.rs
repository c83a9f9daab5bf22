//! What a broker must do, asked of both: the same questions, the same answers.

use std::sync::Arc;
use std::time::Duration;

use bellhop::clock::Clock;
use bellhop::config::TopologyMode;
use bellhop::db::{Db, Location};
use bellhop::messaging::broker::embedded::Embedded;
use bellhop::messaging::broker::rabbit::Rabbit;
use bellhop::messaging::broker::{Bodies, Broker, BrokerHealth, Deliveries, Delivery, Publication, Published};
use bellhop::messaging::message::{Failure, MAX_BODY_BYTES, Message};
use bellhop::messaging::notify::Notifier;
use bellhop::messaging::topology::{BROADCAST, DEAD, DEFAULT, EVENTS, Exchange, Queue, QueueKind, RETRY, Topology};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::support::app::within;
use crate::support::postgres::database;
use crate::support::servers;

/// A process of Bellhop as far as a broker is concerned.
pub struct Setup {
    pub broker: Broker,
    pub topology: Arc<Topology>,
    pub clock: Clock,
    place: Place,
    db: Option<Db>,
    tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// Which broker to ask.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Sqlite,
    Postgres,
    Rabbit,
}

/// Where the messages are, whoever asks for them.
enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
    Rabbit { url: String, prefix: String },
}

/// The waits of the tiers: short, as tests wait for them.
pub const WAITS: [Duration; 5] = [Duration::from_millis(300); 5];

/// `all` takes every event, `logins` those of the door.
async fn open(kind: Kind) -> Setup {
    let listeners = [("all", &["#"][..]), ("logins", &["login.*", "*.failed"][..])];
    Setup::open(kind, Topology::new(listeners, &["#"], WAITS)).await
}

impl Setup {
    /// A broker that holds nothing but this topology.
    pub async fn open(kind: Kind, topology: Topology) -> Self {
        let place = match kind {
            Kind::Sqlite => Place::Sqlite(tempfile::tempdir().unwrap()),
            Kind::Postgres => Place::Postgres(database().await),
            Kind::Rabbit => Place::Rabbit {
                url: servers::setting("TEST_BROKER_URL"),
                prefix: format!("conformance-{}.", Uuid::new_v4().simple()),
            },
        };
        Self::at(place, topology).await
    }

    async fn at(place: Place, topology: Topology) -> Self {
        let (topology, tasks, stop) = (Arc::new(topology), TaskTracker::new(), CancellationToken::new());
        let clock = Clock::default();
        let embedded = async |location| {
            let db = Db::open(&location, 8).await.unwrap();
            db.migrate().await.unwrap();
            let topology = Arc::clone(&topology);
            let embedded = Embedded::new(db.clone(), clock.clone(), Notifier::default(), topology, tasks.clone());
            embedded.declare().await.unwrap();
            tasks.spawn(embedded.clone().run(stop.clone()));
            (Broker::Embedded(embedded), Some(db))
        };
        let (broker, db) = match &place {
            Place::Sqlite(folder) => embedded(Location::Sqlite(folder.path().join("bellhop.sqlite"))).await,
            Place::Postgres(url) => embedded(Location::Postgres(Box::new(url.parse().unwrap()))).await,
            Place::Rabbit { url, prefix } => {
                let (url, shared, mode) = (url.as_str().into(), Arc::clone(&topology), TopologyMode::Apply);
                let rabbit = Rabbit::start_with_prefix(prefix, url, "test", shared, mode, &tasks, stop.clone());
                (Broker::Rabbit(rabbit.unwrap()), None)
            }
        };
        within("the broker to be up", async || broker.health().await == BrokerHealth::Up).await;
        Setup { broker, topology, clock, place, db, tasks, stop }
    }

    /// The process ends, and with it the embedded broker; another one begins where it was, with this topology.
    pub async fn restart(self, topology: Topology) -> Self {
        let place = self.leave().await;
        Self::at(place, topology).await
    }

    pub async fn publish(&self, exchange: Exchange, key: &str) -> (Uuid, Published) {
        let message = message(key);
        let id = message.id;
        let publication = Publication { exchange, routing_key: key.to_owned(), message };
        (id, self.broker.publish(vec![publication]).await.remove(0))
    }

    pub async fn consume(&self, queue: &str, prefetch: u16) -> Consumption {
        let stop = self.stop.child_token();
        let queue = Queue { name: queue.to_owned(), kind: QueueKind::Work };
        Consumption { deliveries: self.broker.consume(&queue, prefetch, stop.clone()).await.unwrap(), stop }
    }

    pub async fn depth(&self, queue: &str) -> u64 {
        let depths = self.broker.depths().await.unwrap();
        depths.into_iter().find(|depth| depth.queue == queue).map_or(0, |depth| depth.messages)
    }

    pub async fn close(self) {
        self.leave().await;
    }

    async fn leave(self) -> Place {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(db) = self.db {
            db.close().await;
        }
        self.place
    }
}

/// The messages of a queue.
pub struct Consumption {
    deliveries: Deliveries,
    stop: CancellationToken,
}

impl Consumption {
    pub async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(Duration::from_secs(30), self.deliveries.next()).await;
        next.expect("a message in time").expect("a consumer that is not stopped")
    }
}

pub fn message(kind: &str) -> Message {
    Message {
        id: Uuid::now_v7(),
        kind: kind.to_owned(),
        body: br#"{"body":"\u00fc"}"#.to_vec(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        attempt: 0,
        failure: None,
    }
}

/// Puts each question to every broker, in a setup that the function `open` beside it makes.
macro_rules! on_every_broker {
    ($($question:ident),* $(,)?) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $question() { super::$question(super::open(crate::brokers::Kind::Sqlite).await).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $question() { super::$question(super::open(crate::brokers::Kind::Postgres).await).await; })* }
        mod rabbit { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $question() { super::$question(super::open(crate::brokers::Kind::Rabbit).await).await; })* }
    };
}
pub(crate) use on_every_broker;

on_every_broker!(
    every_queue_that_is_bound_gets_a_copy_and_no_other,
    a_message_keeps_all_it_carries,
    a_message_that_is_too_large_comes_without_its_body_and_with_a_reason,
    who_browses_is_handed_the_body_that_it_wants_and_no_other,
    a_key_that_nobody_is_bound_for_comes_back,
    each_message_goes_to_one_of_the_competing_consumers,
    prefetch_is_what_a_consumer_may_hold,
    what_is_acknowledged_is_unacknowledged_no_more,
    a_prefetch_of_none_is_one,
    what_is_not_acknowledged_comes_again,
    what_is_given_back_comes_again_marked,
    a_parked_message_comes_back_to_exactly_its_queue,
    a_dead_letter_goes_to_those_of_its_queue,
    a_redriven_message_goes_to_the_queue_by_name,
    a_running_node_hears_everything_and_leaves_nothing_behind,
    messages_outlive_who_published_them,
    a_message_comes_when_it_should_though_the_clock_is_put_back,
    a_message_waits_no_longer_than_its_tier_though_the_clock_was_put_back_between_two_starts,
    a_stopped_consumer_hands_out_no_more,
);

async fn every_queue_that_is_bound_gets_a_copy_and_no_other(setup: Setup) {
    for (key, all, logins) in [
        ("login.failed", 1, 1),
        ("login.succeeded", 2, 2),
        ("user.registered", 3, 2),
        ("check.failed", 4, 3),
        ("login", 5, 3),
        ("login.a.b", 6, 3),
    ] {
        assert_eq!(setup.publish(EVENTS, key).await.1, Published::Confirmed, "{key}");
        within("both queues to be counted", async || {
            (setup.depth("all").await, setup.depth("logins").await) == (all, logins)
        })
        .await;
    }
    setup.close().await;
}

async fn a_message_keeps_all_it_carries(setup: Setup) {
    let at = bellhop::clock::Clock::default().now();
    let mut sent = message("login.failed");
    sent.attempt = 3;
    sent.failure = Some(Failure { queue: "logins".into(), reason: "451 später".into(), first_at: at, last_at: at });
    let publication = Publication { exchange: EVENTS, routing_key: "login.failed".into(), message: sent.clone() };
    assert_eq!(setup.broker.publish(vec![publication]).await, [Published::Confirmed]);
    let mut consumer = setup.consume("logins", 1).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.message(), &sent);
    assert_eq!(delivery.undecodable(), None);
    delivery.ack().await.unwrap();
    setup.close().await;
}

/// F60: it came an hour later.
async fn a_message_comes_when_it_should_though_the_clock_is_put_back(setup: Setup) {
    let (ready, _) = setup.publish(EVENTS, "user.registered").await;
    let tier = setup.topology.tier(Duration::from_secs(1));
    let (waiting, answer) = setup.publish(tier, "logins").await;
    assert_eq!(answer, Published::Confirmed);
    setup.clock.set_back(Duration::from_hours(1));
    for (queue, id) in [("all", ready), ("logins", waiting)] {
        let mut consumer = setup.consume(queue, 1).await;
        let delivery = consumer.next().await;
        assert_eq!(delivery.message().id, id, "{queue}");
        assert!(delivery.ack().await.unwrap());
    }
    setup.close().await;
}

/// F60.
async fn a_message_waits_no_longer_than_its_tier_though_the_clock_was_put_back_between_two_starts(setup: Setup) {
    // the next process begins with the system's clock
    setup.clock.advance(Duration::from_hours(1));
    let (ready, _) = setup.publish(EVENTS, "user.registered").await;
    let leased = setup.publish(EVENTS, "login.failed").await.0;
    let mut holder = setup.consume("logins", 1).await;
    let held = holder.next().await;
    assert_eq!(held.message().id, leased);
    let tier = setup.topology.tier(Duration::from_secs(1));
    let (waiting, _) = setup.publish(tier, "logins").await;
    drop(held);
    let topology = (*setup.topology).clone();
    let setup = setup.restart(topology).await;
    let mut consumer = setup.consume("all", 2).await;
    for id in [ready, leased] {
        let delivery = consumer.next().await;
        assert_eq!(delivery.message().id, id);
        assert!(delivery.ack().await.unwrap());
    }
    // the one that is held by nobody any more when its lease has ended, from now on
    let mut consumer = setup.consume("logins", 1).await;
    let delivery = consumer.next().await;
    let is_lost = delivery.message().id == waiting;
    assert!(delivery.ack().await.unwrap());
    if is_lost {
        setup.clock.advance(Duration::from_secs(61));
        let delivery = consumer.next().await;
        assert_eq!(delivery.message().id, leased);
        assert!(delivery.ack().await.unwrap());
    }
    setup.close().await;
}

/// F73.
async fn a_message_that_is_too_large_comes_without_its_body_and_with_a_reason(setup: Setup) {
    let mut consumer = setup.consume("logins", 1).await;
    for (bytes, reason) in [
        (MAX_BODY_BYTES, None),
        (
            MAX_BODY_BYTES + 1,
            Some("larger than an event can be: 65537 bytes, at most 65536; the body was dropped unread"),
        ),
    ] {
        let sent = Message { body: vec![b'x'; bytes], ..message("login.failed") };
        let publication = Publication { exchange: EVENTS, routing_key: "login.failed".into(), message: sent.clone() };
        assert_eq!(setup.broker.publish(vec![publication]).await, [Published::Confirmed]);
        let delivery = consumer.next().await;
        assert_eq!(delivery.undecodable(), reason);
        let body = if reason.is_some() { Vec::new() } else { sent.body.clone() };
        assert_eq!(delivery.message(), &Message { body, ..sent }, "all but the body is kept");
        assert!(delivery.ack().await.unwrap());
    }
    setup.close().await;
}

/// F73.
async fn who_browses_is_handed_the_body_that_it_wants_and_no_other(setup: Setup) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(setup.publish(EVENTS, "login.failed").await.0);
    }
    let queue = Queue { name: "logins".into(), kind: QueueKind::Work };
    for wanted in [None, Some(ids[1])] {
        let stop = setup.stop.child_token();
        let deliveries = setup.broker.browse(&queue, 3, Bodies::Of(wanted), stop.clone()).await.unwrap();
        let (mut consumption, mut seen) = (Consumption { deliveries, stop }, Vec::new());
        for _ in 0..3 {
            seen.push(consumption.next().await);
        }
        for delivery in seen {
            assert_eq!(delivery.message().body.is_empty(), wanted != Some(delivery.message().id));
            delivery.release().await;
        }
        consumption.stop.cancel();
    }
    setup.close().await;
}

async fn a_key_that_nobody_is_bound_for_comes_back(setup: Setup) {
    assert_eq!(setup.publish(RETRY, "nowhere").await.1, Published::Returned);
    assert_eq!(setup.publish(DEFAULT, "nowhere").await.1, Published::Returned);
    let mixed = (0..50).map(|n| {
        let (exchange, key) = if n % 3 == 0 { (RETRY, "nowhere") } else { (EVENTS, "user.registered") };
        Publication { exchange, routing_key: key.into(), message: message(key) }
    });
    let answers = setup.broker.publish(mixed.collect()).await;
    for (n, answer) in answers.iter().enumerate() {
        let expected = if n % 3 == 0 { Published::Returned } else { Published::Confirmed };
        assert_eq!(*answer, expected, "the {n}th");
    }
    setup.close().await;
}

async fn each_message_goes_to_one_of_the_competing_consumers(setup: Setup) {
    let mut sent = std::collections::BTreeSet::new();
    for _ in 0..20 {
        sent.insert(setup.publish(EVENTS, "user.registered").await.0);
    }
    let (mut one, mut other) = (setup.consume("all", 1).await, setup.consume("all", 1).await);
    let mut got = Vec::new();
    while got.len() < 20 {
        let delivery = tokio::select! { delivery = one.next() => delivery, delivery = other.next() => delivery };
        got.push(delivery.message().id);
        assert!(delivery.ack().await.unwrap());
    }
    assert_eq!(got.iter().copied().collect::<std::collections::BTreeSet<_>>(), sent);
    within("the queue to be empty", async || setup.depth("all").await == 0).await;
    setup.close().await;
}

async fn prefetch_is_what_a_consumer_may_hold(setup: Setup) {
    for _ in 0..3 {
        setup.publish(EVENTS, "user.registered").await;
    }
    let mut slow = setup.consume("all", 1).await;
    let unacked = slow.next().await;
    let mut quick = setup.consume("all", 1).await;
    for _ in 0..2 {
        assert!(quick.next().await.ack().await.unwrap());
    }
    assert!(unacked.ack().await.unwrap());
    within("the queue to be empty", async || setup.depth("all").await == 0).await;
    setup.close().await;
}

async fn what_is_acknowledged_is_unacknowledged_no_more(setup: Setup) {
    let mut consumer = setup.consume("all", 1).await;
    let mut done = Vec::new();
    for _ in 0..3 {
        setup.publish(EVENTS, "user.registered").await;
        let delivery = consumer.next().await;
        assert!(delivery.ack().await.unwrap());
        // whoever acknowledges may go on reading
        done.push(delivery);
    }
    let stopped = tokio::time::timeout(Duration::from_secs(20), setup.close()).await;
    assert!(stopped.is_ok(), "stopping does not wait for it");
}

async fn a_prefetch_of_none_is_one(setup: Setup) {
    let mut consumer = setup.consume("all", 0).await;
    for _ in 0..2 {
        let (id, _) = setup.publish(EVENTS, "user.registered").await;
        let delivery = consumer.next().await;
        assert_eq!(delivery.message().id, id);
        assert!(delivery.ack().await.unwrap());
    }
    setup.close().await;
}

async fn what_is_not_acknowledged_comes_again(setup: Setup) {
    let (id, _) = setup.publish(EVENTS, "user.registered").await;
    let mut first = setup.consume("all", 1).await;
    let delivery = first.next().await;
    assert_eq!(delivery.message().id, id);
    // the consumer gives it up without a word to the queue, as one does that stops
    delivery.release().await;
    first.stop.cancel();
    let mut second = setup.consume("all", 1).await;
    let again = second.next().await;
    assert_eq!(again.message().id, id);
    assert!(again.ack().await.unwrap());
    within("the queue to be empty", async || setup.depth("all").await == 0).await;
    setup.close().await;
}

async fn what_is_given_back_comes_again_marked(setup: Setup) {
    let (id, _) = setup.publish(EVENTS, "user.registered").await;
    let mut consumer = setup.consume("all", 1).await;
    let delivery = consumer.next().await;
    assert!(!delivery.redelivered());
    delivery.release().await;
    let again = consumer.next().await;
    assert_eq!((again.message().id, again.redelivered()), (id, true));
    assert!(again.ack().await.unwrap());
    setup.close().await;
}

async fn a_parked_message_comes_back_to_exactly_its_queue(setup: Setup) {
    let exchange = setup.topology.tier(Duration::from_secs(1));
    let (id, answer) = setup.publish(exchange, "logins").await;
    assert_eq!(answer, Published::Confirmed);
    assert_eq!((setup.depth("logins").await, setup.depth("all").await), (0, 0), "it waits");
    let mut consumer = setup.consume("logins", 1).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.message().id, id);
    assert!(delivery.ack().await.unwrap());
    assert_eq!(setup.depth("all").await, 0, "nobody else saw it");
    setup.close().await;
}

async fn a_dead_letter_goes_to_those_of_its_queue(setup: Setup) {
    assert_eq!(setup.publish(DEAD, "logins").await.1, Published::Confirmed);
    within("it to be there", async || setup.depth("logins.dead").await == 1).await;
    for other in ["logins", "all", "all.dead"] {
        assert_eq!(setup.depth(other).await, 0, "{other}");
    }
    assert_eq!(setup.publish(DEAD, "nowhere").await.1, Published::Returned);
    setup.close().await;
}

async fn a_redriven_message_goes_to_the_queue_by_name(setup: Setup) {
    for (queue, other) in [("logins", "all"), ("logins.dead", "logins")] {
        let before = setup.depth(other).await;
        assert_eq!(setup.publish(DEFAULT, queue).await.1, Published::Confirmed);
        within("it to be there", async || setup.depth(queue).await == 1).await;
        assert_eq!(setup.depth(other).await, before);
    }
    setup.close().await;
}

async fn a_running_node_hears_everything_and_leaves_nothing_behind(setup: Setup) {
    let node = Queue { name: format!("node.{}", Uuid::new_v4().simple()), kind: QueueKind::Node };
    let stop = setup.stop.child_token();
    let mut deliveries = setup.broker.consume(&node, 10, stop.clone()).await.unwrap();
    let mut subscribed = deliveries.subscribed();
    let first = subscribed.wait_for(Option::is_some);
    tokio::time::timeout(Duration::from_secs(30), first).await.expect("a subscription").unwrap();
    let (id, _) = setup.publish(EVENTS, "session.revoked").await;
    let heard = tokio::time::timeout(Duration::from_secs(30), deliveries.next()).await.unwrap().unwrap();
    assert_eq!(heard.message().id, id);
    heard.ack().await.unwrap();
    assert_eq!(setup.publish(BROADCAST, "anything").await.1, Published::Confirmed, "a fanout asks for no key");
    let heard = tokio::time::timeout(Duration::from_secs(30), deliveries.next()).await.unwrap().unwrap();
    heard.ack().await.unwrap();
    stop.cancel();
    while deliveries.next().await.is_some() {}
    drop(deliveries);
    within("its queue to go", async || setup.publish(BROADCAST, "anything").await.1 == Published::Returned).await;
    setup.close().await;
}

async fn messages_outlive_who_published_them(setup: Setup) {
    let (id, _) = setup.publish(EVENTS, "login.failed").await;
    if let Broker::Embedded(embedded) = &setup.broker {
        embedded.declare().await.unwrap();
    }
    let mut consumer = setup.consume("logins", 1).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.message().id, id);
    assert!(delivery.ack().await.unwrap());
    assert!(!delivery.ack().await.unwrap_or(false), "what is gone cannot be acknowledged again");
    setup.close().await;
}

async fn a_stopped_consumer_hands_out_no_more(setup: Setup) {
    let mut consumer = setup.consume("all", 1).await;
    consumer.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), consumer.deliveries.next()).await;
    assert!(ended.expect("an end in time").is_none());
    setup.publish(EVENTS, "user.registered").await;
    within("it to wait for another", async || setup.depth("all").await == 1).await;
    setup.close().await;
}
