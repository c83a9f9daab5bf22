//! Fanout: a copy for every queue that is bound at that moment, whatever the key.

use bellhop::messaging::broker::Published;
use bellhop::messaging::topology::BROADCAST;

use super::{bound, expect_depths, hear_out, node};
use crate::brokers::{House, Kind, on_every_broker};

async fn open(kind: Kind) -> House {
    House::open(kind, bound(BROADCAST, &[])).await
}

on_every_broker!(
    every_queue_that_is_bound_gets_a_copy_of_its_own_whatever_the_key,
    what_was_published_before_a_queue_was_bound_is_gone,
);

async fn every_queue_that_is_bound_gets_a_copy_of_its_own_whatever_the_key(house: House) {
    let queues: [(&str, &[&str]); 3] = [("bar", &[""]), ("kitchen", &["kitchen"]), ("garage", &["#", "x"])];
    let house = house.restart(bound(BROADCAST, &queues)).await;
    for (copies, key) in (1..).zip(["", "kitchen", "x", "a.b", "*"]) {
        assert_eq!(house.publish(BROADCAST, key).await.1, Published::Confirmed, "{key}");
        expect_depths(&house, &[("bar", copies), ("kitchen", copies), ("garage", copies)], key).await;
    }
    let taken = house.consume("bar", 1).await.next().await;
    assert!(taken.ack().await.unwrap());
    drop(taken);
    expect_depths(&house, &[("kitchen", 5), ("garage", 5)], "one was taken at the bar").await;
    house.close().await;
}

async fn what_was_published_before_a_queue_was_bound_is_gone(house: House) {
    assert_eq!(house.publish(BROADCAST, "").await.1, Published::Returned, "nobody is there");
    let mut early = node(&house).await;
    let (second, answer) = house.publish(BROADCAST, "").await;
    assert_eq!(answer, Published::Confirmed);
    let mut late = node(&house).await;
    let (third, _) = house.publish(BROADCAST, "").await;
    assert_eq!((hear_out(&mut early).await, hear_out(&mut early).await), (second, third));
    assert_eq!(hear_out(&mut late).await, third, "and nothing from before");
    drop((early, late));
    house.close().await;
}
