//! Declaring again, with other arguments.
//!
//! RabbitMQ refuses (406 `PRECONDITION_FAILED`); Bellhop says so with the command that mends it, and uses what is there.
//! The embedded broker's tables are Bellhop's own, so there the new arguments hold.

use std::sync::Arc;

use bellhop::config::TopologyMode;
use bellhop::messaging::broker::rabbit::Rabbit;
use bellhop::messaging::broker::{BrokerHealth, Published};
use bellhop::messaging::topology::{DEAD, DEFAULT, EVENTS, Exchange, ExchangeKind, Topology};
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::{amqp, bound, declare, event, expect_depths};
use crate::brokers::{Kind, Setup, WAITS};
use crate::support::app::within;
use crate::support::rabbit;

/// The report of a Bellhop that finds something of other arguments, and that Bellhop.
async fn report(url: &str, tasks: &TaskTracker, stop: &CancellationToken) -> (String, Rabbit) {
    let topology = Arc::new(Topology::new([("letters", &["user.#"][..])], &[], WAITS));
    let mode = TopologyMode::Apply;
    let bellhop = Rabbit::start(url.into(), "test", topology, mode, tasks, stop.clone()).expect("a URL");
    let mut report = String::new();
    within("a report", async || match bellhop.health().await {
        BrokerHealth::Degraded(text) if text.contains("other arguments") => {
            report = text;
            true
        }
        _ => false,
    })
    .await;
    (report, bellhop)
}

async fn end(tasks: TaskTracker, stop: CancellationToken) {
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_an_older_program_did_not_make_durable_is_named_with_the_command_that_mends_it() {
    let (url, tasks, stop) = (rabbit::vhost().await, TaskTracker::new(), CancellationToken::new());
    let (_connection, channel) = amqp(&url).await;
    declare(&channel, "bellhop.letters", "classic", false).await;

    let (text, bellhop) = report(&url, &tasks, &stop).await;
    let vhost = Url::parse(&url).unwrap().path().trim_start_matches('/').to_owned();
    let command = format!("rabbitmqctl -p {vhost} delete_queue bellhop.letters");
    let wanted = "(wanted: durable=true, x-dead-letter-exchange=\"\", ";
    let found = "queue bellhop.letters exists with other arguments: durable is 'false' there and 'true' here ";
    for part in [found, wanted, &command] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(bellhop.publish(vec![event("user.registered")]).await, [Published::Confirmed], "it is used as it is");

    // as it stands in the report
    let (_, words) = text.split_once("rabbitmqctl ").unwrap();
    let words: Vec<&str> = words.split("; ").next().unwrap().split_whitespace().collect();
    rabbit::ctl(&words).await;
    within("the queue to be as it should", async || {
        // misses the queue, and has it declared again
        bellhop.publish(vec![event("user.registered")]).await;
        bellhop.health().await == BrokerHealth::Up
    })
    .await;
    end(tasks, stop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_of_another_type_is_named_with_both_types_and_the_command_that_mends_it() {
    let (url, tasks, stop) = (rabbit::vhost().await, TaskTracker::new(), CancellationToken::new());
    let (_connection, channel) = amqp(&url).await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let name = "bellhop.events";
    let made = channel.exchange_declare(name.into(), lapin::ExchangeKind::Direct, options, FieldTable::default());
    made.await.expect("an exchange");

    let (text, bellhop) = report(&url, &tasks, &stop).await;
    let vhost = Url::parse(&url).unwrap().path().trim_start_matches('/').to_owned();
    for part in [
        "exchange bellhop.events exists with other arguments: type is 'direct' there and 'topic' here",
        "(wanted: type=topic, durable=true)",
        &format!("rabbitmqadmin --vhost={vhost} delete exchange name=bellhop.events"),
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    // the command speaks to the management plugin, which is not here; this is what it does
    channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.expect("a channel");
    within("the exchange to be as it should", async || {
        bellhop.publish(vec![event("user.registered")]).await;
        bellhop.health().await == BrokerHealth::Up
    })
    .await;
    assert_eq!(bellhop.publish(vec![event("user.a.b")]).await, [Published::Confirmed], "its patterns are patterns");
    end(tasks, stop).await;
}

/// What an older program declared, which had no exchange for dead letters.
fn older() -> Topology {
    let mut topology = newer();
    topology.exchanges.retain(|exchange| *exchange != DEAD);
    topology.bindings.retain(|binding| binding.from != DEAD.name);
    topology
}

fn newer() -> Topology {
    Topology::new([("letters", &["user.#"][..])], &[], WAITS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_the_exchange_for_dead_letters_gets_it_and_keeps_its_messages() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::Rabbit] {
        let setup = Setup::open(kind, older()).await;
        assert_eq!(setup.publish(DEFAULT, "letters.dead").await.1, Published::Confirmed, "as an older program does");
        // up, so that nothing is found to have other arguments
        let setup = setup.restart(newer()).await;
        assert_eq!(setup.publish(DEAD, "letters").await.1, Published::Confirmed, "{kind:?}");
        expect_depths(&setup, &[("letters.dead", 2), ("letters", 0)], "a dead letter of each program").await;
        setup.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_broker_takes_the_new_arguments_and_keeps_the_messages() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let queues: [(&str, &[&str]); 1] = [("letters", &["user.*"])];
        let direct = Exchange { kind: ExchangeKind::Direct, ..EVENTS };
        let setup = Setup::open(kind, bound(direct, &queues)).await;
        assert_eq!(setup.publish(EVENTS, "user.registered").await.1, Published::Returned, "{kind:?}");
        assert_eq!(setup.publish(EVENTS, "user.*").await.1, Published::Confirmed, "{kind:?}");
        let setup = setup.restart(bound(EVENTS, &queues)).await;
        assert_eq!(setup.publish(EVENTS, "user.registered").await.1, Published::Confirmed, "{kind:?}");
        expect_depths(&setup, &[("letters", 2)], "a restart").await;
        setup.close().await;
    }
}
