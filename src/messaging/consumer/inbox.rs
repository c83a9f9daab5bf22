//! What each listener has done, so that a second delivery of an event does nothing.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::purge::Purge;
use crate::db::{Db, Sql, Tx};

/// How long a mark stays; longer than an event can still come again.
pub const INBOX_RETENTION: Duration = Duration::from_hours(720);

/// Marks go after [`INBOX_RETENTION`].
pub(super) const PURGE: Purge = Purge {
    name: "marks in the inbox",
    statement: "delete from inbox
                where (listener, event_id) in (select listener, event_id from inbox where seen_at < $1 limit $2)",
    keep: INBOX_RETENTION,
};

/// Marks an event as done by `listener`, in the transaction of its effect. False means that it was done before: the
/// transaction of the first waits or wins, so two at once cannot both get true.
///
/// # Errors
/// When the database refuses or is away.
pub async fn mark(tx: &mut Tx, clock: &Clock, listener: &str, event: Uuid) -> sqlx::Result<bool> {
    let marked = tx
        .query("insert into inbox (listener, event_id, seen_at) values ($1, $2, $3) on conflict do nothing")
        .bind(listener.to_owned())
        .bind(event)
        .bind(clock.now())
        .execute()
        .await?;
    Ok(marked == 1)
}

/// As [`mark`], for many: those that were not done before.
///
/// # Errors
/// When the database refuses or is away.
pub async fn mark_all(tx: &mut Tx, clock: &Clock, listener: &str, events: &[Uuid]) -> sqlx::Result<HashSet<Uuid>> {
    let fresh: Vec<(Uuid,)> = tx
        .query(Sql {
            sqlite: "insert into inbox (listener, event_id, seen_at)
                     select $1, unhex(value), $2 from json_each($3) where true
                     on conflict do nothing
                     returning event_id",
            postgres: "insert into inbox (listener, event_id, seen_at)
                       select $1, event, $2 from unnest($3) as event
                       on conflict do nothing
                       returning event_id",
        })
        .bind(listener.to_owned())
        .bind(clock.now())
        .bind_ids(events)
        .all()
        .await?;
    Ok(fresh.into_iter().map(|(id,)| id).collect())
}

/// When `listener` has done an event, if it has.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn done_at(db: &Db, listener: &str, event: Uuid) -> sqlx::Result<Option<Timestamp>> {
    let done: Option<(Timestamp,)> = db
        .query("select seen_at from inbox where listener = $1 and event_id = $2")
        .bind(listener.to_owned())
        .bind(event)
        .optional()
        .await?;
    Ok(done.map(|(at,)| at))
}

/// Of each listener, how many events it has done since then.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn rates(db: &Db, since: Timestamp) -> sqlx::Result<Vec<(String, i64)>> {
    db.query("select listener, count(*) from inbox where seen_at > $1 group by listener").bind(since).all().await
}
