//! Who may have an effect outside the database, such as a mail.
//!
//! A broker may deliver a message to a second worker while the first is still at it: paused by its machine, or slow. Whoever is
//! to act acquires the event's lease before, renews it meanwhile, asks whether it still holds it in the last moment before the effect
//! ([`Lease::is_held`]), and can mark the event as done only with it. So a worker that was paused does not act twice; what
//! remains is a worker that ends between the effect and the mark.

use std::time::Duration;

use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::purge::Purge;
use crate::db::{Db, Tx};
use crate::messaging::consumer::inbox;

/// How long a lease is good for; whoever is still at work renews it in time.
pub const EVENT_LEASE: Duration = Duration::from_secs(15);

/// Leases whose holders ended without a word go a day after they ran out.
pub(super) const PURGE: Purge = Purge {
    name: "leases",
    statement: "delete from lease
                where (listener, event_id) in (select listener, event_id from lease where until < $1 limit $2)",
    keep: Duration::from_hours(24),
};

/// The right of one worker to act on one event.
#[derive(Debug)]
pub struct Lease {
    db: Db,
    clock: Clock,
    listener: &'static str,
    event: Uuid,
    holder: Uuid,
}

/// What became of acquiring a lease.
#[derive(Debug)]
pub(super) enum Acquired {
    /// It is ours.
    Held(Lease),
    /// Somebody else holds it, until then unless it is renewed.
    Contended(Timestamp),
    /// The event is done.
    Done,
}

