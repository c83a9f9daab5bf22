//! Fanout: a copy for every queue that is bound at that moment, whatever the key.

use bellhop::messaging::broker::Published;
use bellhop::messaging::topology::BROADCAST;

use super::{bound, expect_depths, hear_out, node};
use crate::brokers::{Kind, Setup, on_every_broker};

async fn open(kind: Kind) -> Setup {
    Setup::open(kind, bound(BROADCAST, &[])).await
}

on_every_broker!(
    every_queue_that_is_bound_gets_a_copy_of_its_own_whatever_the_key,
    what_was_published_before_a_queue_was_bound_is_gone,
);

async fn every_queue_that_is_bound_gets_a_copy_of_its_own_whatever_the_key(setup: Setup) {
    let queues: [(&str, &[&str]); 3] = [("bar", &[""]), ("kitchen", &["kitchen"]), ("garage", &["#", "x"])];
    let setup = setup.restart(bound(BROADCAST, &queues)).await;
    for (copies, key) in (1..).zip(["", "kitchen", "x", "a.b", "*"]) {
        assert_eq!(setup.publish(BROADCAST, key).await.1, Published::Confirmed, "{key}");
        expect_depths(&setup, &[("bar", copies), ("kitchen", copies), ("garage", copies)], key).await;
    }
    let taken = setup.consume("bar", 1).await.next().await;
    assert!(taken.ack().await.unwrap());
    drop(taken);
    expect_depths(&setup, &[("kitchen", 5), ("garage", 5)], "one was taken at the bar").await;
    setup.close().await;
}

async fn what_was_published_before_a_queue_was_bound_is_gone(setup: Setup) {
    assert_eq!(setup.publish(BROADCAST, "").await.1, Published::Returned, "nobody is there");
    let mut early = node(&setup).await;
    let (second, answer) = setup.publish(BROADCAST, "").await;
    assert_eq!(answer, Published::Confirmed);
    let mut late = node(&setup).await;
    let (third, _) = setup.publish(BROADCAST, "").await;
    assert_eq!((hear_out(&mut early).await, hear_out(&mut early).await), (second, third));
    assert_eq!(hear_out(&mut late).await, third, "and nothing from before");
    drop((early, late));
    setup.close().await;
}
