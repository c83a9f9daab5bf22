//! The broker's surface on `RabbitMQ`, with its connections cut, stalled and blocked, and its node killed.
//!
//! Each test has a prefix of its own on the node that TEST_BROKER_URL names; those that kill or alarm have a node of
//! their own.

mod node;
mod proxy;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellhop::config::TopologyMode;
use bellhop::messaging::broker::{Health, Publication, Published};
use bellhop::messaging::message::{Failure, Message};
use bellhop::messaging::rabbit::{Deliveries, Delivery, Rabbit};
use bellhop::messaging::topology::{BROADCAST, DEFAULT, EVENTS, Exchange, Queue, QueueKind, RETRY, TIERS, Topology};
use chrono::DateTime;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::node::Node;
use self::proxy::{Proxy, Way};

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
        until("connected", async || self.rabbit.health().await == Health::Up).await;
    }

    async fn consume(&self, queue: &str) -> Deliveries {
        self.consume_many(queue, 1).await
    }

    async fn consume_many(&self, queue: &str, prefetch: u16) -> Deliveries {
        let queue = Queue { name: queue.into(), kind: QueueKind::Work };
        self.rabbit.consume(&queue, prefetch, self.stop.clone()).await.expect("running")
    }

    async fn node_queue(&self, name: &str) -> Deliveries {
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
    Topology::new(listeners.iter().copied(), [Duration::from_millis(200); TIERS.len()])
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

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !is().await {
        assert!(since.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn next(deliveries: &mut Deliveries) -> Delivery {
    let next = tokio::time::timeout(Duration::from_secs(60), deliveries.next()).await;
    next.expect("a delivery in time").expect("a subscription that goes on")
}

/// The next messages, acknowledged.
async fn take(deliveries: &mut Deliveries, count: usize) -> BTreeSet<Uuid> {
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let delivery = next(deliveries).await;
        assert!(delivery.ack().await.expect("a connection"));
        ids.insert(delivery.message.id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_to_every_queue_whose_pattern_takes_it_and_to_no_other() {
    let process =
        Process::fresh(topology_of(&[("words", &["user.*"]), ("all", &["user.#"]), ("failures", &["login.failed"])]))
            .await;
    let [registered, changed, failed] = ["user.registered", "user.email.changed", "login.failed"].map(message);
    let answers = process.rabbit.publish(events(&[registered.clone(), changed.clone(), failed.clone()])).await;
    assert_eq!(answers, [Published::Confirmed, Published::Confirmed, Published::Confirmed]);

    assert_eq!(take(&mut process.consume("words").await, 1).await, BTreeSet::from([registered.id]));
    assert_eq!(take(&mut process.consume("all").await, 2).await, BTreeSet::from([registered.id, changed.id]));
    assert_eq!(take(&mut process.consume("failures").await, 1).await, BTreeSet::from([failed.id]));
    for queue in ["words", "all", "failures"] {
        process.until_depth(queue, 0).await;
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_as_it_was_published() {
    let process = Process::fresh(topology()).await;
    let at = |micros| DateTime::from_timestamp_micros(micros).expect("a time");
    let sent = Message {
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        attempt: 3,
        failure: Some(Failure {
            queue: "work".into(),
            reason: "451 häppens".into(),
            first_at: at(1_790_000_000_000_001),
            last_at: at(1_790_000_123_456_789),
        }),
        ..message("user.registered")
    };
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);
    let delivery = next(&mut process.consume("work").await).await;
    assert_eq!(delivery.message, sent);
    assert_eq!((delivery.queue.as_str(), delivery.redelivered, delivery.undecodable.as_deref()), ("work", false, None));
    assert!(delivery.ack().await.expect("a connection"));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_running_node_gets_a_copy_and_its_queue_goes_with_it() {
    let process = Process::fresh(topology()).await;
    let (mut here, mut there) = (process.node_queue("node.here").await, process.node_queue("node.there").await);
    let revoked = message("session.revoked");
    assert_eq!(process.publish(EVENTS, "session.revoked", &revoked).await, Published::Confirmed);
    assert_eq!(take(&mut here, 1).await, BTreeSet::from([revoked.id]));
    assert_eq!(take(&mut there, 1).await, BTreeSet::from([revoked.id]));
    let direct = message("session.revoked");
    assert_eq!(process.publish(BROADCAST, "", &direct).await, Published::Confirmed);
    assert_eq!(take(&mut here, 1).await, BTreeSet::from([direct.id]));

    let (_connection, channel) = process.beside().await;
    let name = format!("{}node.here", process.prefix);
    process.stop().await;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let gone = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
    assert!(gone.expect_err("no such queue").to_string().contains("NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_comes_back_to_the_queue_it_failed_in_and_to_no_other() {
    let process = Process::fresh(topology_of(&[("work", &["user.#"]), ("other", &["user.#"])])).await;
    let parked = message("user.registered");
    let tier = Exchange { name: TIERS[1], ..process_tier() };
    assert_eq!(process.publish(tier, "work", &parked).await, Published::Confirmed);
    let mut work = process.consume("work").await;
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([parked.id]));

    let retried = message("user.registered");
    assert_eq!(process.publish(RETRY, "work", &retried).await, Published::Confirmed);
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([retried.id]));
    process.until_depth("other", 0).await;
    process.until_depth(TIERS[1], 0).await;
    process.stop().await;
}

fn process_tier() -> Exchange {
    topology().tier(Duration::ZERO)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_rests_until_it_is_put_back_by_the_name_of_its_queue() {
    let process = Process::fresh(topology()).await;
    let dead = message("user.registered");
    assert_eq!(process.publish(DEFAULT, "work.dead", &dead).await, Published::Confirmed);
    process.until_depth("work.dead", 1).await;
    let mut resting = process.consume("work.dead").await;
    let delivery = next(&mut resting).await;
    assert_eq!(process.publish(DEFAULT, "work", &delivery.message).await, Published::Confirmed);
    assert!(delivery.ack().await.expect("a connection"));
    assert_eq!(take(&mut process.consume("work").await, 1).await, BTreeSet::from([dead.id]));
    process.until_depth("work.dead", 0).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_is_told_apart_in_a_large_batch() {
    let process = Process::fresh(topology()).await;
    let kinds = (0..500_u32).map(|n| if n % 7 == 0 || n % 11 == 3 { "nobody.cares" } else { "user.registered" });
    let messages: Vec<Message> = kinds.map(message).collect();
    for _ in 0..5 {
        let answers = process.rabbit.publish(events(&messages)).await;
        for (message, answer) in messages.iter().zip(answers) {
            let routable = message.kind == "user.registered";
            assert_eq!(answer, if routable { Published::Confirmed } else { Published::Returned }, "{}", message.id);
        }
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_message_is_gone_and_a_released_one_comes_again() {
    let process = Process::fresh(topology()).await;
    let sent = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);
    let mut work = process.consume("work").await;
    next(&mut work).await.release().await;
    let again = next(&mut work).await;
    assert_eq!((again.message.id, again.redelivered), (sent.id, true));
    assert!(again.ack().await.expect("a connection"));
    assert!(!again.ack().await.expect("a connection"), "a second answer is none");
    drop(work);
    process.until_depth("work", 0).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_gives_back_what_was_in_hand_and_the_subscription_returns_by_itself() {
    let url = broker_url();
    let proxy = Proxy::to(address(&url)).await;
    let by_proxy = format!("amqp://guest:guest@127.0.0.1:{}/%2f", proxy.port());
    let process = Process::start(&by_proxy, &fresh_prefix(), topology(), TopologyMode::Apply);
    process.until_up().await;
    let node = process.node_queue("node.here").await;
    let mut subscribed = node.subscribed();
    let first = subscribed.borrow().expect("a subscription");

    let sent = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);
    let mut work = process.consume("work").await;
    let in_hand = next(&mut work).await;

    proxy.set(Way::Cut);
    subscribed.wait_for(Option::is_none).await.expect("told");
    until("away", async || process.rabbit.health().await != Health::Up).await;
    let since = Instant::now();
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "fails fast while the broker is away");
    assert!(!in_hand.kept());
    assert!(!in_hand.ack().await.unwrap_or(false), "what is lost cannot be acknowledged");

    proxy.set(Way::Open);
    let again = next(&mut work).await;
    assert_eq!((again.message.id, again.redelivered), (sent.id, true));
    assert!(again.ack().await.expect("a connection"));
    let second = subscribed.wait_for(Option::is_some).await.expect("a subscription").expect("a number");
    assert!(second > first, "a gap shows in the number");
    process.until_up().await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_costs_a_batch_its_time_limit_and_no_more() {
    let url = broker_url();
    let proxy = Proxy::to(address(&url)).await;
    let by_proxy = format!("amqp://guest:guest@127.0.0.1:{}/%2f", proxy.port());
    let process = Process::start(&by_proxy, &fresh_prefix(), topology(), TopologyMode::Apply);
    process.until_up().await;
    let sent = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);

    proxy.set(Way::Stalled);
    let since = Instant::now();
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    assert!(since.elapsed() < Duration::from_secs(12));
    let since = Instant::now();
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "the connection was given up");

    proxy.set(Way::Open);
    until("confirmed", async || process.publish(EVENTS, "user.registered", &sent).await == Published::Confirmed).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_whoever_takes_it_ends_among_the_dead_letters_with_the_reason() {
    let process = Process::fresh(topology()).await;
    let poison = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &poison).await, Published::Confirmed);
    let mut dead = process.consume("work.dead").await;
    let mut deaths = 0;
    let resting = loop {
        let mut work = process.consume("work").await;
        tokio::select! {
            delivery = work.next() => drop((delivery.expect("a subscription"), work)),
            delivery = dead.next() => break delivery.expect("a subscription"),
        }
        deaths += 1;
    };
    assert_eq!(deaths, 21, "the limit of 20 returns");
    let failure = resting.message.failure.clone().expect("a reason");
    assert_eq!((resting.message.id, failure.queue.as_str()), (poison.id, "work"));
    assert!(failure.reason.contains("delivery_limit"), "{}", failure.reason);
    assert!(resting.ack().await.expect("a connection"));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_sent_arrives_with_what_is_wrong_with_it() {
    let process = Process::fresh(topology()).await;
    let (_connection, channel) = process.beside().await;
    let queue = format!("{}work", process.prefix);
    let sent = channel.basic_publish(
        "".into(),
        queue.as_str().into(),
        BasicPublishOptions::default(),
        b"hello",
        BasicProperties::default().with_message_id("17".into()),
    );
    sent.await.expect("a channel").await.expect("a channel");
    let mut work = process.consume("work").await;
    let delivery = next(&mut work).await;
    assert_eq!(delivery.undecodable.as_deref(), Some("message_id is \"17\", not a UUID; type is missing"));
    assert_eq!(delivery.message.body, b"hello");
    let id = delivery.message.id;
    delivery.release().await;
    let again = next(&mut work).await;
    assert_eq!(again.message.id, id, "the id that is made up is the same each time");
    assert!(again.ack().await.expect("a connection"));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_reported_used_and_mended_by_the_command_in_the_report() {
    let (url, prefix) = (broker_url(), fresh_prefix());
    let (_connection, channel) = beside(&url).await;
    let name = format!("{prefix}work");
    let declared = channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default());
    declared.await.expect("declared");

    let process = Process::start(&url, &prefix, topology(), TopologyMode::Apply);
    let mut report = String::new();
    until("a report", async || match process.rabbit.health().await {
        Health::Degraded(text) if text.contains("other arguments") => {
            report = text;
            true
        }
        _ => false,
    })
    .await;
    for part in [
        &format!("queue {name} exists"),
        "x-queue-type is",
        "x-delivery-limit=20",
        &format!("rabbitmqctl -p / delete_queue {name}"),
    ] {
        assert!(report.contains(part), "{part} is not in: {report}");
    }
    let sent = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);
    let mut work = process.consume("work").await;
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([sent.id]));

    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("deleted");
    process.until_up().await;
    let sent = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([sent.id]));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_makes_nothing_and_names_what_is_missing() {
    let process = Process::start(&broker_url(), &fresh_prefix(), topology(), TopologyMode::Verify);
    until("a report", async || match process.rabbit.health().await {
        Health::Degraded(text) => {
            text.contains(&format!("queue {}work does not exist", process.prefix))
                && text.contains(&format!("exchange {}events does not exist", process.prefix))
        }
        Health::Up => false,
    })
    .await;
    assert_eq!(process.rabbit.depths().await.expect("connected"), []);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_hands_out_what_was_prefetched_and_waits_for_its_answers() {
    let process = Process::fresh(topology()).await;
    let messages: Vec<Message> = (0..30).map(|_| message("user.registered")).collect();
    process.rabbit.publish(events(&messages)).await;
    let mut work = process.consume_many("work", 10).await;
    let first = next(&mut work).await;
    process.stop.cancel();
    let mut taken = 1;
    while let Some(delivery) = work.next().await {
        assert!(delivery.ack().await.expect("a connection"));
        taken += 1;
    }
    assert!(first.ack().await.expect("a connection"), "the channel waits for the last answer");
    drop(first);
    assert!(taken <= 10, "nothing was fetched after the stop: {taken}");
    let (url, prefix) = (process.url.clone(), process.prefix.clone());
    process.stop().await;

    let later = Process::start(&url, &prefix, topology(), TopologyMode::Apply);
    later.until_up().await;
    later.until_depth("work", 30 - taken).await;
    later.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_when_the_broker_is_killed() {
    let node = Node::start();
    let process = Process::start(&node.url(), "bellhop.", topology(), TopologyMode::Apply);
    process.until_up().await;

    let consumed: Arc<Mutex<HashSet<Uuid>>> = Arc::default();
    let mut work = process.consume_many("work", 20).await;
    let seen = Arc::clone(&consumed);
    let consumer = process.tasks.spawn(async move {
        while let Some(delivery) = work.next().await {
            if delivery.ack().await.unwrap_or(false) {
                seen.lock().expect("no panic").insert(delivery.message.id);
            }
        }
    });
    let confirmed: Arc<Mutex<HashSet<Uuid>>> = Arc::default();
    let (enough, told, rabbit) = (CancellationToken::new(), Arc::clone(&confirmed), process.rabbit.clone());
    let until_enough = enough.clone();
    let publisher = process.tasks.spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while !until_enough.is_cancelled() {
            pace.tick().await;
            let messages: Vec<Message> = (0..20).map(|_| message("user.registered")).collect();
            for (message, answer) in messages.iter().zip(rabbit.publish(events(&messages)).await) {
                if answer == Published::Confirmed {
                    told.lock().expect("no panic").insert(message.id);
                }
            }
        }
    });
    let count = |ids: &Mutex<HashSet<Uuid>>| ids.lock().expect("no panic").len();

    for _ in 0..2 {
        let goal = count(&confirmed) + 500;
        until("under way", async || count(&confirmed) > goal).await;
        node.kill();
        until("noticed", async || process.rabbit.health().await != Health::Up).await;
        let since = Instant::now();
        let answer = process.publish(EVENTS, "user.registered", &message("user.registered")).await;
        assert!(matches!(answer, Published::Failed(_)));
        assert!(since.elapsed() < Duration::from_secs(1), "fails fast while the broker is away");
        node.boot();
    }
    let goal = count(&confirmed) + 500;
    until("under way again", async || count(&confirmed) > goal).await;
    enough.cancel();
    publisher.await.expect("no panic");
    until("everything confirmed is consumed", async || {
        confirmed.lock().expect("no panic").is_subset(&consumed.lock().expect("no panic"))
    })
    .await;
    process.stop().await;
    consumer.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_the_broker_fails_publications_and_lets_consumers_work() {
    let node = Node::start();
    let process = Process::start(&node.url(), "bellhop.", topology(), TopologyMode::Apply);
    process.until_up().await;
    let waiting = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &waiting).await, Published::Confirmed);

    assert!(node.control(&["set_vm_memory_high_watermark", "absolute", "10MB"]));
    let sent = message("user.registered");
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    let told = |health| matches!(health, Health::Degraded(text) if text.contains("takes no messages"));
    assert!(told(process.rabbit.health().await));
    let since = Instant::now();
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "known by now");
    let mut work = process.consume("work").await;
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([waiting.id]));

    assert!(node.control(&["set_vm_memory_high_watermark", "absolute", "1GiB"]));
    process.until_up().await;
    let later = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &later).await, Published::Confirmed);
    // what was in doubt may come too
    let mut ids = take(&mut work, 1).await;
    if !ids.contains(&later.id) {
        assert_eq!(ids, BTreeSet::from([sent.id]));
        ids = take(&mut work, 1).await;
    }
    assert_eq!(ids, BTreeSet::from([later.id]));
    process.stop().await;
}
