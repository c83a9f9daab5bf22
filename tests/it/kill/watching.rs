//! Tasks that end by themselves, and what each process says of its parts.

use serde_json::{Value, json};

use super::fresh;
use crate::support::app::{HttpClient, PASSWORD, Stack, within};
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;
use crate::support::{ports, postgres, rabbit};

/// Where a task panics, and the names of the parts that may be started again for it.
type Place = (&'static str, &'static [&'static str]);

const EVERYWHERE: &[Place] = &[
    ("web.turn:1", &["web"]),
    ("health.turn:2", &["monitor"]),
    ("relay.turn:3", &["relay"]),
    ("reconciler.turn:1", &["reconciler"]),
    ("maintenance.turn:1", &["maintenance"]),
    ("consumer.turn:1", &["listener:confirmation", "listener:login-log"]),
    ("node.turn:1", &["node"]),
    ("batch.collected:2", &["writes", "acknowledgements", "login-log rows"]),
];
const WITH_QUEUES_IN_THE_DATABASE: &[Place] = &[("queues.turn:2", &["queues"])];
const WITH_SERVERS: &[Place] = &[
    ("notifications.turn:1", &["notifications"]),
    ("broker.connected:1", &["connection of the publisher", "connection of the consumer"]),
];

/// What `/readyz` says, if it answers.
async fn readiness(url: &str) -> Option<Value> {
    HttpClient::new(url).http.get(format!("{url}/readyz")).send().await.ok()?.json().await.ok()
}

/// The names of what is degraded.
async fn degraded(url: &str) -> Vec<String> {
    let said = readiness(url).await.unwrap_or_default();
    let names = said["degraded"].as_array().cloned().unwrap_or_else(|| vec!["no answer".into()]);
    names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

async fn every_task_is_started_again(stack: Stack, places: Vec<Place>) {
    let seeds: Vec<&str> = places.iter().map(|(place, _)| *place).collect();
    let mut app = fresh(stack).await.with("FAILPOINT", &seeds.join(","));
    app.start().await;
    let (mut number, mut missing, mut named) = (0, Vec::new(), false);
    within("every task to have been started again", async || {
        // something to do for each of them; one request may fail with a task that it waits for
        let client = app.client();
        number += 1;
        let email = format!("guest{number}@example.org");
        let login = json!({"email": email, "password": PASSWORD});
        let _ = client.http.post(format!("{}/api/v1/login", app.url)).json(&login).send().await;
        let registration = json!({"email": email, "password": PASSWORD, "name": "Ann"});
        let _ = client.http.post(format!("{}/api/v1/register", app.url)).json(&registration).send().await;
        let Some(said) = readiness(&app.url).await else { return false };
        named |= said["degraded"].as_array().is_some_and(|names| names.contains(&"relay".into()));
        let restarted = |names: &[&str]| {
            let parts = said["parts"].as_array().expect("parts").iter();
            parts
                .filter(|part| part["restarts"] != 0)
                .any(|part| names.contains(&part["part"].as_str().expect("a name")))
        };
        missing = places.iter().filter(|(_, names)| !restarted(names)).map(|(place, _)| *place).collect();
        missing.is_empty()
    })
    .await;
    assert!(named, "degraded while it was not sure");
    within("all well again", async || degraded(&app.url).await.is_empty()).await;
    assert_eq!(app.client().register("last@example.org", PASSWORD, "Ann").await.status, 303);
    app.token("last@example.org").await;
    let log = app.log();
    assert!(log.matches("ended by itself; starting it again").count() >= places.len(), "{log}");
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0), "{}", app.log());
}

/// F49: as long as one consumer, relay or supervisor that panics stays away, mails stay too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ends_by_itself_is_started_again_on_sqlite() {
    every_task_is_started_again(Stack::Small, [EVERYWHERE, WITH_QUEUES_IN_THE_DATABASE].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ends_by_itself_is_started_again_on_postgres_and_rabbit() {
    every_task_is_started_again(Stack::Large, [EVERYWHERE, WITH_SERVERS].concat()).await;
}

/// What feeds a consumer ends: the consumer begins again, and what it held comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_ends_by_itself_is_made_again() {
    let mut app = fresh(Stack::Large).await.with("FAILPOINT", "subscription.turn:1");
    app.start().await;
    assert_eq!(app.client().register("ann@example.org", PASSWORD, "Ann").await.status, 303);
    app.until_it_says("ended by itself; starting it again").await;
    app.token("ann@example.org").await;
}

/// F29: each process says how it fares, and the one that people ask tells of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_degraded_in_one_process_is_named_by_the_others() {
    let (database, vhost) = tokio::join!(postgres::database(), rabbit::vhost());
    let mut sink = Sink::start().await;
    let smtp = sink.url();
    sink.stop().await;
    let mut processes = Vec::new();
    for part in ["web", "relay", "listeners"] {
        let address = ports::listen().await.local_addr().expect("it listens").to_string();
        let process = Bellhop::new().await.with("DATABASE_URL", &database).with("BROKER_URL", &vhost);
        let process = process.with("SECRET_KEY", "a key of the tests' own, 4f1d9ab2c7e85630").with("SMTP_URL", &smtp);
        let mut process = process.with("METRICS_LISTEN", &address).running(&["serve", "--only", part]);
        process.spawn();
        let own = format!("http://{address}");
        within("an answer of its own", async || readiness(&own).await.is_some_and(|said| said["ready"] == true)).await;
        processes.push((process, own));
    }
    let [(web, _), (relay, _), (listeners, of_listeners)] = &mut processes[..] else { panic!("three") };
    let parts = async |url: &str, of: &str| {
        let said = readiness(url).await.unwrap_or_default();
        let parts = said[of].as_array().cloned().unwrap_or_default();
        parts.iter().map(|part| part["part"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    within("the web to know of the others", async || {
        let others = parts(&web.url, "elsewhere").await;
        ["relay", "listener:confirmation", "mail"].iter().all(|part| others.iter().any(|other| other == part))
    })
    .await;
    assert!(parts(&web.url, "parts").await.contains(&"web".to_owned()));
    assert!(!parts(of_listeners, "parts").await.contains(&"web".to_owned()));

    assert_eq!(web.client().register("ann@example.org", PASSWORD, "Ann").await.status, 303);
    within("its own process to name it", async || degraded(of_listeners).await == ["mail"]).await;
    within("the web to name it", async || degraded(&web.url).await == ["mail"]).await;
    sink.restart().await;
    within("all well again", async || degraded(&web.url).await.is_empty()).await;
    let log = listeners.log();
    assert_eq!(log.matches(": degraded part=\"mail\"").count(), 1, "said once: {log}");
    assert_eq!(log.matches(": well again part=\"mail\"").count(), 1, "and once: {log}");

    // whoever is gone, in order or without a word, is missed as long as nobody else does the work
    listeners.terminate();
    assert_eq!(listeners.end().await.code(), Some(0));
    within("it to have taken leave", async || !parts(&web.url, "elsewhere").await.contains(&"mail".to_owned())).await;
    relay.kill9();
    within("the relay to be missed", async || degraded(&web.url).await.contains(&"relay".to_owned())).await;
    web.until_it_says("no process does this work part=\"relay\"").await;
    relay.spawn();
    within("the relay to be back", async || !degraded(&web.url).await.contains(&"relay".to_owned())).await;
    let work = [
        "listener:confirmation",
        "listener:deletion",
        "listener:email-change",
        "listener:login-log",
        "listener:notices",
        "listener:password-reset",
        "listener:reminders",
    ];
    within("the listeners to be missed", async || degraded(&web.url).await == work).await;
    listeners.spawn();
    within("all well again", async || degraded(&web.url).await.is_empty()).await;
    web.until_it_says("this work is done again part=\"relay\"").await;
    for said in ["no process does this work part=\"relay\"", "this work is done again part=\"relay\""] {
        assert_eq!(web.log().matches(said).count(), 1, "said once: {}", web.log());
    }
    drop(sink);
}
