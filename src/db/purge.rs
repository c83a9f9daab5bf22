//! Deleting expired rows: one mechanism for all tables. Each module lists what it lets expire and when; `app::maintenance`
//! has the list of lists.

use std::time::Duration;

use crate::clock::Clock;
use crate::db::Db;

/// Rows that expire.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    /// For logs.
    pub name: &'static str,
    /// Deletes at most `$2` rows that were over before `$1`.
    pub statement: &'static str,
    /// How long a row is kept after that.
    pub keep: Duration,
}

impl Purge {
    /// Deletes at most `limit` rows, and returns how many.
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
