//! From a queue into a consumer's hands and back: messages are lent, and whoever is still at one renews its lease.

use std::collections::VecDeque;

use anyhow::Context as _;
use sqlx::FromRow;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{CHANNEL, Embedded, LEASE, NODE};
use crate::clock::Timestamp;
use crate::db::Sql;
use crate::messaging::message::{Failure, Message};
use crate::messaging::topology::{Queue, QueueKind};
use crate::messaging::wake::POLL;

impl Embedded {
    /// Lends at most `limit` messages that are ready. Those of a node's own queue are given for good: when the node goes,
    /// nobody else wants them, and a look that failed is a gap that the node is told of.
    pub(super) async fn claim(&self, queue: &Queue, limit: u16) -> anyhow::Result<Vec<Delivery>> {
        let now = self.clock.now();
        let lease = self.clock.new_id();
        // look before taking the write lock: most looks find nothing
        let ready: Option<(i32,)> = self
            .db
            .query(
                "select 1 from broker_message
                 where queue = $1 and available_at <= $2 and (leased_until is null or leased_until <= $2)
                 limit 1",
            )
            .bind(queue.name.clone())
            .bind(now)
            .optional()
            .await?;
        if ready.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin().await?;
        if queue.kind == QueueKind::Node {
            let mut rows: Vec<Stored> = tx
                .query(
                    "delete from broker_message
                     where id in (
                       select id from broker_message
                       where queue = $1 and available_at <= $2
                       order by available_at, id
                       limit $3)
                     returning id, message_id, routing_key, type, body, traceparent, attempt,
                       failed_queue, reason, first_at, last_at, deliveries",
                )
                .bind(queue.name.clone())
                .bind(now)
                .bind(i64::from(limit))
                .all()
                .await
                .context("cannot take messages")?;
            tx.commit().await?;
            rows.sort_unstable_by_key(|row| row.id);
            return Ok(rows.into_iter().map(|row| row.delivery(self, &queue.name, None, now)).collect());
        }
        let mut rows: Vec<Stored> = tx
            .query(Sql {
                sqlite: "update broker_message
                         set lease = $1, leased_until = $2, deliveries = deliveries + 1
                         where id in (
                           select id from broker_message
                           where queue = $3 and available_at <= $4
                             and (leased_until is null or leased_until <= $4)
                           order by available_at, id
                           limit $5)
                         returning id, message_id, routing_key, type, body, traceparent, attempt,
                           failed_queue, reason, first_at, last_at, deliveries",
                postgres: "update broker_message
                           set lease = $1, leased_until = $2, deliveries = deliveries + 1
                           where id in (
                             select id from broker_message
                             where queue = $3 and available_at <= $4
                               and (leased_until is null or leased_until <= $4)
                             order by available_at, id
                             limit $5
                             for update skip locked)
                           returning id, message_id, routing_key, type, body, traceparent, attempt,
                             failed_queue, reason, first_at, last_at, deliveries",
            })
            .bind(lease)
            .bind(now + LEASE)
            .bind(queue.name.clone())
            .bind(now)
            .bind(i64::from(limit))
            .all()
            .await
            .context("cannot take messages")?;
        tx.commit().await?;
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows.into_iter().map(|row| row.delivery(self, &queue.name, Some(lease), now)).collect())
    }
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    message_id: Uuid,
    #[sqlx(rename = "type")]
    kind: String,
    body: String,
    traceparent: Option<String>,
    attempt: i32,
    failed_queue: Option<String>,
    reason: Option<String>,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    deliveries: i32,
}

impl Stored {
    fn delivery(self, broker: &Embedded, queue: &str, lease: Option<Uuid>, leased_at: Timestamp) -> Delivery {
        let failure = match (self.failed_queue, self.reason, self.first_at, self.last_at) {
            (Some(queue), Some(reason), Some(first_at), Some(last_at)) => {
                Some(Failure { queue, reason, first_at, last_at })
            }
            _ => None,
        };
        Delivery {
            message: Message {
                id: self.message_id,
                kind: self.kind,
                body: self.body.into_bytes(),
                traceparent: self.traceparent,
                attempt: u32::try_from(self.attempt).unwrap_or_default(),
                failure,
            },
            queue: queue.to_owned(),
            redelivered: self.deliveries > 1,
            row: self.id,
            lease,
            leased_at,
            broker: broker.clone(),
        }
    }
}

/// The messages of a queue, one after the other.
#[derive(Debug)]
pub struct Deliveries {
    broker: Embedded,
    queue: Queue,
    prefetch: u16,
    ready: VecDeque<Delivery>,
    /// A look into the queue that has begun. It runs by itself, so that whoever stops waiting for the next message neither
    /// loses what is just being handed out nor leaves a transaction open half-way.
    looking: Option<JoinHandle<anyhow::Result<Vec<Delivery>>>>,
    refreshed_at: Timestamp,
    subscribed: watch::Sender<Option<u64>>,
    gaps: u64,
    stop: CancellationToken,
}

impl Deliveries {
    pub(super) fn new(broker: Embedded, queue: Queue, prefetch: u16, stop: CancellationToken) -> Self {
        Deliveries {
            refreshed_at: broker.clock.now(),
            broker,
            queue,
            prefetch,
            ready: VecDeque::new(),
            looking: None,
            subscribed: watch::Sender::new(Some(0)),
            gaps: 0,
            stop,
        }
    }

