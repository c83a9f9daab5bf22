//! The parts as processes of their own, several of each, on PostgreSQL and RabbitMQ.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::app::{PASSWORD, within};
use crate::support::chance::Chance;
use crate::support::ledger::Ledger;
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_run_apart_and_side_by_side() {
    let chance = Chance::new();
    let (database, vhost) = tokio::join!(postgres::database(), rabbit::vhost());
    let sink = Arc::new(Sink::start().await);
    let mut processes = Vec::new();
    for part in [
        "web",
        "web",
        "relay",
        "relay",
        "listener:confirmation",
        "listener:confirmation",
        "listener:login-log",
        "listener:notices",
    ] {
        let process = Bellhop::on(&database, &vhost, Arc::clone(&sink)).await;
        let process = process.with("SECRET_KEY", "a key of the tests' own, 4f1d9ab2c7e85630");
        let process = process.with("PUBLIC_URL", "http://127.0.0.1:8080");
        let mut process = process.running(&["serve", "--only", part]);
        process.spawn();
        if part == "web" {
            process.until_it_answers("/livez").await;
        }
        processes.push(process);
    }
    let [here, there, ..] = &mut processes[..] else { panic!("two web nodes") };

    // registrations on one node, logins on the other, confirmations between
    let mut ledger = Ledger::open_at(here, &there.url.clone(), 2, Duration::from_millis(20)).await;
    ledger.until_more(40).await;
    ledger.close().await;
    let audit = ledger.audit(here, Instant::now()).await;
    audit.pass(chance.seed, "large-apart", 0);
    assert_eq!((audit.duplicates, audit.in_doubt), (0, 0), "each event was handled once: {audit:?}");

    // a logout on one node is refused on the other
    let mut refused_after = Vec::new();
    for _ in 0..9 {
        let ann = here.client();
        let cookie = format!("bellhop={}", ann.login("user-0@example.org", PASSWORD).await.cookie("bellhop"));
        let elsewhere = there.client();
        let me = async || {
            let asked = elsewhere.http.get(format!("{}/api/v1/me", there.url)).header("cookie", &cookie).send();
            asked.await.expect("an answer").status().as_u16()
        };
        // the second answer comes from the node's memory
        assert_eq!((me().await, me().await), (200, 200), "signed in on every node");
        assert_eq!(ann.post("/logout", &[]).await.status, 303);
        let told = Instant::now();
        within("refused on the other node", async || me().await == 401).await;
        refused_after.push(told.elapsed());
    }
    refused_after.sort();
    println!(
        "a logout is refused on the other node after (ms): {:?}",
        refused_after.iter().map(Duration::as_millis).collect::<Vec<_>>()
    );
    let median = refused_after[refused_after.len() / 2];
    assert!(median < Duration::from_secs(1), "half of them took longer than {median:?}");
}
