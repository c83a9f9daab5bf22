//! The database out of reach under registrations and logins: whoever asks is told to come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crashes::PACE;
use crate::support::app::{PASSWORD, within};
use crate::support::chance::Chance;
use crate::support::ledger::Ledger;
use crate::support::process::Bellhop;
use crate::support::proxy::{Mode, Proxy};
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_reached_is_a_503_in_whichever_way_it_is_gone() {
    let (chance, sink) = (Chance::new(), Arc::new(Sink::start().await));
    let (road, database) = Proxy::before(&postgres::database().await).await;
    let mut app = Bellhop::on(&database, &rabbit::vhost().await, sink).await;
    app.start().await;
    let mut ledger = Ledger::open(&app, 2, PACE).await;
    let refused = |ledger: &Ledger| ledger.statuses().range(500..).map(|(_, count)| count).sum::<usize>();
    for mode in [Mode::Reset, Mode::Blackhole, Mode::Cut] {
        ledger.until_more(5).await;
        let before = refused(&ledger);
        road.set(mode);
        within("answers without a database", async || refused(&ledger) > before + 3).await;
        road.set(Mode::Pass);
    }
    let back = Instant::now();
    ledger.until_more(5).await;
    ledger.close().await;
    ledger.audit(&app, back).await.pass(chance.seed, "large-database-out-of-reach", 3);
    let statuses = ledger.statuses();
    assert!(statuses.keys().all(|status| [303, 422, 503].contains(status)), "503 or done: {statuses:?}");
}

/// Each request waited two seconds for a connection, and wrote an error into the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_known_to_be_away_keeps_nobody_waiting_and_is_said_once() {
    let (road, database) = Proxy::before(&postgres::database().await).await;
    let mut app = Bellhop::new().await.with("DATABASE_URL", &database);
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    // nothing of its start is on the way any more
    app.until_it_answers("/readyz").await;
    let client = app.client();
    let login = async || client.login("ann@example.org", PASSWORD).await.status;
    let (began, ended) = (": degraded part=\"database\"", ": well again part=\"database\"");
    for (mode, times) in [(Mode::Blackhole, 1), (Mode::Reset, 2)] {
        road.set(mode);
        within("a refusal", async || login().await == 503).await;
        within("a line of the log", async || app.log().matches(began).count() == times).await;
        let since = Instant::now();
        for _ in 0..20 {
            assert_eq!(login().await, 503);
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{mode:?}: nobody waits: {:?}", since.elapsed());
        road.set(Mode::Pass);
        within("a login", async || login().await == 303).await;
        within("another line", async || app.log().matches(ended).count() == times).await;
    }
    let log = app.log();
    // a statement that was on its way is slow
    let is_loud = |line: &&str| line.contains("ERROR") || line.contains("WARN") && !line.contains("slow statement");
    let loud: Vec<&str> = log.lines().filter(is_loud).collect();
    assert!(loud.len() == 2 && loud.iter().all(|line| line.contains(began)), "{loud:#?}");
}
