//! Persistence: what is there after the broker was ended and started again.

use std::sync::Arc;

use bellhop::config::TopologyMode;
use bellhop::messaging::broker::embedded::MESSAGE_LEASE;
use bellhop::messaging::broker::rabbit::Rabbit;
use bellhop::messaging::broker::{BrokerHealth, Published};
use bellhop::messaging::topology::{DEFAULT, EVENTS, Topology};
use lapin::ExchangeKind;
use lapin::options::{BasicGetOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{amqp, declare, look, send};
use crate::brokers::{Kind, Setup, WAITS, on_every_broker};
use crate::support::app::within;
use crate::support::rabbit::Private;

fn topology() -> Topology {
    Topology::new([("letters", &["user.#"][..])], &[], WAITS)
}

async fn open(kind: Kind) -> Setup {
    Setup::open(kind, topology()).await
}

on_every_broker!(messages_outlive_the_process_that_published_them_and_one_that_held_them);

/// For the embedded broker, which is part of the process, this is its restart; it has nothing that does not last.
async fn messages_outlive_the_process_that_published_them_and_one_that_held_them(setup: Setup) {
    let (held, _) = setup.publish(EVENTS, "user.registered").await;
    let (waiting, _) = setup.publish(DEFAULT, "letters").await;
    let mut consumer = setup.consume("letters", 1).await;
    let unacked = consumer.next().await;
    assert_eq!(unacked.message().id, held);
    // it ends without having settled
    drop((unacked, consumer));

    let setup = setup.restart(topology()).await;
    setup.clock.advance(MESSAGE_LEASE);
    let mut consumer = setup.consume("letters", 1).await;
    for (id, redelivered) in [(held, true), (waiting, false)] {
        let delivery = consumer.next().await;
        assert_eq!((delivery.message().id, delivery.redelivered()), (id, redelivered));
        assert!(delivery.ack().await.unwrap());
    }
    within("the queue to be empty", async || setup.depth("letters").await == 0).await;
    setup.close().await;
}

#[tokio::test]
async fn rabbitmq_keeps_across_a_restart_what_is_durable_and_persistent_and_nothing_else() {
    let broker = Private::new().await;
    let (_connection, channel) = amqp(broker.url()).await;
    declare(&channel, "durable", "classic", true).await;
    declare(&channel, "quorum", "quorum", true).await;
    declare(&channel, "transient", "classic", false).await;
    for (name, durable) in [("kept", true), ("lost", false)] {
        let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
        let declared = channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, FieldTable::default());
        declared.await.expect("an exchange");
    }
    send(&channel, "durable", "persistent", 2).await;
    send(&channel, "durable", "not persistent", 1).await;
    send(&channel, "quorum", "not persistent", 1).await;
    send(&channel, "transient", "persistent", 2).await;

    broker.stop().await;
    broker.start().await;

    let (connection, channel) = amqp(broker.url()).await;
    assert_eq!(look(&channel, "durable").await.expect("a queue").0, 1);
    let kept = channel.basic_get("durable".into(), BasicGetOptions::default()).await.expect("a channel");
    assert_eq!(kept.expect("a message").data, b"persistent");
    // a quorum queue, which all of ours are, writes down whatever it takes
    within("the quorum queue to have its message", async || look(&channel, "quorum").await.is_ok_and(|(n, _)| n == 1))
        .await;
    let gone = look(&channel, "transient").await.expect_err("no such queue").to_string();
    assert!(gone.contains("NOT_FOUND"), "{gone}");
    for (name, is_there) in [("kept", true), ("lost", false)] {
        let channel = connection.create_channel().await.expect("a channel");
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let found = channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, FieldTable::default()).await;
        assert_eq!(found.is_ok(), is_there, "{name}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_bellhop_declares_and_publishes_is_there_after_rabbitmq_was_restarted() {
    let broker = Private::new().await;
    let process = async |mode| {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let rabbit = Rabbit::start(broker.url().into(), "test", Arc::new(topology()), mode, &tasks, stop.clone());
        (rabbit.expect("a URL"), tasks, stop)
    };
    let end = async |tasks: TaskTracker, stop: CancellationToken| {
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    };
    let (rabbit, tasks, stop) = process(TopologyMode::Apply).await;
    within("the broker to be up", async || rabbit.health().await == BrokerHealth::Up).await;
    let sent = super::event("user.registered");
    assert_eq!(rabbit.publish(vec![sent.clone()]).await, [Published::Confirmed]);
    end(tasks, stop).await;

    broker.stop().await;
    broker.start().await;

    // declares nothing: what is missing would be reported
    let (rabbit, tasks, stop) = process(TopologyMode::Verify).await;
    within("the broker to be up, with everything there", async || rabbit.health().await == BrokerHealth::Up).await;
    let more = super::event("user.registered");
    assert_eq!(rabbit.publish(vec![more]).await, [Published::Confirmed], "the binding is there");
    within("both messages", async || {
        let depths = rabbit.depths().await.unwrap_or_default();
        depths.iter().any(|depth| depth.queue == "letters" && depth.messages == 2)
    })
    .await;
    end(tasks, stop).await;
}
