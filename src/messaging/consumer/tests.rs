use std::collections::BTreeMap;

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
