//! What goes by itself once it is old: one mechanism for all tables. Each module lists what of its own goes and when;
//! `app::maintenance` has the list of lists.

use std::time::Duration;

use crate::clock::Clock;
use crate::db::Db;

/// Rows that are deleted when they are old.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    /// What goes, for logs.
    pub name: &'static str,
    /// Deletes at most `$2` rows that were over before `$1`.
    pub statement: &'static str,
    /// How long a row stays after it was over.
    pub keep: Duration,
}

impl Purge {
    /// Deletes at most `limit` rows, and tells how many went.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn run(&self, db: &Db, clock: &Clock, limit: i64) -> sqlx::Result<u64> {
        let mut tx = db.begin().await?;
        let gone = tx.query(self.statement).bind(clock.now() - self.keep).bind(limit).execute().await?;
        tx.commit().await?;
        Ok(gone)
    }
}
