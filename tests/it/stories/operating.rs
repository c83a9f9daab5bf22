//! What operators see and do: queues, dead letters, replay, users; and what happens by itself when a broker loses something.

use std::time::Duration;

use bellhop::app::Parts;
use bellhop::clock::Timestamp;
use bellhop::messaging::broker::{Broker, Publication, Published, QueueDepth};
use bellhop::messaging::message::Message;
use bellhop::messaging::operator::DeadLetterFilter;
use bellhop::messaging::outbox;
use bellhop::messaging::topology::{RETRY, TIERS};
use lapin::{Connection, ConnectionProperties};
use secrecy::ExposeSecret as _;
use serde_json::json;
use uuid::Uuid;

use crate::support::app::{HttpClient, PASSWORD, Stack, TestApp, on_both_stacks, within};
use crate::support::smtp::{Phase, Script, Sink, Step};

on_both_stacks!(
    a_dead_letter_is_seen_put_back_and_given_up_by_administrators_alone,
    a_queue_is_counted_while_nobody_works_and_when_all_is_done,
    what_the_broker_lost_is_published_again_to_who_missed_it,
    a_replay_brings_back_what_reconciling_leaves_alone,
    an_event_with_a_due_time_happens_then_and_meets_the_present,
    a_worker_that_was_paused_does_not_send_what_another_has_sent,
    what_waits_for_hours_goes_at_once_when_an_operator_says_so,
);

/// Puts something into the queue of the confirmations that no listener can read; its id.
pub(super) async fn poison(app: &TestApp) -> Uuid {
    let message = Message {
        id: app.clock().new_id(),
        kind: "user.registered".into(),
        body: b"{\"specversion\":\"1.0\"}".to_vec(),
        traceparent: None,
        attempt: 0,
        failure: None,
    };
    let id = message.id;
    let publication = Publication { exchange: RETRY, routing_key: "confirmation".into(), message };
    assert_eq!(app.app.broker.publish(vec![publication]).await, [Published::Confirmed]);
    id
}

pub(super) async fn dead(app: &TestApp, queue: &str) -> u64 {
    let depths = app.app.depths().await.unwrap();
    depths.iter().find(|depth| depth.queue == format!("{queue}.dead")).map_or(0, |depth| depth.messages)
}

async fn administrator(app: &TestApp, email: &str) -> HttpClient {
    let client = app.signed_in_client(email).await;
    assert!(bellhop::account::user::set_admin(&app.app.accounts, email, true).await.unwrap());
    client
}

