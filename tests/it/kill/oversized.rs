//! F73: messages of 10 MB in our queues, from somebody who may publish to the broker or write into the database. What a process
//! holds of them is bounded, however many there are.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;
use uuid::Uuid;

use crate::support::app::within;
use crate::support::process::{Bellhop, forget_peak, memory};
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

const MESSAGES: u32 = 25;
const BYTES: usize = 10 << 20;

/// What the memory of a process may grow by, in KiB, while all of them go through it: a quarter of their sum, which is one or two
/// of them under way in each of its five consumers.
const GROWTH: u64 = MESSAGES as u64 * BYTES as u64 / 1_024 / 4;

/// Puts them into a queue by its full name, each with an id of its own.
async fn publish(channel: &Channel, queue: &str) {
    let body = vec![b'x'; BYTES];
    for _ in 0..MESSAGES {
        let properties = BasicProperties::default()
            .with_message_id(Uuid::now_v7().to_string().into())
            .with_type("user.registered".into())
            .with_delivery_mode(2);
        let sent = channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), &body, properties);
        assert!(sent.await.expect("a channel").await.expect("a confirm").is_ack());
    }
}

async fn depth(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    declared.await.expect("a queue").message_count()
}

/// The dead letters as `dead-letters list` has them, and the peak of its memory in KiB.
async fn listed(app: &Bellhop) -> (Vec<Value>, u64) {
    let mut command = app.command(&["dead-letters", "list", "--json"]);
    let file = app.folder().join("letters.json");
    let out = std::fs::File::create(&file).expect("the folder is ours");
    let mut child: Child =
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().expect("it was built");
    let mut peak = 0;
    // looked at until just before its end, when it has been highest
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    while child.try_wait().expect("a child of ours").is_none() {
        peak = memory(child.id(), "VmHWM").unwrap_or(peak);
        tick.tick().await;
    }
    let status = child.wait().expect("a child of ours");
    assert!(status.success(), "{status:?}");
    let letters = serde_json::from_slice(&std::fs::read(file).expect("it was written")).expect("JSON");
    (letters, peak)
}

fn assert_are_dead_letters_for_their_size(letters: &[Value]) {
    assert_eq!(letters.len(), MESSAGES as usize);
    for letter in letters {
        let reason = letter["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("larger than an event can be: 10485760 bytes, at most 65536"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_ten_megabytes_in_rabbitmq_cost_a_process_a_few_of_them() {
    let (broker, database) = tokio::join!(rabbit::Private::new(), postgres::database());
    let mut app = Bellhop::on(&database, broker.url(), Arc::new(Sink::start().await)).await;
    app.start().await;
    app.until_it_answers("/readyz").await;
    let connection = Connection::connect(broker.url(), ConnectionProperties::default()).await.expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("a channel");
    let (none, usual) = listed(&app).await;
    assert_eq!(none, Vec::<Value>::new());

    // both kinds of consumer: one that is handed a message at a time, and one that is handed two hundred
    for queue in ["bellhop.confirmation", "bellhop.login-log"] {
        let before = memory(app.pid(), "VmRSS").expect("it runs");
        forget_peak(app.pid());
        publish(&channel, queue).await;
        let dead = format!("{queue}.dead");
        within("dead letters", async || depth(&channel, &dead).await == MESSAGES).await;
        let grown = memory(app.pid(), "VmHWM").expect("it runs").saturating_sub(before);
        println!("{queue}: {grown} KiB more at the peak");
        assert!(grown < GROWTH, "{queue}: {grown} KiB");
        let (letters, _) = listed(&app).await;
        assert_are_dead_letters_for_their_size(&letters);
        let discarded = app.call(&["dead-letters", "discard", "--all"]).await;
        assert!(discarded.status.success(), "{discarded:?}");
    }

    // all of them at once, to a process that just starts
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0), "{}", app.log());
    for queue in ["bellhop.confirmation", "bellhop.login-log"] {
        publish(&channel, queue).await;
    }
    app.start().await;
    for dead in ["bellhop.confirmation.dead", "bellhop.login-log.dead"] {
        within("dead letters", async || depth(&channel, dead).await == MESSAGES).await;
    }
    let peak = memory(app.pid(), "VmHWM").expect("it runs");
    println!("at a start: {} KiB more at the peak than a list needs", peak.saturating_sub(usual));
    assert!(peak.saturating_sub(usual) < GROWTH, "{peak} KiB at the peak");
    let discarded = app.call(&["dead-letters", "discard", "--all"]).await;
    assert!(discarded.status.success(), "{discarded:?}");

    // as the broker leaves them when every process that had one died of it
    publish(&channel, "bellhop.confirmation.dead").await;
    let (letters, peak) = listed(&app).await;
    println!("the list: {} KiB more at the peak", peak.saturating_sub(usual));
    assert_eq!(letters.len(), MESSAGES as usize);
    assert!(peak.saturating_sub(usual) < GROWTH, "{peak} KiB at the peak, {usual} KiB without letters");
    within("them to be back", async || depth(&channel, "bellhop.confirmation.dead").await == MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_ten_megabytes_in_sqlite_cost_a_process_a_few_of_them() {
    let mut app = Bellhop::new().await;
    app.start().await;
    app.until_it_answers("/readyz").await;
    let db = app.db().await;
    let put_one = async |queue: &'static str| -> sqlx::Result<()> {
        let mut tx = db.begin().await?;
        tx.query(
            "insert into broker_message
                   (id, queue, message_id, routing_key, type, body, attempt, enqueued_at, available_at, deliveries)
                 values ($1, $2, $1, 'user.registered', 'user.registered', $3, 0, $4, $4, 0)",
        )
        .bind(Uuid::now_v7())
        .bind(queue)
        .bind("x".repeat(BYTES))
        .bind(bellhop::clock::Clock::default().now())
        .execute()
        .await?;
        tx.commit().await
    };
    let put = async |queue: &'static str| {
        for _ in 0..MESSAGES {
            // the process that reads such rows keeps the file to itself for seconds where the disk is slow
            within("a row", async || put_one(queue).await.is_ok()).await;
        }
    };
    let (none, usual) = listed(&app).await;
    assert_eq!(none, Vec::<Value>::new());
    for queue in ["confirmation", "login-log"] {
        let before = memory(app.pid(), "VmRSS").expect("it runs");
        forget_peak(app.pid());
        put(queue).await;
        within("dead letters", async || {
            let (dead,): (i64,) = db
                .query("select count(*) from broker_message where queue like '%.dead'")
                .one()
                .await
                .expect("the database");
            dead == i64::from(MESSAGES)
        })
        .await;
        let grown = memory(app.pid(), "VmHWM").expect("it runs").saturating_sub(before);
        println!("{queue}: {grown} KiB more at the peak");
        assert!(grown < GROWTH, "{queue}: {grown} KiB");
        let (letters, _) = listed(&app).await;
        assert_are_dead_letters_for_their_size(&letters);
        let discarded = app.call(&["dead-letters", "discard", "--all"]).await;
        assert!(discarded.status.success(), "{discarded:?}");
    }
    put("confirmation.dead").await;
    let (letters, peak) = listed(&app).await;
    println!("the list: {} KiB more at the peak", peak.saturating_sub(usual));
    assert_eq!(letters.len(), MESSAGES as usize);
    assert!(peak.saturating_sub(usual) < GROWTH, "{peak} KiB at the peak, {usual} KiB without letters");
}
