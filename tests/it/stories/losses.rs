//! What a broker loses after an operator has touched it, does not take, or lost long ago; and a mail whose lease is lost.

use std::time::Duration;

use bellhop::app::Parts;
use bellhop::db::{Db, Location};
use bellhop::messaging::broker::{Broker, Publication, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::operator::DeadLetterFilter;
use bellhop::messaging::outbox;
use bellhop::messaging::topology::RETRY;
use uuid::Uuid;

use super::operating::{dead, depth, lose, without_listeners};
use crate::support::app::{PASSWORD, Stack, TestApp, on_both_stacks, within};
use crate::support::smtp::{Phase, Script, Sink, Step};

on_both_stacks!(
    what_was_lost_while_nobody_compared_is_found_at_the_start,
    a_letter_that_was_put_back_and_lost_is_missed,
    a_letter_that_was_discarded_is_brought_back_by_nothing,
    what_was_hurried_and_lost_is_missed_at_once_and_not_hours_later,
    a_mail_whose_lease_went_to_somebody_who_ended_is_sent_later,
);

/// Everything in a queue is gone, and seen to be gone.
async fn wipe(app: &TestApp, queue: &'static str) {
    lose(app, queue).await;
    within("the queue to be empty", async || depth(app, queue).await == 0).await;
}

/// What is missed is published again: so many events.
async fn reconciled(app: &TestApp) -> usize {
    app.app.reconciler().reconcile(outbox::OUTBOX_RETENTION).await.unwrap()
}

async fn listeners(app: &TestApp) -> TestApp {
    app.another_node(Parts::only(["listeners"]).unwrap()).await.unfinished()
}

async fn what_was_lost_while_nobody_compared_is_found_at_the_start(app: TestApp) {
    let quiet = without_listeners(&app).await;
    quiet.client().register("ann@example.org", PASSWORD, "Ann").await;
    within("it to be in the queue", async || depth(&quiet, "confirmation").await == 1).await;
    wipe(&quiet, "confirmation").await;
    // longer ago than what is compared every minute
    quiet.clock().advance(Duration::from_hours(30));
    let relay = quiet.another_node(Parts::only(["relay"]).unwrap()).await.unfinished();
    within("it to be published again", async || depth(&quiet, "confirmation").await == 1).await;
    let listeners = listeners(&quiet).await;
    quiet.settle().await;
    drop((relay, listeners));
}

/// A registration whose message is a dead letter, on an app in which nobody listens; its event.
async fn dead_letter(quiet: &TestApp) -> Uuid {
    quiet.client().register("ann@example.org", PASSWORD, "Ann").await;
    within("it to be in the queue", async || depth(quiet, "confirmation").await == 1).await;
    wipe(quiet, "confirmation").await;
    let (id,): (Uuid,) = quiet.db().query("select id from outbox where type = 'user.registered'").one().await.unwrap();
    // the same event, garbled on its way
    let (kind, body) = ("user.registered".to_owned(), b"{}".to_vec());
    let message = Message { id, kind, body, traceparent: None, attempt: 0, failure: None };
    let garbled = Publication { exchange: RETRY, routing_key: "confirmation".into(), message };
    assert_eq!(quiet.app.broker.publish(vec![garbled]).await, [Published::Confirmed]);
    let mut listeners = listeners(quiet).await;
    within("it to rest", async || dead(quiet, "confirmation").await == 1).await;
    listeners.end().await;
    quiet.clock().advance(quiet.app.config.messaging.retry.grace * 2);
    assert_eq!(reconciled(quiet).await, 0, "an operator decides");
    id
}

async fn a_letter_that_was_put_back_and_lost_is_missed(app: TestApp) {
    let quiet = without_listeners(&app).await;
    dead_letter(&quiet).await;
    let redriven = quiet.app.operator().redrive(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!(redriven.len(), 1);
    within("it to be back", async || depth(&quiet, "confirmation").await == 1).await;
    assert_eq!(dead(&quiet, "confirmation").await, 0);
    wipe(&quiet, "confirmation").await;
    quiet.clock().advance(quiet.app.config.messaging.retry.grace * 4);
    within("it to be missed", async || reconciled(&quiet).await == 1).await;
    let listeners = listeners(&quiet).await;
    let sent = "select count(*) from registrations where delivery = 'sent'";
    within("the mail", async || quiet.db().query(sent).one::<(i64,)>().await.unwrap().0 == 1).await;
    quiet.settle().await;
    drop(listeners);
}

async fn a_letter_that_was_discarded_is_brought_back_by_nothing(app: TestApp) {
    let quiet = without_listeners(&app).await;
    let before = quiet.clock().now() - Duration::from_hours(1);
    let id = dead_letter(&quiet).await;
    let discarded =
        quiet.app.operator().discard(&DeadLetterFilter { id: Some(id), ..Default::default() }).await.unwrap();
    assert_eq!(discarded.len(), 1);
    within("it to be gone", async || dead(&quiet, "confirmation").await == 0).await;
    quiet.clock().advance(quiet.app.config.messaging.retry.grace * 4);
    assert_eq!(reconciled(&quiet).await, 0);
    let replayed = quiet.app.reconciler().replay(before, Some("confirmation")).await.unwrap();
    assert_eq!(replayed, [("confirmation".to_owned(), 0)]);
}

async fn what_was_hurried_and_lost_is_missed_at_once_and_not_hours_later(app: TestApp) {
    let sink = Sink::start().await;
    sink.set(Script::default().on(Phase::Mail, Step::reply("451 4.3.0 later")));
    let quiet = TestApp::start_with(app.stack, |options| {
        options.parts = Parts::only(["web", "relay"]).unwrap();
        options.config.mail.smtp_url = Some(sink.url().into());
        options.config.messaging.retry.tiers = [Duration::from_hours(6); 5];
    })
    .await;
    assert_eq!(reconciled(&quiet).await, 0);
    let mut worker = listeners(&quiet).await;
    quiet.client().register("ann@example.org", PASSWORD, "Ann").await;
    let operator = quiet.app.operator();
    within("it to wait", async || operator.queues().await.unwrap()[0].waiting == 1).await;
    worker.end().await;
    quiet.clock().advance(quiet.app.config.messaging.retry.grace * 2);
    assert_eq!(reconciled(&quiet).await, 0, "it waits");
    within("it to be back", async || operator.retry_now(None).await.unwrap()[0].1 == 1).await;
    within("it to be back", async || depth(&quiet, "confirmation").await == 1).await;
    wipe(&quiet, "confirmation").await;
    quiet.clock().advance(quiet.app.config.messaging.retry.grace * 2);
    within("it to be missed", async || reconciled(&quiet).await == 1).await;
    sink.set(Script::default());
    let worker = listeners(&quiet).await;
    assert_eq!(sink.wait_for(1).await.len(), 1);
    quiet.settle().await;
    drop(worker);
}

async fn a_mail_whose_lease_went_to_somebody_who_ended_is_sent_later(app: TestApp) {
    let app = TestApp::mailing(app.stack, |_| ()).await;
    let sink = app.sink.as_ref().unwrap();
    sink.set(Script::default().on(Phase::Rcpt, Step::delay(Duration::from_secs(3)).times(1)));
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    within("the first worker to be at it", async || sink.attempts() == 1).await;
    // somebody else has it, and ends without a word
    let mut tx = app.db().begin().await.unwrap();
    let taken = tx.query("update lease set holder = $1").bind(Uuid::nil()).execute().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(taken, 1);
    within("the first to take it back", async || sink.taken_back() == 1).await;
    app.clock().advance(Duration::from_mins(1));
    assert_eq!(sink.wait_for(1).await.len(), 1);
    app.settle().await;
    assert_eq!(sink.mails().len(), 1);
}

/// On queues in the database, of which one can be taken away and given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_does_not_take_stays_where_it_was() {
    let app = TestApp::start_with(Stack::Small, |options| options.parts = Parts::only(["web"]).unwrap()).await;
    let quiet = without_listeners(&app).await;
    dead_letter(&quiet).await;
    assert_eq!(quiet.client().login("nobody@example.org", PASSWORD).await.status, 422);
    within("it to be in the queue", async || depth(&quiet, "login-log").await == 1).await;
    let mut tx = quiet.db().begin().await.unwrap();
    tx.query("delete from broker_queue where name in ('confirmation', 'login-log')").execute().await.unwrap();
    tx.commit().await.unwrap();
    quiet.clock().advance(quiet.app.config.messaging.retry.grace * 2);

    let (operator, reconciler) = (quiet.app.operator(), quiet.app.reconciler());
    for _ in 0..2 {
        let refused = operator.redrive(&DeadLetterFilter::default()).await.unwrap_err().to_string();
        assert!(refused.contains("cannot put"), "{refused}");
        within("the letter to rest on", async || dead(&quiet, "confirmation").await == 1).await;
        let refused = reconciler.reconcile(outbox::OUTBOX_RETENTION).await.unwrap_err().to_string();
        assert!(refused.contains("cannot publish again"), "{refused}");
    }
    let Broker::Embedded(embedded) = &quiet.app.broker else { panic!("the small stack has no other") };
    embedded.declare().await.unwrap();
    assert_eq!(reconciled(&quiet).await, 1, "it is missed as before");
    assert_eq!(operator.redrive(&DeadLetterFilter::default()).await.unwrap().len(), 1);
    assert_eq!((depth(&quiet, "login-log").await, depth(&quiet, "confirmation").await), (1, 1));
    let listeners = listeners(&quiet).await;
    quiet.settle().await;
    drop(listeners);
}

/// A file that another process has locked cannot say whose a mail is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_kept_back_while_the_database_cannot_say_whose_it_is() {
    let app = TestApp::mailing(Stack::Small, |_| ()).await;
    let sink = app.sink.as_ref().unwrap();
    sink.set(Script::default().on(Phase::Rcpt, Step::delay(Duration::from_secs(3)).times(1)));
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    within("a worker to be at it", async || sink.attempts() == 1).await;
    let other = Db::open(&Location::Sqlite(app.data.path().join("bellhop.sqlite")), 1).await.unwrap();
    let mut locked = other.begin().await.unwrap();
    locked.query("update installation set value = value").execute().await.unwrap();
    within("it to take the mail back", async || sink.taken_back() == 1).await;
    assert_eq!(sink.mails().len(), 0);
    drop(locked);
    app.clock().advance(Duration::from_mins(2));
    assert_eq!(sink.wait_for(1).await.len(), 1);
    app.settle().await;
    assert_eq!(sink.mails().len(), 1);
}