async fn a_dead_letter_is_seen_put_back_and_given_up_by_administrators_alone(app: TestApp) {
    let admin = administrator(&app, "root@example.org").await;
    let other = app.signed_in_client("ann@example.org").await;
    let ids = [poison(&app).await, poison(&app).await];
    within("both to be dead letters", async || dead(&app, "confirmation").await == 2).await;

    let path = format!("/api/v1/admin/dead-letters/{}", ids[0]);
    for client in [&other, &app.client()] {
        for path in ["/api/v1/admin/queues", "/api/v1/admin/dead-letters"] {
            let (hidden, nowhere) = (client.get(path).await, client.get("/api/v1/admin/nothing").await);
            assert_eq!((hidden.status, hidden.body), (404, nowhere.body), "{path}");
        }
        for verb in ["redrive", "discard"] {
            assert_eq!(client.post_json(&format!("{path}/{verb}"), &json!({})).await.status, 404);
        }
    }
    let listed = admin.get("/api/v1/admin/dead-letters").await.json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{listed}");
    assert_eq!((&items[0]["queue"], &items[0]["type"]), (&json!("confirmation"), &json!("user.registered")));
    assert!(items[0]["reason"].as_str().unwrap().contains("not an event"), "{listed}");
    assert_eq!(items[0]["attempts"], 1);
    assert_eq!(admin.get("/api/v1/admin/dead-letters?queue=login-log").await.json(), json!({"items": []}));
    assert_eq!(admin.get("/api/v1/admin/dead-letters?queue=kitchen").await.status, 422);
    assert_eq!(dead(&app, "confirmation").await, 2, "looking takes nothing away");

    // put back, it fails again: nobody has mended the reason
    let put_back = admin.post_json(&format!("{path}/redrive"), &json!({})).await;
    assert_eq!((put_back.status, put_back.json()["items"][0]["id"].clone()), (202, json!(ids[0])), "{}", put_back.body);
    within("it to come back", async || dead(&app, "confirmation").await == 2).await;
    let gone = admin.post_json(&format!("{path}/discard"), &json!({})).await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    within("it to be gone", async || dead(&app, "confirmation").await == 1).await;
    assert_eq!(
        admin.get("/api/v1/admin/dead-letters").await.json()["items"][0]["id"],
        json!(ids[1]),
        "the other stays"
    );
    assert_eq!(admin.post_json(&format!("{path}/discard"), &json!({})).await.status, 404, "there is none any more");
    assert_eq!(admin.post_json("/api/v1/admin/dead-letters/x/redrive", &json!({})).await.status, 404);

    // who is none any more is none at once
    assert!(bellhop::account::user::set_admin(&app.app.accounts, "root@example.org", false).await.unwrap());
    assert_eq!(admin.get("/api/v1/admin/queues").await.status, 404);
    let operator = app.app.operator();
    let done = DeadLetterFilter { done: true, ..DeadLetterFilter::default() };
    assert_eq!(operator.discard(&done).await.unwrap(), [], "what is left has not been done since");
    assert_eq!(dead(&app, "confirmation").await, 1);
    let operator = app.app.operator();
    operator.discard(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!((operator.progress.total(), operator.progress.done()), (Some(1), 1), "how far it has come is counted");
    app.settle().await;
}

async fn a_queue_is_counted_while_nobody_works_and_when_all_is_done(app: TestApp) {
    let admin = administrator(&app, "root@example.org").await;
    app.settle().await;
    let nobody_works = app.another_node(Parts::only(["web", "relay"]).unwrap()).await.unfinished();
    let of = async |queue: &str| {
        let all = admin.get("/api/v1/admin/queues").await.json();
        all["items"].as_array().unwrap().iter().find(|item| item["queue"] == queue).cloned().unwrap()
    };
    within("consumers to be counted", async || of("confirmation").await["consumers"] != json!(0)).await;
    let idle = of("login-log").await;
    assert_eq!(
        [&idle["depth"], &idle["unacked"], &idle["waiting"], &idle["dead"], &idle["oldest"]],
        [&json!(0), &json!(0), &json!(0), &json!(0), &json!(null)],
        "{idle}"
    );
    for _ in 0..3 {
        assert_eq!(app.client().login("root@example.org", PASSWORD).await.status, 303);
    }
    app.settle().await;
    // and whatever else was done within the minute
    within("the rate to show them", async || of("login-log").await["rate"].as_u64() >= Some(3)).await;

    // one that cannot be done now waits, and is counted as such
    if let Some(sink) = &app.sink {
        sink.set(Script::default().on(Phase::Mail, Step::reply("451 4.3.0 later")));
        app.client().register("bob@example.org", PASSWORD, "Bob").await;
        within("it to wait", async || of("confirmation").await["waiting"] == json!(1)).await;
        assert_ne!(of("confirmation").await["oldest"], json!(null));
        sink.set(Script::default());
    }
    app.settle().await;
    within("nothing to be left", async || {
        let state = of("confirmation").await;
        [&state["depth"], &state["unacked"], &state["waiting"]].into_iter().all(|count| *count == json!(0))
    })
    .await;
    drop(nobody_works);
}

/// Everything that is in this queue is gone, as if its broker's disk had been.
pub(super) async fn lose(app: &TestApp, queue: &'static str) {
    if let Broker::Embedded(_) = app.app.broker {
        let mut tx = app.db().begin().await.unwrap();
        tx.query("delete from broker_message where queue = $1").bind(queue).execute().await.unwrap();
        return tx.commit().await.unwrap();
    }
    let url = app.app.config.messaging.broker_url.as_ref().unwrap().expose_secret().to_owned();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = lapin::options::QueuePurgeOptions::default();
    channel.queue_purge(format!("bellhop.{queue}").into(), options).await.unwrap();
}

pub(super) async fn depth(app: &TestApp, queue: &str) -> u64 {
    let depths = app.app.depths().await.unwrap();
    depths.iter().find(|depth| depth.queue == queue).map_or(0, |depth| depth.messages)
}

/// Another app on the same kind of stack, in which no listener works; they are known all the same.
pub(super) async fn without_listeners(app: &TestApp) -> TestApp {
    let parts = Parts::only(["web", "relay"]).unwrap();
    let quiet = TestApp::start_with(app.stack, |options| options.parts = parts).await;
    assert_eq!(quiet.app.reconciler().reconcile(outbox::OUTBOX_RETENTION).await.unwrap(), 0);
    quiet
}

async fn what_the_broker_lost_is_published_again_to_who_missed_it(app: TestApp) {
    let quiet = without_listeners(&app).await;
    for n in 0..3 {
        quiet.client().register(&format!("guest{n}@example.org"), PASSWORD, "Ann").await;
        assert_eq!(quiet.client().login("guest0@example.org", PASSWORD).await.status, 422);
    }
    within("all to be in the queues", async || {
        depth(&quiet, "confirmation").await == 3 && depth(&quiet, "login-log").await == 3
    })
    .await;
    quiet.clock().advance(quiet.app.config.messaging.retry.grace + Duration::from_secs(1));
    assert_eq!(
        quiet.app.reconciler().reconcile(outbox::OUTBOX_RETENTION).await.unwrap(),
        0,
        "what is in a queue is not missing"
    );

    lose(&quiet, "login-log").await;
    // RabbitMQ may count what is gone for a moment longer, and what is in a queue is not missing
    let reconciler = quiet.app.reconciler();
    within("it to be missed", async || reconciler.reconcile(outbox::OUTBOX_RETENTION).await.unwrap() == 3).await;
    within("what was lost to be there again", async || depth(&quiet, "login-log").await == 3).await;
    assert_eq!(depth(&quiet, "confirmation").await, 3, "nobody else gets it");
    lose(&quiet, "login-log").await;
    assert_eq!(quiet.app.reconciler().reconcile(outbox::OUTBOX_RETENTION).await.unwrap(), 0, "it is given its time");
    quiet.clock().advance(quiet.app.config.messaging.retry.grace * 4);
    lose(&quiet, "confirmation").await;
    let mut missed = 0;
    within("all to be missed", async || {
        missed += reconciler.reconcile(outbox::OUTBOX_RETENTION).await.unwrap();
        missed == 6
    })
    .await;

    let listeners = quiet.another_node(Parts::only(["listeners"]).unwrap()).await.unfinished();
    quiet.settle().await;
    let (rows,): (i64,) = quiet.db().query("select count(*) from login_log").one().await.unwrap();
    assert_eq!(rows, 3);
    drop(listeners);
}

async fn a_replay_brings_back_what_reconciling_leaves_alone(app: TestApp) {
    let quiet = without_listeners(&app).await;
    let before = quiet.clock().now();
    for _ in 0..2 {
        assert_eq!(quiet.client().login("nobody@example.org", PASSWORD).await.status, 422);
    }
    within("both to be in the queue", async || depth(&quiet, "login-log").await == 2).await;
    lose(&quiet, "login-log").await;
    let reconciler = quiet.app.reconciler();
    assert!(reconciler.replay(before, Some("kitchen")).await.is_err(), "there is none");
    let none = reconciler.replay(quiet.clock().now(), None).await.unwrap();
    assert!(none.iter().all(|(_, events)| *events == 0), "nothing since then: {none:?}");
    let (first, last): (Timestamp, Timestamp) =
        quiet.db().query("select min(published_at), max(published_at) from outbox").one().await.unwrap();
    let later = reconciler.replay(last + Duration::from_micros(1), Some("login-log")).await.unwrap();
    assert_eq!(later, [("login-log".to_owned(), 0)], "published before");
    let brought = reconciler.replay(first, Some("login-log")).await.unwrap();
    assert_eq!(brought, [("login-log".to_owned(), 2)], "at once, without the grace of reconciling, the first included");
    let again = reconciler.replay(before, Some("login-log")).await.unwrap();
    assert_eq!(again, [("login-log".to_owned(), 0)], "they are on their way");
    assert_eq!(reconciler.progress.done(), 2, "how far it has come is counted");
    let listeners = quiet.another_node(Parts::only(["listeners"]).unwrap()).await.unfinished();
    quiet.settle().await;
    assert_eq!(reconciler.replay(before, None).await.unwrap().iter().map(|(_, events)| events).sum::<usize>(), 0);
    drop(listeners);
}

async fn an_event_with_a_due_time_happens_then_and_meets_the_present(app: TestApp) {
    let ann = app.client();
    ann.register("ann@example.org", PASSWORD, "Ann").await;
    app.client().register("bob@example.org", PASSWORD, "Bob").await;
    app.settle().await;
    let scheduled = async || {
        let sql = "select count(*) from outbox where published_at is null and due_at > $1";
        app.db().query(sql).bind(app.clock().now()).one::<(i64,)>().await.unwrap().0
    };
    assert_eq!(scheduled().await, 2);
    assert_eq!(app.app.relay().drain_batch().await.unwrap().published, 0, "their time has not come");
    let until_next = app.app.relay().drain_batch().await.unwrap().until_next.expect("something waits");
    assert!(until_next > Duration::from_hours(23) && until_next <= Duration::from_hours(24), "{until_next:?}");
    // Ann confirms meanwhile: by the time it happens, there is nothing to be reminded of
    let token = app.mails_to("ann@example.org").await[0].token().unwrap();
    assert_eq!(ann.post("/confirm", &[("token", &token)]).await.status, 303);
    app.clock().advance(Duration::from_hours(24));
    app.settle().await;
    assert_eq!(scheduled().await, 0);
    let mails = [app.mails_to("ann@example.org").await.len(), app.mails_to("bob@example.org").await.len()];
    assert_eq!(mails, [1, 2]);
}

async fn a_worker_that_was_paused_does_not_send_what_another_has_sent(app: TestApp) {
    let Some(sink) = &app.sink else { return a_lease_is_one_workers(&app).await };
    // the first worker stands still just before the message itself
    sink.set(Script::default().on(Phase::Rcpt, Step::delay(Duration::from_secs(3)).times(1)));
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    within("the first worker to be at it", async || sink.attempts() == 1).await;
    let (id, body): (Uuid, String) =
        app.db().query("select id, body from outbox where type = 'user.registered'").one().await.unwrap();
    // so long that its lease ends, and the broker gives the message to another
    app.clock().advance(Duration::from_mins(1));
    let message = Message {
        id,
        kind: "user.registered".into(),
        body: body.into_bytes(),
        traceparent: None,
        attempt: 0,
        failure: None,
    };
    let again = Publication { exchange: RETRY, routing_key: "confirmation".into(), message };
    assert_eq!(app.app.broker.publish(vec![again]).await, [Published::Confirmed]);
    within("the other to send it", async || !app.mails().await.is_empty()).await;
    // the first goes on after its pause, finds that the mail is not its own any more, and takes back what it has begun
    within("the first to keep it back", async || sink.taken_back() == 1).await;
    app.settle().await;
    assert_eq!(app.mails().await.len(), 1);
}

/// On the small stack a mail is a file, written at once: there is no moment to pause in, but there is a lease.
async fn a_lease_is_one_workers(app: &TestApp) {
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let (leases,): (i64,) = app.db().query("select count(*) from lease").one().await.unwrap();
    assert_eq!((leases, app.mails().await.len()), (0, 1), "given back with the mark");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_or_rests_is_not_missed_until_it_is_asked_for() {
    let app = TestApp::start(Stack::Large).await;
    let sink = app.sink.as_ref().unwrap();
    assert_eq!(app.app.reconciler().reconcile(outbox::OUTBOX_RETENTION).await.unwrap(), 0);
    let before = app.clock().now();
    sink.set(Script::default().on(Phase::Mail, Step::reply("451 4.3.0 later")));
    app.client().register("bob@example.org", PASSWORD, "Bob").await;
    let setbacks = async |sql: &'static str| app.db().query(sql).one::<(i64,)>().await.unwrap().0;
    within("it to wait", async || setbacks("select count(*) from setback where due_at is not null").await == 1).await;
    app.clock().advance(Duration::from_hours(72));
    within("it to rest", async || setbacks("select count(*) from setback where due_at is null").await == 1).await;
    within("it to rest", async || dead(&app, "confirmation").await == 1).await;
    assert_eq!(app.app.reconciler().reconcile(outbox::OUTBOX_RETENTION).await.unwrap(), 0, "an operator decides");
    sink.set(Script::default());
    let brought = app.app.reconciler().replay(before, Some("confirmation")).await.unwrap();
    assert_eq!(brought, [("confirmation".to_owned(), 1)]);
    app.settle().await;
    within("the mail", async || app.mails_to("bob@example.org").await.len() == 1).await;
    // F26: the letter is still there, and says that it has been done since
    let done = DeadLetterFilter { done: true, ..DeadLetterFilter::default() };
    let letters = app.app.operator().dead_letters(&done).await.unwrap();
    assert!(letters.len() == 1 && letters[0].done_at.is_some_and(|at| at > before), "{letters:?}");
    // put back beside it, it has been done
    assert_eq!(app.app.operator().redrive(&DeadLetterFilter::default()).await.unwrap().len(), 1);
    within("it to be gone", async || dead(&app, "confirmation").await + depth(&app, "confirmation").await == 0).await;
    assert_eq!(app.mails_to("bob@example.org").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_was_given_up_is_sent_when_it_is_put_back() {
    let mut app = TestApp::start(Stack::Large).await;
    let mut sink = app.sink.take().unwrap();
    sink.stop().await;
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    within("the first try", async || {
        app.db().query("select count(*) from setback").one::<(i64,)>().await.unwrap().0 == 1
    })
    .await;
    app.clock().advance(Duration::from_hours(72));
    within("it to be given up", async || dead(&app, "confirmation").await == 1).await;
    // put back while nothing has changed, it has all its time again
    assert_eq!(app.app.operator().redrive(&DeadLetterFilter::default()).await.unwrap().len(), 1);
    let waits = "select count(*) from setback where attempt > 0 and due_at is not null";
    within("it to wait", async || app.db().query(waits).one::<(i64,)>().await.unwrap().0 == 1).await;
    app.clock().advance(Duration::from_hours(72));
    within("it to be given up", async || dead(&app, "confirmation").await == 1).await;
    sink.restart().await;
    app.sink = Some(sink);
    let redriven = app.app.operator().redrive(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!(redriven.len(), 1);
    within("the mail", async || app.mails().await.len() == 1).await;
    assert_eq!(app.app.operator().redrive(&DeadLetterFilter::default()).await.unwrap(), []);
    app.settle().await;
    assert_eq!(dead(&app, "confirmation").await, 0);
}

/// F25: the mail server is back, and nobody waits for six hours more.
async fn what_waits_for_hours_goes_at_once_when_an_operator_says_so(app: TestApp) {
    let sink = Sink::start().await;
    sink.set(Script::default().on(Phase::Mail, Step::reply("451 4.3.0 later")));
    let slow = TestApp::start_with(app.stack, |options| {
        options.config.mail.smtp_url = Some(sink.url().into());
        options.config.messaging.retry.tiers = [6, 12, 24, 24, 24].map(Duration::from_hours);
    })
    .await;
    let operator = slow.app.operator();
    let of_mails = async || operator.queues().await.unwrap().remove(0);
    for name in ["ann", "bob"] {
        slow.client().register(&format!("{name}@example.org"), PASSWORD, "Ann").await;
    }
    within("both to wait", async || of_mails().await.waiting == 2).await;
    let waits = of_mails().await;
    assert_eq!(waits.queue, "confirmation");
    let soonest = slow.clock().now() + Duration::from_hours(5);
    assert!(waits.next_retry.is_some_and(|at| at > soonest) && waits.last_retry >= waits.next_retry, "{waits:?}");
    // those of another queue stay where they are
    let other = operator.retry_now(Some("login-log".into())).await.unwrap();
    assert_eq!(other, [("login-log".to_owned(), 0)]);
    assert!(operator.retry_now(Some("kitchen".into())).await.is_err(), "there is none");
    assert_eq!(of_mails().await.waiting, 2);

    // one that fails again keeps its place: the operator's try is not among those that make the waits longer
    for passes in [false, false, true] {
        // RabbitMQ counts a message a moment after it has it
        let in_first_tier = |depth: &QueueDepth| depth.queue == TIERS[0] && depth.messages == 2;
        within("both to wait", async || slow.app.depths().await.unwrap().iter().any(in_first_tier)).await;
        if passes {
            sink.set(Script::default());
        }
        assert_eq!(operator.retry_now(None).await.unwrap()[0].1, 2);
    }
    assert_eq!(sink.wait_for(2).await.len(), 2);
    slow.settle().await;
    let left = of_mails().await;
    assert_eq!((left.waiting, left.next_retry), (0, None), "{left:?}");
}
