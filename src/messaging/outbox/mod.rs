//! What happened, written in the transaction that makes it true.
//!
//! A row is either there with the change it tells of or neither is; a publish failure can never undo an account and a
//! crash can never lose an event. The relay takes rows from here to the broker and marks them; they stay for
//! [`OUTBOX_RETENTION`] as the log of truth.

pub mod reconciler;
pub mod relay;

use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::purge::Purge;
use crate::db::{Db, Sql, Tx};
use crate::messaging::claim::claim;
use crate::messaging::message::Message;
use crate::telemetry;

/// How long published rows stay.
pub const OUTBOX_RETENTION: Duration = Duration::from_hours(168);

/// Published rows go after [`OUTBOX_RETENTION`].
pub const PURGE: Purge = Purge {
    name: "published events",
    statement: "delete from outbox where id in (select id from outbox where published_at < $1 limit $2)",
    keep: OUTBOX_RETENTION,
};

/// How long a relay may hold a row before another one may take it; longer than a publish may last.
const CLAIM_LEASE: Duration = Duration::from_secs(30);

/// How soon an event that no queue took is published again: the longest that a row is kept from all relays.
const UNROUTABLE_DELAY: Duration = Duration::from_mins(1);

/// Something that happened, in the form in which it travels.
pub trait OutboxEvent {
    /// Its type and routing key: `user.registered`.
    fn kind(&self) -> &'static str;
    /// Its body, `CloudEvents` 1.0 JSON.
    fn body(&self, id: Uuid, at: Timestamp) -> String;
}

/// Writes down that something happened, in the transaction that makes it true, and returns the event's id.
///
/// # Errors
/// When the database refuses or is away.
pub async fn append(tx: &mut Tx, clock: &Clock, event: &impl OutboxEvent) -> anyhow::Result<Uuid> {
    append_at(tx, clock, event, clock.now()).await
}

/// As [`append`], for something that is to happen at `due`: the event stays here until then, and its time is that one. By
/// then the world may be another, so whoever hears it looks at the present state; nothing needs to be cancelled.
///
/// # Errors
/// When the database refuses or is away.
pub async fn append_at(tx: &mut Tx, clock: &Clock, event: &impl OutboxEvent, due: Timestamp) -> anyhow::Result<Uuid> {
    let id = clock.new_id();
    tx.query(
        "insert into outbox (id, type, body, traceparent, created_at, due_at, attempts)
         values ($1, $2, $3, $4, $5, $6, 0)",
    )
    .bind(id)
    .bind(event.kind())
    .bind(event.body(id, due))
    .bind(telemetry::current_trace())
    .bind(clock.now())
    .bind(due)
    .execute_deferred()
    .await
    .context("cannot write the event down")?;
    Ok(id)
}

/// When the next event is due that no relay has, if there is any; the past if one is due. Asked before the write lock is
/// taken: every second look finds nothing.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn next_due(db: &Db, clock: &Clock) -> anyhow::Result<Option<Timestamp>> {
    let next: Option<(Timestamp,)> = db
        .query(
            "select due_at from outbox
             where published_at is null and (claimed_until is null or claimed_until <= $1)
             order by due_at
             limit 1",
        )
        .bind(clock.now())
        .optional()
        .await?;
    Ok(next.map(|(due,)| due))
}

/// Sets `$set` of at most `$2` events that are due at `$1` and that no relay has, oldest first.
macro_rules! claim_due {
    ($set:literal, $returning:literal) => {
        claim!(
            concat!(
                "update outbox set ",
                $set,
                " where id in (
                    select id from outbox
                    where published_at is null and due_at <= $1 and (claimed_until is null or claimed_until <= $1)
                    order by due_at, id
                    limit $2"
            ),
            concat!(") returning ", $returning)
        )
    };
}

/// Takes up to `limit` due events out for good, for whoever puts them into their queues in the same transaction: their
/// ids and types, oldest first.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn take(tx: &mut Tx, clock: &Clock, limit: i64) -> anyhow::Result<Vec<(Uuid, String)>> {
    tx.in_index_order().await?;
    let mut taken: Vec<(Uuid, String)> = tx
        .query(claim_due!(
            "published_at = $1, claimed_until = null, last_error = null, attempts = attempts + 1",
            "id, type"
        ))
        .bind(clock.now())
        .bind(limit)
        .all()
        .await
        .context("cannot take events")?;
    taken.sort_unstable_by_key(|(id, _)| *id);
    Ok(taken)
}