impl Lease {
    /// Acquires the lease of an event.
    pub(super) async fn acquire(db: &Db, clock: &Clock, listener: &'static str, event: Uuid) -> sqlx::Result<Acquired> {
        let lease = Lease { db: db.clone(), clock: clock.clone(), listener, event, holder: clock.new_id() };
        let now = clock.now();
        let mut tx = db.begin().await?;
        let taken = tx
            .query(
                "insert into lease (listener, event_id, holder, until) values ($1, $2, $3, $4)
                 on conflict (listener, event_id) do update
                 set holder = excluded.holder, until = excluded.until
                 where lease.until <= $5",
            )
            .bind(listener.to_owned())
            .bind(event)
            .bind(lease.holder)
            .bind(now + EVENT_LEASE)
            .bind(now)
            .execute()
            .await?;
        if taken == 0 {
            let contended: Option<(Timestamp,)> = tx
                .query("select until from lease where listener = $1 and event_id = $2")
                .bind(listener.to_owned())
                .bind(event)
                .optional()
                .await?;
            let (until, longest) = (contended.map_or(now, |(until,)| until), now + EVENT_LEASE);
            if until > longest {
                // from before the clock was put back; whoever holds it renews it
                tx.query("update lease set until = $3 where listener = $1 and event_id = $2 and until > $3")
                    .bind(listener.to_owned())
                    .bind(event)
                    .bind(longest)
                    .execute_deferred()
                    .await?;
            }
            tx.commit().await?;
            return Ok(Acquired::Contended(until.min(longest)));
        }
        // in the same transaction: a lease is free also because its holder has just finished
        let done: Option<(i32,)> = tx
            .query("select 1 from inbox where listener = $1 and event_id = $2")
            .bind(listener.to_owned())
            .bind(event)
            .optional()
            .await?;
        if done.is_some() {
            lease.end(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(if done.is_some() { Acquired::Done } else { Acquired::Held(lease) })
    }

    /// Renews the lease while `work` is done; none when it was lost meanwhile.
    pub(super) async fn renewed_during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let lost = async {
            loop {
                tokio::time::sleep(EVENT_LEASE / 3).await;
                // a database that is away says nothing: the last moment before the effect asks again
                if let Ok(false) = self.is_held().await {
                    return;
                }
            }
        };
        tokio::select! {
            done = work => Some(done),
            () = lost => None,
        }
    }

    /// Whether it is still held, and then for a whole [`EVENT_LEASE`] from now; to be asked in the last moment before an
    /// effect that cannot be taken back.
    ///
    /// # Errors
    /// When the database is away, so that it cannot be known.
    pub async fn is_held(&self) -> sqlx::Result<bool> {
        let mut tx = self.db.begin().await?;
        let kept = tx
            .query("update lease set until = $4 where listener = $1 and event_id = $2 and holder = $3")
            .bind(self.listener.to_owned())
            .bind(self.event)
            .bind(self.holder)
            .bind(self.clock.now() + EVENT_LEASE)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(kept == 1)
    }

    /// Marks the event as done and ends the lease, in one transaction.
    pub(super) async fn mark(&self) -> sqlx::Result<()> {
        let mut tx = self.db.begin().await?;
        self.end(&mut tx).await?;
        inbox::mark(&mut tx, &self.clock, self.listener, self.event).await?;
        tx.commit().await
    }

    /// Ends the lease, so that whoever tries again need not wait for it.
    pub(super) async fn release(&self) -> sqlx::Result<()> {
        let mut tx = self.db.begin().await?;
        self.end(&mut tx).await?;
        tx.commit().await
    }

    async fn end(&self, tx: &mut Tx) -> sqlx::Result<()> {
        tx.query("delete from lease where listener = $1 and event_id = $2 and holder = $3")
            .bind(self.listener.to_owned())
            .bind(self.event)
            .bind(self.holder)
            .execute_deferred()
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::db::Location;

    /// F60.
    #[tokio::test]
    async fn a_lease_from_before_the_clock_was_put_back_ends_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let (clock, event) = (Clock::default(), Uuid::nil());
        let acquire = async || Lease::acquire(&db, &clock, "mail", event).await.unwrap();
        assert!(matches!(acquire().await, Acquired::Held(_)));
        // its holder ends without a word
        clock.set_back(Duration::from_hours(1));
        let Acquired::Contended(until) = acquire().await else { panic!("somebody has it") };
        assert!(until <= clock.now() + EVENT_LEASE, "{until}");
        clock.advance(EVENT_LEASE);
        assert!(matches!(acquire().await, Acquired::Held(_)));
    }

    #[tokio::test]
    async fn whoever_is_handed_the_lease_sees_that_it_was_lost_on_a_task_of_its_own_too() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let (clock, event) = (Clock::default(), Uuid::nil());
        let acquire = async || match Lease::acquire(&db, &clock, "mail", event).await.unwrap() {
            Acquired::Held(lease) => Some(Arc::new(lease)),
            _ => None,
        };
        let lease = acquire().await.expect("nobody has it");
        let is_held = async |lease: &Arc<Lease>| {
            let lease = Arc::clone(lease);
            TaskTracker::new().spawn(async move { lease.is_held().await }).await.unwrap().unwrap()
        };
        assert!(is_held(&lease).await);
        assert!(acquire().await.is_none(), "somebody has it");
        // the first is paused for longer than its lease
        clock.advance(EVENT_LEASE);
        let other = acquire().await.expect("it has ended");
        assert!(!is_held(&lease).await, "a send on a task of its own would go out twice");
        assert!(is_held(&other).await);
    }

    #[tokio::test]
    async fn a_database_that_cannot_say_ends_no_work() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let Acquired::Held(lease) = Lease::acquire(&db, &Clock::default(), "mail", Uuid::nil()).await.unwrap() else {
            panic!("nobody has it");
        };
        db.close().await;
        assert!(lease.is_held().await.is_err());
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = TaskTracker::new().spawn(async move { lease.renewed_during(ended).await });
        // it asks three times
        for _ in 0..3 {
            tokio::time::pause();
            tokio::time::advance(EVENT_LEASE / 3).await;
            tokio::time::resume();
            tokio::task::yield_now().await;
        }
        assert!(!work.is_finished());
        end.send("sent").unwrap();
        assert_eq!(work.await.unwrap(), Some(Ok("sent")));
    }
}