    /// The next message, or none once stopped. Errors of the database are waited out. Nothing is lost when this future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        let mut ear = self.broker.wake.on_queue(&self.queue.name);
        loop {
            if self.stop.is_cancelled() {
                self.leave().await;
                return None;
            }
            if self.drop_lost().await
                && let Some(delivery) = self.ready.pop_front()
            {
                return Some(delivery);
            }
            match self.look().await {
                Ok(()) => {
                    let flowing = Some(self.gaps);
                    self.subscribed.send_if_modified(|known| std::mem::replace(known, flowing) != flowing);
                }
                Err(error) => {
                    tracing::warn!(queue = self.queue.name, error = format!("{error:#}"), "cannot take messages");
                    self.gaps += 1;
                    self.subscribed.send_replace(None);
                    self.stop.run_until_cancelled(tokio::time::sleep(POLL)).await;
                }
            }
            if self.ready.is_empty() {
                self.stop.run_until_cancelled(ear.wait(POLL)).await;
            }
        }
    }

    /// Makes sure that the next message is still ours: while the one before it was worked at, its lease may have ended
    /// and somebody else may have it. False when the database cannot say.
    async fn drop_lost(&mut self) -> bool {
        while let Some(next) = self.ready.front_mut() {
            let now = self.broker.clock.now();
            if (now - next.leased_at).to_std().is_ok_and(|age| age < LEASE / 3) {
                break;
            }
            match next.renew().await {
                Ok(true) => next.leased_at = now,
                Ok(false) => drop(self.ready.pop_front()),
                Err(error) => {
                    tracing::warn!(queue = self.queue.name, error = format!("{error:#}"), "cannot keep messages");
                    // they come again when their leases end
                    self.ready.clear();
                    return false;
                }
            }
        }
        true
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let now = self.broker.clock.now();
        let silent = now - self.refreshed_at;
        if self.queue.kind == QueueKind::Node && silent > chrono::Duration::seconds(10) {
            self.broker.refresh_node(&self.queue.name).await?;
            // from before the refresh: our queue lives at least as long as we think
            self.refreshed_at = now;
            // we were stopped for so long that somebody removed our queue, and with it what was in it
            if silent.to_std().is_ok_and(|silent| silent > NODE) {
                self.gaps += 1;
            }
        }
        let looking = self.looking.get_or_insert_with(|| {
            let (broker, queue, prefetch) = (self.broker.clone(), self.queue.clone(), self.prefetch);
            self.broker.tasks.spawn(async move { broker.claim(&queue, prefetch).await })
        });
        let found = looking.await;
        self.looking = None;
        self.ready.extend(found??);
        Ok(())
    }

    /// Gives back what nobody has taken, and takes a node's queue away with the node.
    async fn leave(&mut self) {
        if let Some(looking) = self.looking.take() {
            self.ready.extend(looking.await.ok().and_then(Result::ok).unwrap_or_default());
        }
        for delivery in self.ready.drain(..) {
            delivery.release().await;
        }
        if self.queue.kind == QueueKind::Node
            && let Err(error) = self.broker.remove_node(&self.queue.name).await
        {
            // it goes by itself a little later
            tracing::debug!(error = format!("{error:#}"), "cannot remove the queue of this node");
        }
    }

    /// Some while messages flow; the number grows with each gap in which some may have been missed.
    #[must_use]
    pub fn subscribed(&self) -> watch::Receiver<Option<u64>> {
        self.subscribed.subscribe()
    }
}

/// A message in hand. Dropped without an answer it comes again when its lease ends.
#[derive(Debug)]
pub struct Delivery {
    /// What travels.
    pub message: Message,
    /// Where it was taken from, short name.
    pub queue: String,
    /// Whether somebody had it before.
    pub redelivered: bool,
    row: Uuid,
    /// None when it was given for good.
    lease: Option<Uuid>,
    leased_at: Timestamp,
    broker: Embedded,
}

impl Delivery {
    /// It is done; false if the lease was lost meanwhile, so that somebody else has it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn ack(&self) -> anyhow::Result<bool> {
        let Some(lease) = self.lease else { return Ok(true) };
        let mut tx = self.broker.db.begin().await?;
        let gone = tx
            .query("delete from broker_message where id = $1 and lease = $2")
            .bind(self.row)
            .bind(lease)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(gone == 1)
    }

    /// Keeps it for another [`LEASE`]; false if it was lost.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn renew(&self) -> anyhow::Result<bool> {
        let Some(lease) = self.lease else { return Ok(true) };
        let mut tx = self.broker.db.begin().await?;
        let kept = tx
            .query("update broker_message set leased_until = $3 where id = $1 and lease = $2")
            .bind(self.row)
            .bind(lease)
            .bind(self.broker.clock.now() + LEASE)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(kept == 1)
    }

    /// Gives it back to the queue at once.
    pub async fn release(&self) {
        let Some(lease) = self.lease else { return };
        let released = async {
            let mut tx = self.broker.db.begin().await?;
            tx.query("update broker_message set leased_until = null, lease = null where id = $1 and lease = $2")
                .bind(self.row)
                .bind(lease)
                .execute()
                .await?;
            tx.notify(CHANNEL).await?;
            tx.commit().await
        };
        match released.await {
            Ok(()) => self.broker.wake.queue(&self.queue),
            // the lease ends by itself
            Err(error) => tracing::debug!(%error, "cannot give a message back"),
        }
    }
}