#[derive(FromRow)]
struct Claimed {
    id: Uuid,
    #[sqlx(rename = "type")]
    kind: String,
    body: String,
    traceparent: Option<String>,
}

/// Takes up to `limit` due events for publishing, oldest first; nobody else gets them for [`CLAIM_LEASE`].
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn claim(db: &Db, clock: &Clock, limit: i64) -> anyhow::Result<Vec<Message>> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    tx.in_index_order().await?;
    let rows: Vec<Claimed> = tx
        .query(claim_due!("claimed_until = $3, attempts = attempts + 1", "id, type, body, traceparent"))
        .bind(now)
        .bind(limit)
        .bind(now + CLAIM_LEASE)
        .all()
        .await
        .context("cannot claim events")?;
    tx.commit().await?;
    let mut messages: Vec<Message> = rows
        .into_iter()
        .map(|row| Message {
            id: row.id,
            kind: row.kind,
            body: row.body.into_bytes(),
            traceparent: row.traceparent,
            attempt: 0,
            failure: None,
        })
        .collect();
    // `returning` promises no order; ids sort by time
    messages.sort_unstable_by_key(|message| message.id);
    Ok(messages)
}

/// Marks events as published.
///
/// # Errors
/// When the database is away; they will be published again, which consumers fold.
pub(in crate::messaging) async fn published(tx: &mut Tx, clock: &Clock, ids: &[Uuid]) -> anyhow::Result<()> {
    tx.query(Sql {
        sqlite: "update outbox
                 set published_at = $1, claimed_until = null, last_error = null
                 where id in (select unhex(value) from json_each($2))",
        postgres: "update outbox
                   set published_at = $1, claimed_until = null, last_error = null
                   where id = any($2)",
    })
    .bind(clock.now())
    .bind_ids(ids)
    .execute_deferred()
    .await
    .context("cannot mark events as published")?;
    Ok(())
}

/// Gives events back that could not be published, to be tried again after `pause`.
///
/// # Errors
/// When the database is away; the claim runs out by itself.
pub(in crate::messaging) async fn failed(
    tx: &mut Tx,
    clock: &Clock,
    ids: &[Uuid],
    error: &str,
    pause: Duration,
) -> anyhow::Result<()> {
    tx.query(Sql {
        sqlite: "update outbox
                 set claimed_until = $1, last_error = $3, published_at = null
                 where id in (select unhex(value) from json_each($2))",
        postgres: "update outbox
                   set claimed_until = $1, last_error = $3, published_at = null
                   where id = any($2)",
    })
    .bind(clock.now() + pause)
    .bind_ids(ids)
    .bind(error.chars().take(500).collect::<String>())
    .execute_deferred()
    .await
    .context("cannot give events back")?;
    Ok(())
}

/// The bodies of the events of a type that name this id and that are still kept, newest first, a few at most. Reads all of the
/// type: for operators who ask about one.
///
/// # Errors
/// When the database is away.
pub async fn naming(db: &Db, kind: &'static str, id: Uuid) -> sqlx::Result<Vec<(Uuid, String)>> {
    db.query("select id, body from outbox where type = $1 and body like $2 order by id desc limit 5")
        .bind(kind)
        .bind(format!("%{id}%"))
        .all()
        .await
}

/// What was written down before the clock was put back is due now, unless it was meant for later, and no relay has it for longer
/// than it may.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn shorten(db: &Db, clock: &Clock) -> anyhow::Result<()> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    tx.query(
        "update outbox set due_at = $1, created_at = $1
         where published_at is null and due_at > $1 and due_at <= created_at",
    )
    .bind(now)
    .execute_deferred()
    .await?;
    tx.query("update outbox set claimed_until = $1 where published_at is null and claimed_until > $1")
        .bind(now + UNROUTABLE_DELAY)
        .execute_deferred()
        .await?;
    tx.commit().await.context("cannot shorten what waits in the outbox")
}

/// How many events are to happen later, and when the first of them is.
///
/// # Errors
/// When the database is away.
pub(in crate::messaging) async fn scheduled(db: &Db, clock: &Clock) -> sqlx::Result<(i64, Option<Timestamp>)> {
    db.query("select count(*), min(due_at) from outbox where published_at is null and due_at > $1")
        .bind(clock.now())
        .one()
        .await
}

