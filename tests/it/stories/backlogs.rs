//! A backlog does not stand in people's way, and all of it arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bellhop::app::Parts;
use bellhop::event::{Event, Origin};
use bellhop::messaging::backpressure::Backpressure;
use bellhop::messaging::outbox;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::app::{Stack, TestApp, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_drained_a_little_at_a_time_while_people_wait_on_sqlite() {
    drain_a_backlog(Stack::Small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_drained_a_little_at_a_time_while_people_wait_on_postgres() {
    drain_a_backlog(Stack::Large).await;
}

/// More than two workers publish at once, and more than the listener takes at once, several times over.
const EVENTS: i64 = 1_200;

async fn drain_a_backlog(stack: Stack) {
    // neither relay nor listeners, but those below
    let app = TestApp::start_with(stack, |options| options.parts = Parts::only(["web"]).unwrap()).await;
    let user = Uuid::now_v7();
    let origin = Origin { ip: [192, 0, 2, 7].into(), user_agent: String::new() };
    let mut tx = app.db().begin().await.unwrap();
    for _ in 0..EVENTS {
        let event = Event::LoginSucceeded { user, session: Uuid::now_v7(), origin: origin.clone() };
        outbox::append(&mut tx, app.clock(), &event).await.unwrap();
    }
    tx.commit().await.unwrap();

    let asked = Arc::new(AtomicUsize::new(0));
    let backpressure = Backpressure::new({
        let asked = Arc::clone(&asked);
        move || {
            asked.fetch_add(1, Ordering::SeqCst);
            true
        }
    });
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    let mut relay = app.app.relay();
    relay.backpressure = backpressure.clone();
    running.spawn(relay.run(stop.clone()));
    within("everything to be published", async || {
        let unpublished = "select count(*) from outbox where published_at is null and due_at <= $1";
        app.db().query(unpublished).bind(app.clock().now()).one::<(i64,)>().await.unwrap().0 == 0
    })
    .await;
    // four full batches; the first is followed by no pause, it may have been all
    assert!(asked.load(Ordering::SeqCst) >= 1, "the relay did not ask");

    asked.store(0, Ordering::SeqCst);
    for mut consumer in app.app.consumers(&Parts::only(["listener:login-log"]).unwrap()) {
        assert!(consumer.at_once > 1, "rows are written together");
        consumer.backpressure = backpressure.clone();
        running.spawn(consumer.run(stop.clone()));
    }
    within("all rows", async || {
        app.db().query("select count(*) from login_log").one::<(i64,)>().await.unwrap().0 == EVENTS
    })
    .await;
    assert!(asked.load(Ordering::SeqCst) >= 3, "the consumers did not ask");
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    app.settle().await;
}
