//! Work queue: what each of several consumers of one queue gets. One of them is slow, which here means that it settles
//! only when the other has done so and so many; no time passes in these tests.

use std::collections::BTreeSet;

use bellhop::messaging::topology::{DEFAULT, Topology};
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::{FieldTable, ShortString};
use uuid::Uuid;

use super::{amqp, declare, next, send};
use crate::brokers::{Consumption, Kind, Setup, WAITS, on_every_broker};
use crate::support::app::within;
use crate::support::rabbit::vhost;

const MESSAGES: usize = 12;

async fn open(kind: Kind) -> Setup {
    Setup::open(kind, Topology::new([("bags", &[][..])], &[], WAITS)).await
}

on_every_broker!(
    with_a_prefetch_of_one_the_quick_consumer_takes_three_times_as_many,
    with_a_prefetch_of_half_of_them_each_consumer_has_its_half_however_slow_it_is,
);

async fn with_a_prefetch_of_one_the_quick_consumer_takes_three_times_as_many(setup: Setup) {
    let sent = publish(&setup).await;
    let (mut slow, mut quick) = (setup.consume("bags", 1).await, setup.consume("bags", 1).await);
    let (mut of_slow, mut of_quick) = (BTreeSet::new(), BTreeSet::new());
    while of_slow.len() + of_quick.len() < MESSAGES {
        // the slow one is at one message for as long as the quick one needs for three
        let unacked = slow.next().await;
        of_quick.extend(take(&mut quick, 3).await);
        assert!(unacked.ack().await.unwrap());
        of_slow.insert(unacked.message().id);
    }
    assert_eq!((of_slow.len(), of_quick.len()), (3, 9));
    assert_eq!(of_slow.union(&of_quick).copied().collect::<BTreeSet<_>>(), sent, "each went to one of them");
    within("the queue to be empty", async || setup.depth("bags").await == 0).await;
    setup.close().await;
}

async fn with_a_prefetch_of_half_of_them_each_consumer_has_its_half_however_slow_it_is(setup: Setup) {
    let mut sent = publish(&setup).await;
    let (mut slow, mut quick) = (setup.consume("bags", 6).await, setup.consume("bags", 6).await);
    let unacked = slow.next().await;
    let mut of_quick = take(&mut quick, 6).await;
    // the queue keeps the order: had it anything left, that would come before this one
    let (last, _) = setup.publish(DEFAULT, "bags").await;
    assert_eq!(take(&mut quick, 1).await, BTreeSet::from([last]), "all the rest is with the slow one");
    sent.insert(last);
    of_quick.insert(last);
    assert!(unacked.ack().await.unwrap());
    let mut of_slow = take(&mut slow, 5).await;
    of_slow.insert(unacked.message().id);
    assert_eq!(of_slow.union(&of_quick).copied().collect::<BTreeSet<_>>(), sent, "each went to one of them");
    within("the queue to be empty", async || setup.depth("bags").await == 0).await;
    setup.close().await;
}

async fn publish(setup: &Setup) -> BTreeSet<Uuid> {
    let mut sent = BTreeSet::new();
    for _ in 0..MESSAGES {
        sent.insert(setup.publish(DEFAULT, "bags").await.0);
    }
    sent
}

/// The next messages, one after the other, acknowledged.
async fn take(consumer: &mut Consumption, count: usize) -> BTreeSet<Uuid> {
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let delivery = consumer.next().await;
        assert!(delivery.ack().await.unwrap());
        ids.insert(delivery.message().id);
    }
    ids
}

#[tokio::test]
async fn without_a_prefetch_rabbitmq_deals_equal_shares_as_messages_come_whoever_is_slow() {
    let url = vhost().await;
    let (_connection, channel) = amqp(&url).await;
    for kind in ["classic", "quorum"] {
        declare(&channel, kind, kind, true).await;
        // a channel on which no prefetch was asked for is one without a limit
        let (_one, slow) = amqp(&url).await;
        let (_other, quick) = amqp(&url).await;
        let consume = async |channel: &lapin::Channel| {
            let options = BasicConsumeOptions::default();
            channel.basic_consume(kind.into(), ShortString::default(), options, FieldTable::default()).await
        };
        let (mut slow, mut quick) = (consume(&slow).await.unwrap(), consume(&quick).await.unwrap());
        let mut got = BTreeSet::new();
        for n in 0..MESSAGES {
            send(&channel, kind, &format!("{n:02}"), 2).await;
        }
        // the quick one acknowledges each at once, and gets no more for it
        for _ in 0..MESSAGES / 2 {
            let delivery = next(&mut quick).await;
            assert!(delivery.acker.ack(BasicAckOptions::default()).await.unwrap());
            got.insert(delivery.data);
        }
        // the slow one has acknowledged none, and has the other half
        for _ in 0..MESSAGES / 2 {
            got.insert(next(&mut slow).await.data);
        }
        let all: BTreeSet<Vec<u8>> = (0..MESSAGES).map(|n| format!("{n:02}").into_bytes()).collect();
        assert_eq!(got, all, "{kind}");
    }
}
