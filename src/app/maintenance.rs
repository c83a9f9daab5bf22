//! What the process with the relay does beside its work: old rows go, a little at a time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::account;
use crate::clock::Clock;
use crate::db::Db;
use crate::db::purge::Purge;
use crate::messaging::{consumer, outbox};

/// How often it is looked for what may go …
const INTERVAL: Duration = Duration::from_mins(10);
/// … and the pause before the next batch where there was something.
const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// How many rows of a kind go in one transaction.
const BATCH: i64 = 1_000;

/// What goes, and when.
pub fn purges() -> impl Iterator<Item = Purge> {
    account::purge::PURGES.into_iter().chain([outbox::PURGE]).chain(consumer::PURGES)
}

/// Purges until `stop`.
pub(super) async fn run(db: Db, clock: Clock, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = if purge(&db, &clock).await > 0 { BATCH_PAUSE } else { INTERVAL };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// One batch of each kind; how many rows went. A kind that fails does not keep the others.
async fn purge(db: &Db, clock: &Clock) -> u64 {
    let mut rows = 0;
    for purge in purges() {
        match purge.run(db, clock, BATCH).await {
            Ok(gone) => rows += gone,
            Err(error) => tracing::warn!(what = purge.name, %error, "cannot purge, trying again"),
        }
    }
    rows
}
