//! Starting again, starting while others are away, and the commands beside `serve`.

use std::collections::BTreeSet;

use serde_json::json;

use super::fresh;
use crate::support::app::{PASSWORD, Stack, within};
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_data_directory_is_picked_up_again() {
    let mut app = Bellhop::new().await;
    app.start().await;
    let ann = app.signed_in_client("ann@example.org").await;
    assert_eq!(app.client().register("bob@example.org", PASSWORD, "Bob").await.status, 303);
    let token = app.token("bob@example.org").await;
    let cookies = ann.get("/account").await;
    assert_eq!(cookies.status, 200);
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0));

    app.start().await;
    assert_eq!(ann.get("/account").await.status, 200, "still signed in");
    let bob = app.client();
    let confirmed = bob.post("/confirm", &[("token", &token), ("password", PASSWORD)]).await;
    assert_eq!(confirmed.status, 303, "the link in the mail still works: {}", confirmed.body);
    assert_eq!(bob.get("/account").await.status, 200);
    assert_eq!(app.letters().len(), 2, "both mails are still in the mailbox");
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_and_registers_while_broker_and_mail_server_are_away_and_catches_up() {
    let (broker, database) = tokio::join!(rabbit::Private::new(), postgres::database());
    let mut sink = Sink::start().await;
    sink.stop().await;
    broker.stop().await;
    let app = Bellhop::new().await.with("DATABASE_URL", &database).with("BROKER_URL", broker.url());
    let mut app = app.with("SMTP_URL", &sink.url());
    app.start().await;
    app.until_it_answers("/readyz").await;
    let ready = app.client().get("/readyz").await.json();
    assert_eq!((&ready["ready"], &ready["degraded"]), (&true.into(), &json!(["broker"])));
    for number in 0..5 {
        let email = format!("guest-{number}@example.org");
        assert_eq!(app.client().register(&email, PASSWORD, "Ann").await.status, 303);
    }
    assert_eq!(app.client().login("guest-0@example.org", PASSWORD).await.status, 422);

    broker.start().await;
    // now it is the mail server that is away
    within("a failed delivery", async || app.client().get("/readyz").await.json()["degraded"] == json!(["mail"])).await;
    sink.restart().await;
    let mails = sink.wait_for(5).await;
    let addresses: BTreeSet<String> = mails.into_iter().flat_map(|mail| mail.recipients).collect();
    assert_eq!(addresses.len(), 5, "everybody has a mail");
    within("all well again", async || app.client().get("/readyz").await.json()["degraded"] == json!([])).await;
    // F24: in one line when it begins and in one when it ends, never by lapin
    let log = app.log();
    for said in [": degraded part=\"broker\"", ": well again part=\"broker\""] {
        assert_eq!(log.matches(said).count(), 1, "{said}: {log}");
    }
    assert!(!log.contains("lapin") && !log.contains("not published"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_made_by_a_command_of_its_own() {
    for stack in [Stack::Small, Stack::Large] {
        let mut app = fresh(stack).await.with("MIGRATE", "false");
        for _ in 0..2 {
            let output = app.call(&["migrate"]).await;
            assert!(output.status.success(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("up to date"), "{output:?}");
        }
        app.start().await;
        app.signed_in_client("ann@example.org").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queues_are_listed_by_a_command_of_its_own() {
    for stack in [Stack::Small, Stack::Large] {
        let mut app = fresh(stack).await;
        app.start().await;
        app.signed_in_client("ann@example.org").await;
        let output = app.call(&["queues"]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        for queue in ["confirmation", "login-log"] {
            let line = said.lines().find(|line| line.split_whitespace().next() == Some(queue)).expect(queue);
            let counts: Vec<&str> = line.split_whitespace().collect();
            let [_, depth, unacked, waiting, until, dead, oldest, consumers, _] = counts[..] else { panic!("{said}") };
            assert_eq!([depth, unacked, waiting, until, dead, oldest], ["0", "0", "0", "-", "0", "-"], "{said}");
            assert!(consumers.parse::<u64>().is_ok_and(|consumers| consumers > 0), "{said}");
        }
    }
}
