//! The system's clock is put back while something waits: F60.

use std::time::Duration;

use bellhop::app::Parts;
use secrecy::SecretString;

use crate::support::app::{Options, PASSWORD, Stack, TestApp, within};
use crate::support::postgres;
use crate::support::smtp::{Phase, Script, Step};

const HOUR: Duration = Duration::from_hours(1);

/// What a browser was told has happened is in the outbox, and due by a clock that was an hour ahead.
async fn what_was_accepted_before_the_clock_was_put_back_happens_now(stack: Stack) {
    let web = |options: &mut Options| options.parts = Parts::only(["web"]).unwrap();
    let app = TestApp::start_with(stack, web).await;
    assert_eq!(app.client().register("ann@example.org", PASSWORD, "Ann").await.status, 303);
    app.clock().set_back(HOUR);
    let node = app.another_node(Parts::all()).await;
    node.settle().await;
    assert_eq!(app.mails_to("ann@example.org").await.len(), 1);
}

/// A mail waits in the first tier: it goes when its tier is over, and not an hour later.
async fn a_mail_that_waits_goes_though_the_clock_is_put_back(change: impl FnOnce(&mut Options)) {
    let app = TestApp::mailing(Stack::Small, |options| {
        options.config.messaging.retry.tiers[0] = Duration::from_secs(3);
        change(options);
    })
    .await;
    let sink = app.sink.as_ref().unwrap();
    sink.set(Script::default().on(Phase::Mail, Step::reply("451 4.3.0 later")));
    assert_eq!(app.client().register("ann@example.org", PASSWORD, "Ann").await.status, 303);
    let waiting = async || {
        let depths = app.app.depths().await.unwrap();
        depths.iter().find(|depth| depth.queue == "wait.10s").map_or(0, |depth| depth.messages)
    };
    within("it to wait", async || waiting().await == 1).await;
    sink.set(Script::default());
    app.clock().set_back(HOUR);
    assert_eq!(waiting().await, 1, "it waited when the clock was put back");
    app.settle().await;
    assert_eq!(app.mails_to("ann@example.org").await.len(), 1);
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_accepted_before_the_clock_was_put_back_happens_now() {
        super::what_was_accepted_before_the_clock_was_put_back_happens_now(Stack::Small).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_mail_that_waits_goes_though_the_clock_is_put_back() {
        super::a_mail_that_waits_goes_though_the_clock_is_put_back(|_| ()).await;
    }
}

mod postgres_or_rabbitmq {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_accepted_before_the_clock_was_put_back_happens_now() {
        super::what_was_accepted_before_the_clock_was_put_back_happens_now(Stack::Large).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_mail_that_waits_goes_though_the_clock_is_put_back() {
        let database = postgres::database().await;
        let url = |options: &mut Options| options.config.data.database_url = Some(SecretString::from(database));
        super::a_mail_that_waits_goes_though_the_clock_is_put_back(url).await;
    }
}
