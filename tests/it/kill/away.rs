//! The database out of reach under registrations and logins: whoever asks is told to come back.

use std::sync::Arc;
use std::time::Instant;

use super::crashes::PACE;
use crate::support::app::within;
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
