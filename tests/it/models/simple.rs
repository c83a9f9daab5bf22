//! Simple: one queue, by its name, and what becomes of a message whose consumer fails.

use bellhop::messaging::broker::Published;
use bellhop::messaging::broker::embedded::MESSAGE_LEASE;
use bellhop::messaging::topology::{BROADCAST, DEFAULT, Topology};
use lapin::options::{BasicConsumeOptions, BasicGetOptions};
use lapin::types::{FieldTable, ShortString};

use super::{amqp, declare, hear, hear_out, look, next, node, send};
use crate::brokers::{Kind, Setup, WAITS, on_every_broker};
use crate::support::app::within;
use crate::support::rabbit::vhost;

async fn open(kind: Kind) -> Setup {
    Setup::open(kind, Topology::new([("letters", &[][..])], &[], WAITS)).await
}

on_every_broker!(
    a_message_outlives_the_consumer_that_fails_with_it,
    what_a_nodes_own_queue_has_handed_out_never_comes_again,
);

async fn a_message_outlives_the_consumer_that_fails_with_it(setup: Setup) {
    let (id, answer) = setup.publish(DEFAULT, "letters").await;
    assert_eq!(answer, Published::Confirmed);
    let mut first = setup.consume("letters", 1).await;
    let unacked = first.next().await;
    assert_eq!((unacked.message().id, unacked.redelivered()), (id, false));
    // it is neither acknowledged nor given back
    drop((unacked, first));
    // RabbitMQ notices at once; on the embedded broker the lease must end
    setup.clock.advance(MESSAGE_LEASE);
    let again = setup.consume("letters", 1).await.next().await;
    assert_eq!((again.message().id, again.redelivered()), (id, true));
    assert!(again.ack().await.unwrap());
    within("the queue to be empty", async || setup.depth("letters").await == 0).await;
    setup.close().await;
}

/// The one queue of ours from which a message may be lost with whoever failed: what a node did not hear, it reads in the
/// database a second later.
async fn what_a_nodes_own_queue_has_handed_out_never_comes_again(setup: Setup) {
    let mut node = node(&setup).await;
    setup.publish(BROADCAST, "session.revoked").await;
    drop(hear(&mut node).await);
    setup.clock.advance(MESSAGE_LEASE);
    let (second, answer) = setup.publish(BROADCAST, "session.revoked").await;
    assert_eq!(answer, Published::Confirmed);
    assert_eq!(hear_out(&mut node).await, second, "the first one is gone");
    drop(node);
    setup.close().await;
}

#[tokio::test]
async fn rabbitmq_loses_what_it_may_take_for_acknowledged_and_keeps_what_it_may_not() {
    let url = vhost().await;
    let (_connection, channel) = amqp(&url).await;
    for (no_ack, left) in [(true, 0), (false, 1)] {
        let queue = format!("letters-{no_ack}");
        declare(&channel, &queue, "classic", true).await;
        send(&channel, &queue, "a letter", 2).await;

        let (consuming, failing) = amqp(&url).await;
        let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
        let consumer =
            failing.basic_consume(queue.as_str().into(), ShortString::default(), options, FieldTable::default());
        let mut consumer = consumer.await.expect("a consumer");
        assert_eq!(next(&mut consumer).await.data, b"a letter");
        consuming.close(200, "the consumer fails".into()).await.expect("a connection");

        // the queue notices that a consumer is gone and takes back what it had in one step
        within("the consumer to be gone", async || look(&channel, &queue).await.expect("a queue").1 == 0).await;
        assert_eq!(look(&channel, &queue).await.expect("a queue").0, left, "no_ack: {no_ack}");
        let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("a channel");
        assert_eq!(got.map(|message| message.redelivered), (!no_ack).then_some(true));
    }
}
