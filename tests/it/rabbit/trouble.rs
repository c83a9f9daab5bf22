//! What others do to us: cut, stall, block, kill, declare otherwise, send nonsense.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellhop::config::TopologyMode;
use bellhop::messaging::broker::{BrokerHealth, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::topology::EVENTS;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::proxy::{Proxy, Way};
use super::{
    Process, address, beside, broker_url, events, fresh_prefix, message, next, take, topology, topology_of, until,
};
use crate::support::rabbit;

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_gives_back_what_was_unacknowledged_and_the_subscription_returns_by_itself() {
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
    let unacked = next(&mut work).await;

    proxy.set(Way::Cut);
    subscribed.wait_for(Option::is_none).await.expect("told");
    until("away", async || process.rabbit.health().await != BrokerHealth::Up).await;
    let since = Instant::now();
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "fails fast while the broker is away");
    assert!(!unacked.is_held());
    assert!(!unacked.ack().await.unwrap_or(false), "what is lost cannot be acknowledged");

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
        BrokerHealth::Degraded(text) if text.contains("other arguments") => {
            report = text;
            true
        }
        _ => false,
    })
    .await;
    for part in [
        &format!("queue {name} exists"),
        "with other arguments: x-",
        " there and ",
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
        BrokerHealth::Degraded(text) => {
            text.contains(&format!("queue {}work does not exist", process.prefix))
                && text.contains(&format!("exchange {}events does not exist", process.prefix))
        }
        BrokerHealth::Up => false,
    })
    .await;
    assert_eq!(process.rabbit.depths().await.expect("connected"), []);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_when_the_broker_is_killed() {
    let node = rabbit::Private::new().await;
    let process = Process::start(node.url(), "bellhop.", topology(), TopologyMode::Apply);
    process.until_up().await;
    node.settle_topology().await;

    let arrived: Arc<Mutex<HashSet<Uuid>>> = Arc::default();
    let mut work = process.consume_many("work", 20).await;
    let seen = Arc::clone(&arrived);
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

    let goal = count(&confirmed) + 500;
    until("under way", async || count(&confirmed) > goal).await;
    node.kill9().await;
    until("noticed", async || process.rabbit.health().await != BrokerHealth::Up).await;
    let since = Instant::now();
    let answer = process.publish(EVENTS, "user.registered", &message("user.registered")).await;
    assert!(matches!(answer, Published::Failed(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "fails fast while the broker is away");
    node.start().await;
    let goal = count(&confirmed) + 500;
    until("under way again", async || count(&confirmed) > goal).await;
    enough.cancel();
    publisher.await.expect("no panic");
    until("everything confirmed is consumed", async || {
        confirmed.lock().expect("no panic").is_subset(&arrived.lock().expect("no panic"))
    })
    .await;
    process.stop().await;
    consumer.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_answers_no_more_holds_up_no_other() {
    let node = rabbit::Private::new().await;
    let listeners: [(&str, &[&str]); 2] = [("work", &["user.#"]), ("stuck", &["stuck.#"])];
    let process = Process::start(node.url(), "bellhop.", topology_of(&listeners), TopologyMode::Apply);
    process.until_up().await;
    let mut work = process.consume("work").await;
    let mut subscribed = work.subscribed();
    let first = *subscribed.wait_for(Option::is_some).await.expect("a subscription");

    let leader = r#"list_to_atom("%2F_bellhop.stuck")"#;
    node.ctl(&["eval", &format!("sys:suspend({leader}).")]).await;
    let [stuck, registered] = ["stuck.fast", "user.registered"].map(message);
    until("all but what is stuck confirmed", async || {
        let answers = process.rabbit.publish(events(&[stuck.clone(), registered.clone()])).await;
        assert!(matches!(answers[0], Published::Failed(_)));
        answers[1] == Published::Confirmed
    })
    .await;
    assert!(take(&mut work, 1).await.contains(&registered.id));

    let mut held_up = process.consume("stuck").await;
    until("a report", async || {
        matches!(process.rabbit.health().await, BrokerHealth::Degraded(text) if text.contains("nothing is consumed from stuck"))
    })
    .await;
    let registered = message("user.registered");
    until("confirmed", async || process.publish(EVENTS, "user.registered", &registered).await == Published::Confirmed)
        .await;
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([registered.id]));
    assert_eq!(*subscribed.borrow_and_update(), first, "on the same subscription");

    node.ctl(&["eval", &format!("sys:resume({leader}).")]).await;
    assert_eq!(take(&mut held_up, 1).await, BTreeSet::from([stuck.id]), "what timed out may arrive all the same");
    drop((work, held_up));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_the_broker_fails_publications_and_lets_consumers_work() {
    let node = rabbit::Private::new().await;
    let process = Process::start(node.url(), "bellhop.", topology(), TopologyMode::Apply);
    process.until_up().await;
    let waiting = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &waiting).await, Published::Confirmed);

    node.ctl(&["set_vm_memory_high_watermark", "absolute", "10MB"]).await;
    let sent = message("user.registered");
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    let told = |health| matches!(health, BrokerHealth::Degraded(text) if text.contains("takes no messages"));
    assert!(told(process.rabbit.health().await));
    let since = Instant::now();
    assert!(matches!(process.publish(EVENTS, "user.registered", &sent).await, Published::Failed(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "known by now");
    let mut work = process.consume("work").await;
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([waiting.id]));

    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1GiB"]).await;
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
