//! Messages go where the topology says, and come back when they should.

use std::collections::BTreeSet;
use std::time::Duration;

use bellhop::config::TopologyMode;
use bellhop::messaging::broker::Published;
use bellhop::messaging::message::{Failure, Message};
use bellhop::messaging::topology::{BROADCAST, DEFAULT, EVENTS, Exchange, RETRY, TIERS};
use chrono::DateTime;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::{Process, events, message, next, take, topology, topology_of};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_to_every_queue_whose_pattern_takes_it_and_to_no_other() {
    let process =
        Process::fresh(topology_of(&[("words", &["user.*"]), ("all", &["user.#"]), ("failures", &["login.failed"])]))
            .await;
    let [registered, changed, failed] = ["user.registered", "user.email.changed", "login.failed"].map(message);
    let answers = process.rabbit.publish(events(&[registered.clone(), changed.clone(), failed.clone()])).await;
    assert_eq!(answers, [Published::Confirmed, Published::Confirmed, Published::Confirmed]);

    assert_eq!(take(&mut process.consume("words").await, 1).await, BTreeSet::from([registered.id]));
    assert_eq!(take(&mut process.consume("all").await, 2).await, BTreeSet::from([registered.id, changed.id]));
    assert_eq!(take(&mut process.consume("failures").await, 1).await, BTreeSet::from([failed.id]));
    for queue in ["words", "all", "failures"] {
        process.until_depth(queue, 0).await;
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_as_it_was_published() {
    let process = Process::fresh(topology()).await;
    let at = |micros| DateTime::from_timestamp_micros(micros).expect("a time");
    let sent = Message {
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        attempt: 3,
        failure: Some(Failure {
            queue: "work".into(),
            reason: "451 häppens".into(),
            first_at: at(1_790_000_000_000_001),
            last_at: at(1_790_000_123_456_789),
        }),
        ..message("user.registered")
    };
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);
    let delivery = next(&mut process.consume("work").await).await;
    assert_eq!(delivery.message, sent);
    assert_eq!((delivery.queue.as_str(), delivery.redelivered, delivery.undecodable.as_deref()), ("work", false, None));
    assert!(delivery.ack().await.expect("a connection"));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_running_node_gets_a_copy_and_its_queue_goes_with_it() {
    let process = Process::fresh(topology()).await;
    let (mut here, mut there) = (process.node_queue("node.here").await, process.node_queue("node.there").await);
    let revoked = message("session.revoked");
    assert_eq!(process.publish(EVENTS, "session.revoked", &revoked).await, Published::Confirmed);
    assert_eq!(take(&mut here, 1).await, BTreeSet::from([revoked.id]));
    assert_eq!(take(&mut there, 1).await, BTreeSet::from([revoked.id]));
    let direct = message("session.revoked");
    assert_eq!(process.publish(BROADCAST, "", &direct).await, Published::Confirmed);
    assert_eq!(take(&mut here, 1).await, BTreeSet::from([direct.id]));

    let (_connection, channel) = process.beside().await;
    let name = format!("{}node.here", process.prefix);
    process.stop().await;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let gone = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
    assert!(gone.expect_err("no such queue").to_string().contains("NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_comes_back_to_the_queue_it_failed_in_and_to_no_other() {
    let process = Process::fresh(topology_of(&[("work", &["user.#"]), ("other", &["user.#"])])).await;
    let parked = message("user.registered");
    let tier = Exchange { name: TIERS[1], ..process_tier() };
    assert_eq!(process.publish(tier, "work", &parked).await, Published::Confirmed);
    let mut work = process.consume("work").await;
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([parked.id]));

    let retried = message("user.registered");
    assert_eq!(process.publish(RETRY, "work", &retried).await, Published::Confirmed);
    assert_eq!(take(&mut work, 1).await, BTreeSet::from([retried.id]));
    process.until_depth("other", 0).await;
    process.until_depth(TIERS[1], 0).await;
    process.stop().await;
}

fn process_tier() -> Exchange {
    topology().tier(Duration::ZERO)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_rests_until_it_is_put_back_by_the_name_of_its_queue() {
    let process = Process::fresh(topology()).await;
    let dead = message("user.registered");
    assert_eq!(process.publish(DEFAULT, "work.dead", &dead).await, Published::Confirmed);
    process.until_depth("work.dead", 1).await;
    let mut resting = process.consume("work.dead").await;
    let delivery = next(&mut resting).await;
    assert_eq!(process.publish(DEFAULT, "work", &delivery.message).await, Published::Confirmed);
    assert!(delivery.ack().await.expect("a connection"));
    assert_eq!(take(&mut process.consume("work").await, 1).await, BTreeSet::from([dead.id]));
    process.until_depth("work.dead", 0).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_is_told_apart_in_a_large_batch() {
    let process = Process::fresh(topology()).await;
    let kinds = (0..500_u32).map(|n| if n % 7 == 0 || n % 11 == 3 { "nobody.cares" } else { "user.registered" });
    let messages: Vec<Message> = kinds.map(message).collect();
    for _ in 0..5 {
        let answers = process.rabbit.publish(events(&messages)).await;
        for (message, answer) in messages.iter().zip(answers) {
            let routable = message.kind == "user.registered";
            assert_eq!(answer, if routable { Published::Confirmed } else { Published::Returned }, "{}", message.id);
        }
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_message_is_gone_and_a_released_one_comes_again() {
    let process = Process::fresh(topology()).await;
    let sent = message("user.registered");
    assert_eq!(process.publish(EVENTS, "user.registered", &sent).await, Published::Confirmed);
    let mut work = process.consume("work").await;
    next(&mut work).await.release().await;
    let again = next(&mut work).await;
    assert_eq!((again.message.id, again.redelivered), (sent.id, true));
    assert!(again.ack().await.expect("a connection"));
    assert!(!again.ack().await.expect("a connection"), "a second answer is none");
    drop(work);
    process.until_depth("work", 0).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_hands_out_what_was_prefetched_and_waits_for_its_answers() {
    let process = Process::fresh(topology()).await;
    let messages: Vec<Message> = (0..30).map(|_| message("user.registered")).collect();
    process.rabbit.publish(events(&messages)).await;
    let mut work = process.consume_many("work", 10).await;
    let first = next(&mut work).await;
    process.stop.cancel();
    let mut taken = 1;
    while let Some(delivery) = work.next().await {
        assert!(delivery.ack().await.expect("a connection"));
        taken += 1;
    }
    assert!(first.ack().await.expect("a connection"), "the channel waits for the last answer");
    drop(first);
    assert!(taken <= 10, "nothing was fetched after the stop: {taken}");
    let (url, prefix) = (process.url.clone(), process.prefix.clone());
    process.stop().await;

    let later = Process::start(&url, &prefix, topology(), TopologyMode::Apply);
    later.until_up().await;
    later.until_depth("work", 30 - taken).await;
    later.stop().await;
}
