//! The retry state of events: which wait for another attempt of which listener, and which are dead letters.
//!
//! The message itself is with the broker. Its retry state is written down beside it, so that one that the broker lost is missed,
//! one that only waits is not, and both are counted without asking the broker. It ends with the mark in the
//! inbox, which is why nothing here stands in the way of a listener that succeeds.

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::purge::Purge;
use crate::db::{Db, Sql, Tx};
use crate::messaging::message::Message;

/// How long retry state is kept; longer than an event can still come again.
pub const RETRY_RETENTION: Duration = Duration::from_hours(720);

/// Retry state goes when the event is done, at the latest after [`RETRY_RETENTION`].
pub(super) const PURGE: Purge = Purge {
    name: "retry state",
    statement: "delete from setback
                where (listener, event_id) in (
                  select s.listener, s.event_id from setback s
                  where s.last_at < $1
                    or exists (select 1 from inbox i where i.listener = s.listener and i.event_id = s.event_id)
                  limit $2)",
    keep: RETRY_RETENTION,
};

/// Writes down that a message waits for `listener` until `due`, or is its dead letter until an operator decides.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn record(
    db: &Db,
    clock: &Clock,
    listener: &str,
    message: &Message,
    due: Option<Timestamp>,
) -> sqlx::Result<()> {
    let Some(failure) = &message.failure else { return Ok(()) };
    let mut tx = db.begin().await?;
    tx.query(
        "insert into setback (listener, event_id, attempt, reason, first_at, last_at, due_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (listener, event_id) do update
         set attempt = excluded.attempt, reason = excluded.reason, first_at = excluded.first_at,
             last_at = excluded.last_at, due_at = excluded.due_at",
    )
    .bind(listener.to_owned())
    .bind(message.id)
    .bind(i32::try_from(message.attempt).unwrap_or(i32::MAX))
    .bind(failure.reason.clone())
    .bind(failure.first_at)
    .bind(clock.now())
    .bind(due)
    .execute_deferred()
    .await?;
    tx.commit().await
}

/// Writes down that events were published again to `listener` at `now`, and are not missed before `due`.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn published_again(
    tx: &mut Tx,
    listener: &str,
    events: &[Uuid],
    now: Timestamp,
    due: Timestamp,
) -> sqlx::Result<()> {
    tx.query(Sql {
        sqlite: "insert into setback (listener, event_id, attempt, reason, first_at, last_at, due_at)
                 select $1, unhex(value), 0, 'missed, and published again', $2, $2, $3 from json_each($4) where true
                 on conflict (listener, event_id) do update
                 set attempt = excluded.attempt, reason = excluded.reason, last_at = excluded.last_at,
                     due_at = excluded.due_at",
        postgres: "insert into setback (listener, event_id, attempt, reason, first_at, last_at, due_at)
                   select $1, event, 0, 'missed, and published again', $2, $2, $3 from unnest($4) as event
                   on conflict (listener, event_id) do update
                   set attempt = excluded.attempt, reason = excluded.reason, last_at = excluded.last_at,
                       due_at = excluded.due_at",
    })
    .bind(listener.to_owned())
    .bind(now)
    .bind(due)
    .bind_ids(events)
    .execute_deferred()
    .await
}

/// What waits for another attempt of a listener.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(in crate::messaging) struct Waiting {
    /// The listener's queue, short name.
    pub(in crate::messaging) listener: String,
    /// How many events.
    pub(in crate::messaging) events: i64,
    /// When the first of them comes again …
    pub(in crate::messaging) first: Timestamp,
    /// … and the last.
    pub(in crate::messaging) last: Timestamp,
}

/// Of each listener, how many events wait for another attempt, and until when.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn waiting(db: &Db, clock: &Clock) -> sqlx::Result<Vec<Waiting>> {
    db.query(
        "select s.listener, count(*) as events, min(s.due_at) as first, max(s.due_at) as last from setback s
         where s.attempt > 0 and s.due_at > $1
           and not exists (select 1 from inbox i where i.listener = s.listener and i.event_id = s.event_id)
         group by s.listener",
    )
    .bind(clock.now())
    .all()
    .await
}

/// Of each listener, how many dead letters there are that have not been done since, as far as is written down here: for when the
/// broker cannot be asked.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn dead(db: &Db) -> sqlx::Result<Vec<(String, i64)>> {
    db.query(
        "select s.listener, count(*) from setback s
         where s.due_at is null
           and not exists (select 1 from inbox i where i.listener = s.listener and i.event_id = s.event_id)
         group by s.listener",
    )
    .all()
    .await
}

/// Writes down that what waits for `listener` comes now.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn hurry(tx: &mut Tx, listener: &str, now: Timestamp) -> sqlx::Result<()> {
    tx.query("update setback set due_at = $2 where listener = $1 and due_at > $2")
        .bind(listener.to_owned())
        .bind(now)
        .execute_deferred()
        .await
}
