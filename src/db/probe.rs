//! Whether the database does its work.

use std::time::Duration;

use sqlx::Connection as _;

use super::error::{Outage, outage};
use crate::db::Db;

/// How long readiness waits for the database's answer, and for its reason.
const CHECK_TIMEOUT: Duration = Duration::from_millis(3_500);
/// Bytes that are written to see whether a database that refused a write takes them again: as much as a busy second.
const PROOF_SIZE: usize = 65_536;

impl Db {
    /// Whether it answers and takes writes. It is asked for a write when one has failed, and now and then.
    ///
    /// # Errors
    /// Why it cannot do its work.
    pub async fn check(&self) -> Result<(), Outage> {
        let check = async {
            let error = match if self.condition().wants_proof() { self.prove().await } else { self.ping().await } {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let (Db::Postgres(server), sqlx::Error::PoolTimedOut) = (self, &error) {
                let outage = server.diagnose().await.unwrap_or(Outage::Away);
                self.condition().fell_out(outage, true);
                return Err(outage);
            }
            // one that is ours means that its tables are not what they should be
            match outage(&error).unwrap_or(Outage::Failing) {
                passes if passes.is_ready() => Ok(()),
                outage => Err(outage),
            }
        };
        tokio::time::timeout(CHECK_TIMEOUT, check).await.unwrap_or(Err(Outage::Away))
    }

    /// What the last answers say is wrong with it, without asking.
    #[must_use]
    pub fn known_outage(&self) -> Option<Outage> {
        let condition = self.condition();
        condition.outage().or_else(|| condition.is_busy().then_some(Outage::Busy))
    }

    async fn ping(&self) -> sqlx::Result<()> {
        match self {
            Db::Sqlite { read, .. } => read.acquire().await?.ping().await,
            Db::Postgres(server) => server.ping().await,
        }
    }

    /// Writes, and as much as others do when a write has failed: a little may still find its place.
    async fn prove(&self) -> sqlx::Result<()> {
        let size = if self.condition().outage().is_some() { PROOF_SIZE } else { 1 };
        for value in ["x".repeat(size), String::new()] {
            let mut tx = self.begin().await?;
            tx.query(
                "insert into installation (name, value) values ('probe', $1)
                 on conflict (name) do update set value = excluded.value",
            )
            .bind(value)
            .execute_deferred()
            .await?;
            tx.commit().await?;
        }
        self.condition().proven();
        Ok(())
    }
}
