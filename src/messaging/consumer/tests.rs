use std::collections::BTreeMap;

use crate::messaging::broker::embedded::MESSAGE_LEASE;

use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use tower::service_fn;

use super::*;
use crate::db::Location;
use crate::messaging::broker::embedded::Embedded;
use crate::messaging::notify::Notifier;
use crate::messaging::topology::{EVENTS, TIERS};

/// A consumer of the queue `work` on the embedded broker, whose listener always answers with this error.
struct Failing {
    consumer: Consumer,
    embedded: Embedded,
    _folder: TempDir,
}

impl Failing {
    async fn with(error: fn() -> sqlx::Error) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let (clock, retry) = (Clock::default(), RetryPolicy::default());
        let topology = Arc::new(Topology::new([("work", &["#"][..])], &[], retry.tiers));
        let (notifier, tasks) = (Notifier::default(), TaskTracker::new());
        let embedded = Embedded::new(db.clone(), clock.clone(), notifier, Arc::clone(&topology), tasks);
        embedded.declare().await.unwrap();
        let message = Message {
            id: clock.new_id(),
            kind: "user.registered".into(),
            body: b"{}".to_vec(),
            traceparent: None,
            attempt: 0,
            failure: None,
        };
        let event = Publication { exchange: EVENTS, routing_key: message.kind.clone(), message };
        assert_eq!(embedded.publish(vec![event]).await, [Published::Confirmed]);
        let consumer = Consumer {
            broker: Broker::Embedded(embedded.clone()),
            db,
            clock,
            topology,
            retry,
            queue: "work",
            listener: Stack::new(service_fn(move |_| async move { Err(error().into()) })),
            prefetch: 1,
            at_once: 1,
            backpressure: Backpressure::default(),
        };
        Failing { consumer, embedded, _folder: folder }
    }

    /// The listener is called once; how many messages there are in each queue then.
    async fn call(&mut self) -> BTreeMap<String, u64> {
        let delivery = self.next("work").await;
        self.consumer.handle(delivery).await;
        let depths = self.embedded.depths().await.unwrap().into_iter().filter(|depth| depth.messages > 0);
        depths.map(|depth| (depth.queue, depth.messages)).collect()
    }

    async fn next(&self, queue: &str) -> Delivery {
        let queue = Queue { name: queue.into(), kind: QueueKind::Work };
        let mut deliveries = self.consumer.broker.consume(&queue, 1, CancellationToken::new()).await.unwrap();
        deliveries.next().await.unwrap()
    }

    /// So much time passes, and what waited long enough goes back to its queue.
    async fn pass(&self, time: Duration) {
        self.consumer.clock.advance(time);
        self.embedded.maintain().await.unwrap();
    }
}

/// So much time passes for whoever sleeps.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn one(queue: &str) -> BTreeMap<String, u64> {
    BTreeMap::from([(queue.to_owned(), 1)])
}

#[tokio::test]
async fn an_error_of_the_protocol_counts_as_away_until_it_has_lasted_as_long_as_a_failure_may() {
    let mut failing = Failing::with(|| sqlx::Error::Protocol("unexpected message".into())).await;
    for _ in 0..4 {
        assert_eq!(failing.call().await, one(TIERS[0]), "as long as a short outage, however often");
        failing.pass(Duration::from_secs(11)).await;
    }
    failing.pass(failing.consumer.retry.total).await;
    assert_eq!(failing.call().await, one("work.dead"));
    let failure = failing.next("work.dead").await.message().failure.clone().unwrap();
    assert!(failure.reason.starts_with("gave up after 48 hours: "), "{failure:?}");
    assert!(failure.reason.contains("unexpected message"), "{failure:?}");
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_without_end() {
    let mut failing = Failing::with(|| sqlx::Error::PoolTimedOut).await;
    for _ in 0..4 {
        assert_eq!(failing.call().await, one(TIERS[0]));
        failing.pass(failing.consumer.retry.total).await;
    }
}

#[tokio::test]
async fn other_failures_wait_longer_each_time() {
    let mut failing = Failing::with(|| sqlx::Error::RowNotFound).await;
    for tier in TIERS {
        assert_eq!(failing.call().await, one(tier));
        failing.pass(Duration::from_hours(6)).await;
    }
}

#[tokio::test]
async fn a_message_that_is_worked_at_for_long_stays_with_who_works_at_it_and_one_that_was_lost_is_left_alone() {
    let failing = Failing::with(|| sqlx::Error::RowNotFound).await;
    let Failing { consumer: Consumer { clock, db, .. }, .. } = &failing;
    let leased_until =
        async || db.query("select leased_until from broker_message").one::<(Timestamp,)>().await.unwrap().0;
    let delivery = failing.next("work").await;
    let mut slow = failing.consumer.clone();
    slow.listener = Stack::new(service_fn(|_| std::future::pending()));
    let working = TaskTracker::new().spawn(async move { slow.handle(delivery).await });
    tokio::task::yield_now().await;
    clock.advance(MESSAGE_LEASE * 9 / 10);
    let before = leased_until().await;
    pass(Delivery::RENEWAL_INTERVAL).await;
    let renewed = async {
        while leased_until().await == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("it is renewed");

    clock.advance(MESSAGE_LEASE * 2);
    let other = failing.next("work").await;
    pass(Delivery::RENEWAL_INTERVAL).await;
    tokio::time::timeout(Duration::from_secs(20), working).await.expect("it gives up").unwrap();
    assert!(other.ack().await.unwrap(), "it has neither settled nor parked what is another's");
    assert!(failing.embedded.depths().await.unwrap().iter().all(|depth| depth.messages == 0));
}

#[tokio::test]
async fn what_has_been_failing_for_two_days_is_given_up_and_no_sooner() {
    let mut failing = Failing::with(|| sqlx::Error::RowNotFound).await;
    let six_hours = Duration::from_hours(6);
    for _ in 0..failing.consumer.retry.total.as_secs() / six_hours.as_secs() {
        assert_ne!(failing.call().await, one("work.dead"));
        failing.pass(six_hours).await;
    }
    assert_eq!(failing.call().await, one("work.dead"));
    let failure = failing.next("work.dead").await.message().failure.clone().unwrap();
    assert!(failure.reason.starts_with("gave up after 9 attempts: "), "{failure:?}");
    assert!(failure.last_at - failure.first_at >= chrono::Duration::hours(48), "{failure:?}");
}
