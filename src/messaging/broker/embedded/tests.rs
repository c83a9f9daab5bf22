use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::Clock;
use crate::db::{Db, Location};
use crate::messaging::broker::types::{Publication, Published};
use crate::messaging::message::Message;
use crate::messaging::notify::Notifier;
use crate::messaging::topology::{EVENTS, Exchange, Queue, QueueKind, TIERS, Topology};

async fn open() -> (TempDir, Embedded, Clock) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
    db.migrate().await.unwrap();
    let topology = Arc::new(Topology::new([("work", &["#"][..])], &[], [Duration::from_secs(10); TIERS.len()]));
    let clock = Clock::default();
    let broker = Embedded::new(db, clock.clone(), Notifier::default(), topology, TaskTracker::new());
    broker.declare().await.unwrap();
    (folder, broker, clock)
}

async fn publish(broker: &Embedded, exchange: Exchange, key: &str) {
    let message = Message {
        id: broker.clock.new_id(),
        kind: "user.registered".to_owned(),
        body: b"{}".to_vec(),
        traceparent: None,
        attempt: 0,
        failure: None,
    };
    let publication = Publication { exchange, routing_key: key.to_owned(), message };
    assert_eq!(broker.publish(vec![publication]).await, [Published::Confirmed]);
}

async fn consume(broker: &Embedded, prefetch: u16) -> LeasedDeliveries {
    let queue = Queue { name: "work".to_owned(), kind: QueueKind::Work };
    broker.consume(&queue, prefetch, CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn a_prefetched_message_whose_lease_has_ended_is_delivered_once() {
    let (_folder, broker, clock) = open().await;
    publish(&broker, EVENTS, "user.registered").await;
    publish(&broker, EVENTS, "user.registered").await;
    let mut slow = consume(&broker, 2).await;
    let first = slow.next().await.unwrap();
    // it works at the first one for longer than the second one was leased
    clock.advance(MESSAGE_LEASE * 2);
    assert!(first.renew().await.unwrap());
    let second = consume(&broker, 1).await.next().await.unwrap();
    assert_ne!(second.message.id, first.message.id);
    let again = tokio::time::timeout(Duration::from_millis(200), slow.next()).await;
    assert!(again.is_err(), "both have it: {again:?}");
    assert!(second.ack().await.unwrap());
}

#[tokio::test]
async fn who_has_lost_a_message_neither_settles_it_nor_gives_it_back() {
    let (_folder, broker, clock) = open().await;
    publish(&broker, EVENTS, "user.registered").await;
    let lost = consume(&broker, 1).await.next().await.unwrap();
    clock.advance(MESSAGE_LEASE);
    let taken = consume(&broker, 1).await.next().await.unwrap();
    assert!(!lost.renew().await.unwrap());
    assert!(!lost.ack().await.unwrap());
    lost.release().await;
    let third = tokio::time::timeout(Duration::from_millis(200), consume(&broker, 1).await.next()).await;
    assert!(third.is_err(), "a third has it: {third:?}");
    assert!(taken.ack().await.unwrap(), "it is still there for who has it");
}

#[tokio::test]
async fn a_prefetched_message_that_nobody_took_is_kept() {
    let (_folder, broker, clock) = open().await;
    publish(&broker, EVENTS, "user.registered").await;
    publish(&broker, EVENTS, "user.registered").await;
    let mut slow = consume(&broker, 2).await;
    assert!(slow.next().await.unwrap().ack().await.unwrap());
    clock.advance(MESSAGE_LEASE / 2);
    let second = slow.next().await.unwrap();
    clock.advance(MESSAGE_LEASE * 3 / 4);
    let permit = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
    assert_eq!(
        broker.claim(&Queue { name: "work".into(), kind: QueueKind::Work }, permit).await.unwrap().len(),
        0,
        "the lease was renewed when it was delivered"
    );
    assert!(second.ack().await.unwrap());
}

#[tokio::test]
async fn a_message_that_waits_for_a_missing_queue_is_in_nobodys_way() {
    let (_folder, broker, clock) = open().await;
    let tier = broker.topology.tier(Duration::ZERO);
    publish(&broker, tier, "gone").await;
    publish(&broker, tier, "work").await;
    clock.advance(Duration::from_secs(20));
    assert_eq!(broker.maintain().await.unwrap(), 1, "the one with a queue goes on");
    assert_eq!(broker.maintain().await.unwrap(), 0, "and there is nothing to hurry for");
    assert_eq!(broker.depths().await.unwrap().iter().map(|depth| depth.messages).sum::<u64>(), 2, "both are kept");
}