/// How many events wait for the broker, and since when the oldest has been due.
///
/// # Errors
/// When the database is away.
pub async fn backlog(db: &Db, clock: &Clock) -> anyhow::Result<(i64, Option<Timestamp>)> {
    let backlog = db
        .query("select count(*), min(due_at) from outbox where published_at is null and due_at <= $1")
        .bind(clock.now())
        .one()
        .await?;
    Ok(backlog)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Location;

    struct Reminder;

    impl OutboxEvent for Reminder {
        fn kind(&self) -> &'static str {
            "test.reminder"
        }

        fn body(&self, _: Uuid, _: Timestamp) -> String {
            "{}".to_owned()
        }
    }

    struct Setup {
        db: Db,
        clock: Clock,
        _folder: tempfile::TempDir,
    }

    impl Setup {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
            db.migrate().await.unwrap();
            Setup { db, clock: Clock::default(), _folder: folder }
        }

        /// An event that is due in so long.
        async fn remind(&self, wait: Duration) -> Uuid {
            let mut tx = self.db.begin().await.unwrap();
            let id = append_at(&mut tx, &self.clock, &Reminder, self.clock.now() + wait).await.unwrap();
            tx.commit().await.unwrap();
            id
        }

        /// At most so many, as a relay takes them to queues in the same database …
        async fn take(&self, limit: i64) -> Vec<Uuid> {
            let mut tx = self.db.begin().await.unwrap();
            let taken = take(&mut tx, &self.clock, limit).await.unwrap();
            tx.commit().await.unwrap();
            taken.into_iter().map(|(id, _)| id).collect()
        }

        /// … and as it takes them to another broker.
        async fn claim(&self, limit: i64) -> Vec<Uuid> {
            claim(&self.db, &self.clock, limit).await.unwrap().into_iter().map(|message| message.id).collect()
        }

        async fn is_due(&self) -> bool {
            next_due(&self.db, &self.clock).await.unwrap().is_some_and(|due| due <= self.clock.now())
        }
    }

    #[tokio::test]
    async fn an_event_is_taken_when_it_is_due_and_no_sooner() {
        for claims in [false, true] {
            let setup = Setup::new().await;
            let of_setup = async || if claims { setup.claim(9).await } else { setup.take(9).await };
            let event = setup.remind(Duration::from_mins(10)).await;
            setup.clock.advance(Duration::from_secs(570));
            assert!(!setup.is_due().await);
            assert!(of_setup().await.is_empty(), "half a minute before");
            setup.clock.advance(Duration::from_secs(30));
            assert!(setup.is_due().await);
            assert_eq!(of_setup().await, [event]);
            assert!(of_setup().await.is_empty(), "nobody else gets it");
            assert!(!setup.is_due().await);
        }
    }

    #[tokio::test]
    async fn what_has_been_due_for_longest_goes_first_whenever_it_was_written() {
        for claims in [false, true] {
            let setup = Setup::new().await;
            let of_setup = async || if claims { setup.claim(1).await } else { setup.take(1).await };
            let second = setup.remind(Duration::from_mins(20)).await;
            let first = setup.remind(Duration::from_mins(10)).await;
            let third = setup.remind(Duration::from_mins(30)).await;
            setup.clock.advance(Duration::from_hours(1));
            assert_eq!([of_setup().await, of_setup().await, of_setup().await], [[first], [second], [third]]);
        }
    }

    #[tokio::test]
    async fn what_is_due_tomorrow_holds_up_nothing() {
        let setup = Setup::new().await;
        setup.remind(Duration::from_hours(24)).await;
        assert!(!setup.is_due().await);
        let now = setup.remind(Duration::ZERO).await;
        assert!(setup.is_due().await);
        assert_eq!(setup.take(9).await, [now]);
    }

    #[tokio::test]
    async fn a_claim_keeps_others_away_until_it_ends() {
        let setup = Setup::new().await;
        let event = setup.remind(Duration::ZERO).await;
        assert_eq!(setup.claim(9).await, [event]);
        setup.clock.advance(CLAIM_LEASE / 2);
        assert!(setup.claim(9).await.is_empty() && setup.take(9).await.is_empty(), "another relay is at it");
        setup.clock.advance(CLAIM_LEASE / 2);
        assert_eq!(setup.claim(9).await, [event], "that one is gone");
    }
}
