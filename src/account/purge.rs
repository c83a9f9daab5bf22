//! What goes by itself: registrations that nobody confirmed, sessions that ended.

use crate::account::Accounts;
use crate::account::session::IDLE;

/// Deletes at most `limit` of each, and tells how many rows went.
///
/// # Errors
/// When the database is away.
pub async fn purge(accounts: &Accounts, limit: i64) -> anyhow::Result<u64> {
    let now = accounts.clock.now();
    let mut tx = accounts.db.begin().await?;
    let registrations = tx
        .query("delete from registrations where id in (select id from registrations where expires_at <= $1 limit $2)")
        .bind(now)
        .bind(limit)
        .execute()
        .await?;
    let sessions = tx
        .query(
            "delete from sessions
             where id in (select id from sessions where expires_at <= $1 or last_seen_at <= $2 limit $3)",
        )
        .bind(now)
        .bind(now - IDLE)
        .bind(limit)
        .execute()
        .await?;
    tx.commit().await?;
    Ok(registrations + sessions)
}
