//! From a queue to a consumer and back: messages are leased, and whoever is still at one renews its lease.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::store::{CONSUMER_TTL, Embedded, MESSAGE_LEASE, NODE_TTL};
use crate::clock::Timestamp;
use crate::db;
use crate::messaging::broker::types::Bodies;
use crate::messaging::claim::claim;
use crate::messaging::message::{Failure, Message, max_body_bytes, too_large};
use crate::messaging::notify::{POLL_INTERVAL, Subscription};
use crate::messaging::topology::{Queue, QueueKind};

/// How long before a node shows that its queue is still wanted.
const NODE_REFRESH: Duration = Duration::from_secs(10);

/// How many messages are taken in one transaction.
const CLAIM_BATCH: usize = 250;

/// What [`Stored`] is made of. A body that is too large for an event does not leave the database.
macro_rules! columns {
    () => {
        concat!(
            "id, message_id, type, traceparent, attempt, failed_queue, reason, first_at, last_at, deliveries,
             case when octet_length(body) <= ",
            max_body_bytes!(),
            " then body end as body, cast(octet_length(body) as bigint) as bytes"
        )
    };
}

impl Embedded {
    /// Hands out messages of a queue, at most `prefetch` (and at least one) unsettled at a time, until `stop`.
    ///
    /// A node's queue is made by this call, bound to the broadcast exchange, and goes with the consumer.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
        stop: CancellationToken,
    ) -> anyhow::Result<LeasedDeliveries> {
        self.browse(queue, prefetch, Bodies::All, stop).await
    }

    /// As [`Embedded::consume`], with these bodies alone.
    ///
    /// # Errors
    /// As [`Embedded::consume`].
    pub async fn browse(
        &self,
        queue: &Queue,
        prefetch: u16,
        bodies: Bodies,
        stop: CancellationToken,
    ) -> anyhow::Result<LeasedDeliveries> {
        if queue.kind == QueueKind::Node {
            self.refresh_node(&queue.name).await?;
        }
        Ok(LeasedDeliveries { bodies, ..LeasedDeliveries::new(self.clone(), queue.clone(), prefetch, stop) })
    }

    /// Nobody asks whether it is time: where something waits, nobody takes messages, and where they are taken from nothing waits.
    ///
    /// Leases as many messages as there are `permits`, and a batch at most, if they are ready. Those of a node's own queue are taken for good:
    /// when the node goes, nobody else wants them, and a poll that failed is a gap that is reported to the node.
    pub(super) async fn claim(
        &self,
        queue: &Queue,
        mut permits: OwnedSemaphorePermit,
    ) -> anyhow::Result<Vec<LeasedDelivery>> {
        let now = self.clock.now();
        let limit = i64::try_from(permits.num_permits().min(CLAIM_BATCH)).unwrap_or(i64::MAX);
        // looked before taking the write lock: most polls find nothing
        let ready: Option<(i32,)> = self
            .db
            .query(
                "select 1 from broker_message
                 where queue = $1 and (leased_until is null or leased_until <= $2)
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
        let (lease, stored) = if queue.kind == QueueKind::Node {
            let taken = tx
                .query(concat!(
                    "delete from broker_message
                     where id in (
                       select id from broker_message
                       where queue = $1
                       order by available_at, id
                       limit $2)
                     returning ",
                    columns!()
                ))
                .bind(queue.name.clone())
                .bind(limit);
            (None, taken.all().await)
        } else {
            let lease = self.clock.new_id();
            let leased = tx
                .query(claim!(
                    "update broker_message
                     set lease = $1, leased_until = $2, deliveries = deliveries + 1
                     where id in (
                       select id from broker_message
                       where queue = $3 and (leased_until is null or leased_until <= $4)
                       order by available_at, id
                       limit $5",
                    concat!(") returning ", columns!())
                ))
                .bind(lease)
                .bind(now + MESSAGE_LEASE)
                .bind(queue.name.clone())
                .bind(now)
                .bind(limit);
            (Some(lease), leased.all().await)
        };
        let mut rows: Vec<Stored> = stored.context("cannot take messages")?;
        tx.commit().await?;
        rows.sort_unstable_by_key(|row| row.id);
        let delivery = |row: Stored| {
            let permit = permits.split(1)?;
            Some(row.delivery(self, &queue.name, lease, now, permit))
        };
        Ok(rows.into_iter().filter_map(delivery).collect())
    }
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    message_id: Uuid,
    #[sqlx(rename = "type")]
    kind: String,
    /// None when it is too large.
    body: Option<String>,
    bytes: i64,
    traceparent: Option<String>,
    attempt: i32,
    failed_queue: Option<String>,
    reason: Option<String>,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    deliveries: i32,
}

impl Stored {
    fn delivery(
        self,
        broker: &Embedded,
        queue: &str,
        lease: Option<Uuid>,
        leased_at: Timestamp,
        permit: OwnedSemaphorePermit,
    ) -> LeasedDelivery {
        let failure = match (self.failed_queue, self.reason, self.first_at, self.last_at) {
            (Some(queue), Some(reason), Some(first_at), Some(last_at)) => {
                Some(Failure { queue, reason, first_at, last_at })
            }
            _ => None,
        };
        let undecodable = self.body.is_none().then(|| too_large(usize::try_from(self.bytes).unwrap_or_default()));
        LeasedDelivery {
            undecodable,
            message: Message {
                id: self.message_id,
                kind: self.kind,
                body: self.body.unwrap_or_default().into_bytes(),
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
            permit: Mutex::new(Some(permit)),
        }
    }
}

/// What a poll found.
#[derive(Debug, Default)]
struct Polled {
    messages: Vec<LeasedDelivery>,
    /// There was less than could be taken.
    drained: bool,
}

/// The messages of a queue, one after the other.
#[derive(Debug)]
pub struct LeasedDeliveries {
    broker: Embedded,
    queue: Queue,
    /// One for each message that may be delivered and not settled.
    permits: Arc<Semaphore>,
    bodies: Bodies,
    ready: VecDeque<LeasedDelivery>,
    subscription: Subscription,
    /// The last poll found all there was: what comes since is signalled.
    drained: bool,
    /// A poll that has begun. It runs by itself, so that whoever stops waiting for the next message neither
    /// loses what is just being delivered nor leaves a transaction open half-way.
    polling: Option<JoinHandle<anyhow::Result<Polled>>>,
    refreshed_at: Timestamp,
    /// As which consumer it is counted.
    id: Uuid,
    counted_at: Option<Timestamp>,
    subscribed: watch::Sender<Option<u64>>,
    gaps: u64,
    stop: CancellationToken,
}

impl LeasedDeliveries {
    pub(super) fn new(broker: Embedded, queue: Queue, prefetch: u16, stop: CancellationToken) -> Self {
        LeasedDeliveries {
            refreshed_at: broker.clock.now(),
            id: broker.clock.new_id(),
            counted_at: None,
            subscription: broker.notifier.subscribe_queue(&queue.name),
            broker,
            queue,
            permits: Arc::new(Semaphore::new(usize::from(prefetch.max(1)))),
            bodies: Bodies::All,
            drained: false,
            ready: VecDeque::new(),
            polling: None,
            subscribed: watch::Sender::new(Some(0)),
            gaps: 0,
            stop,
        }
    }

    /// The next message, or none once stopped. Errors of the database are waited out. Nothing is lost when this future is
    /// dropped.
    pub async fn next(&mut self) -> Option<LeasedDelivery> {
        loop {
            if self.stop.is_cancelled() {
                self.shutdown().await;
                return None;
            }
            if self.drop_lost().await
                && let Some(delivery) = self.ready.pop_front()
            {
                return Some(delivery);
            }
            if std::mem::take(&mut self.drained) {
                self.stop.run_until_cancelled(self.subscription.wait(POLL_INTERVAL)).await;
                continue;
            }
            match self.poll().await {
                Ok(()) => {
                    let flowing = Some(self.gaps);
                    self.subscribed.send_if_modified(|known| std::mem::replace(known, flowing) != flowing);
                }
                Err(error) => {
                    db::report_failed_poll(&format!("taking messages from {}", self.queue.name), &error);
                    self.gaps += 1;
                    // only a change is told: whoever hears it asks for the next message anew, and would not wait at all
                    self.subscribed.send_if_modified(|known| known.take().is_some());
                    self.stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await;
                }
            }
        }
    }

    /// Makes sure that the next message is still ours: while the one before it was worked at, its lease may have ended
    /// and somebody else may have it. False when the database cannot say.
    async fn drop_lost(&mut self) -> bool {
        while let Some(next) = self.ready.front_mut() {
            let now = self.broker.clock.now();
            if (now - next.leased_at).to_std().is_ok_and(|age| age < MESSAGE_LEASE / 3) {
                break;
            }
            match next.renew().await {
                Ok(true) => next.leased_at = now,
                Ok(false) => drop(self.ready.pop_front()),
                Err(error) => {
                    db::report_failed_poll(&format!("keeping messages of {}", self.queue.name), &error);
                    // they come again when their leases end
                    self.ready.clear();
                    return false;
                }
            }
        }
        true
    }

    async fn poll(&mut self) -> anyhow::Result<()> {
        let now = self.broker.clock.now();
        let is_counted = self.counted_at.is_some_and(|at| (now - at).to_std().is_ok_and(|age| age < CONSUMER_TTL / 3));
        if self.queue.kind != QueueKind::Node && !is_counted {
            self.broker.refresh_consumer(self.id, &self.queue.name).await?;
            self.counted_at = Some(now);
        }
        let silent = now - self.refreshed_at;
        if self.queue.kind == QueueKind::Node && silent.to_std().is_ok_and(|silent| silent > NODE_REFRESH) {
            self.broker.refresh_node(&self.queue.name).await?;
            // from before the refresh: our queue lives at least as long as we think
            self.refreshed_at = now;
            // we were stopped for so long that somebody removed our queue, and with it what was in it
            if silent.to_std().is_ok_and(|silent| silent > NODE_TTL) {
                self.gaps += 1;
            }
        }
        if self.polling.is_none() {
            let Some(permits) = self.free_permits().await? else { return Ok(()) };
            let (broker, queue, bodies) = (self.broker.clone(), self.queue.clone(), self.bodies);
            let poll = async move {
                let most = permits.num_permits().min(CLAIM_BATCH);
                let mut messages = broker.claim(&queue, permits).await?;
                for delivery in &mut messages {
                    bodies.drop_unwanted(&mut delivery.message);
                }
                Ok(Polled { drained: messages.len() < most, messages })
            };
            self.polling = Some(self.broker.tasks.spawn(poll));
        }
        let Some(polling) = &mut self.polling else { return Ok(()) };
        let polled = polling.await;
        self.polling = None;
        let Polled { messages, drained } = polled??;
        self.drained = drained;
        self.ready.extend(messages);
        Ok(())
    }

    /// Every permit that is free, at least one; none once stopped.
    async fn free_permits(&self) -> anyhow::Result<Option<OwnedSemaphorePermit>> {
        let first = Arc::clone(&self.permits).acquire_owned();
        let Some(permits) = self.stop.run_until_cancelled(first).await else { return Ok(None) };
        let mut permits = permits?;
        let others = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        if let Ok(others) = Arc::clone(&self.permits).try_acquire_many_owned(others) {
            permits.merge(others);
        }
        Ok(Some(permits))
    }

    /// Gives back what nobody has taken, and takes a node's queue away with the node.
    async fn shutdown(&mut self) {
        if let Some(polling) = self.polling.take() {
            self.ready.extend(polling.await.ok().and_then(Result::ok).unwrap_or_default().messages);
        }
        for delivery in self.ready.drain(..) {
            delivery.release().await;
        }
        let gone = match self.queue.kind {
            QueueKind::Node => self.broker.remove_node(&self.queue.name).await,
            _ => self.broker.remove_consumer(self.id).await,
        };
        if let Err(error) = gone {
            // it goes by itself a little later
            tracing::debug!(
                queue = self.queue.name,
                error = format!("{error:#}"),
                "cannot say that a consumer is gone"
            );
        }
    }

    /// Some while messages flow; the number grows with each gap in which some may have been missed.
    #[must_use]
    pub fn subscribed(&self) -> watch::Receiver<Option<u64>> {
        self.subscribed.subscribe()
    }
}

/// A message that is not settled yet. Dropped without an answer it comes again when its lease ends.
#[derive(Debug)]
pub struct LeasedDelivery {
    /// What travels.
    pub message: Message,
    /// Where it was taken from, short name.
    pub queue: String,
    /// Whether somebody had it before.
    pub redelivered: bool,
    /// Why it is none of our messages, if it is none.
    pub undecodable: Option<String>,
    row: Uuid,
    /// None when it was taken for good.
    lease: Option<Uuid>,
    leased_at: Timestamp,
    broker: Embedded,
    /// Free again when this one is acknowledged or dropped.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl LeasedDelivery {
    /// It is done; false if the lease was lost meanwhile, so that somebody else has it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn ack(&self) -> anyhow::Result<bool> {
        let done = match self.lease {
            Some(lease) => self.broker.acks.write((self.row, lease), Duration::ZERO).await?,
            None => true,
        };
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(done)
    }

    /// Keeps it for another [`MESSAGE_LEASE`]; false if it was lost.
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
            .bind(self.broker.clock.now() + MESSAGE_LEASE)
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
                .execute_deferred()
                .await?;
            tx.commit().await
        };
        match released.await {
            Ok(()) => self.broker.notifier.signal_queue(&self.queue),
            // the lease ends by itself
            Err(error) => tracing::debug!(%error, "cannot give a message back"),
        }
    }
}
