//! Periodic work of the process with the relay: expired rows are deleted, a little at a time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::account::login_log::refusals;
use crate::account::{self, Accounts};
use crate::clock::Clock;
use crate::config::LifetimeConfig;
use crate::db::purge::Purge;
use crate::db::{self, Db};
use crate::failpoint;
use crate::messaging::{consumer, outbox};
use crate::processes;

/// How often expired rows are looked for …
const INTERVAL: Duration = Duration::from_mins(10);
/// … and the pause between two batches.
const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// Rows of one kind in one transaction.
const BATCH: i64 = 1_000;

/// So many deleted rows are worth a vacuum …
const VACUUM_AFTER: u64 = 10_000;
/// … of the tables that fill and empty by the million. The server looks once a minute by itself, in which a rush makes them grow
/// by half a million rows (docs/performance.md).
const VACUUM: &str = "vacuum (skip_locked) outbox, inbox, broker_message";

/// Every kind of row that expires.
pub fn purges(lifetimes: &LifetimeConfig) -> impl Iterator<Item = Purge> + use<> {
    account::purge::purges(lifetimes)
        .into_iter()
        .chain([outbox::PURGE])
        .chain(processes::PURGES)
        .chain(consumer::PURGES)
}

/// Purges until `stop`.
pub(super) async fn run(accounts: Accounts, stop: CancellationToken) {
    let Accounts { db, clock, lifetimes, .. } = accounts.clone();
    while stop.run_until_cancelled(purge(&db, &clock, &lifetimes, BATCH_PAUSE)).await.is_some() {
        stop.run_until_cancelled(sum_up(&accounts)).await;
        failpoint::reach("maintenance.turn");
        stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await;
    }
}

/// Has told what was refused in minutes that are over.
pub async fn sum_up(accounts: &Accounts) {
    loop {
        match refusals::publish(accounts).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return db::report_failed_poll("summing refused sign-ins up", &error),
        }
    }
}

/// Deletes all expired rows, with a `pause` between batches, and vacuums after many. A kind that fails does not stop the
/// others.
pub async fn purge(db: &Db, clock: &Clock, lifetimes: &LifetimeConfig, pause: Duration) {
    let mut gone = 0;
    loop {
        let before = gone;
        for purge in purges(lifetimes) {
            match purge.run(db, clock, BATCH).await {
                Ok(rows) => gone += rows,
                Err(error) => db::report_failed_poll(&format!("deleting old {}", purge.name), &error.into()),
            }
        }
        if gone == before {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    if gone >= VACUUM_AFTER
        && let Err(error) = db.vacuum(VACUUM).await
    {
        tracing::debug!(%error, "cannot vacuum; autovacuum will");
    }
}
