//! From a queue into a consumer's hands and back: messages are lent, and whoever is still at one renews its lease.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use sqlx::types::Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{CHANNEL, CONSUMER, Embedded, LEASE, NODE};
use crate::clock::Timestamp;
use crate::db::{BatchWrite, Db, Sql};
use crate::messaging::message::{Failure, Message};
use crate::messaging::notify::Ear;
use crate::messaging::notify::POLL;
use crate::messaging::topology::{Queue, QueueKind};

/// What [`Stored`] is made of.
macro_rules! columns {
    () => {
        "id, message_id, routing_key, type, body, traceparent, attempt, failed_queue, reason, first_at, last_at, deliveries"
    };
}

/// Lends what is ready; `$lock` keeps two who look at once apart.
macro_rules! lend {
    ($lock:literal) => {
        concat!(
            "update broker_message
             set lease = $1, leased_until = $2, deliveries = deliveries + 1
             where id in (
               select id from broker_message
               where queue = $3 and available_at <= $4 and (leased_until is null or leased_until <= $4)
               order by available_at, id
               limit $5 ",
            $lock,
            ") returning ",
            columns!()
        )
    };
}

impl Embedded {
    /// Lends as many messages as there are `hands`, if they are ready. Those of a node's own queue are given for good: when the node goes,
    /// nobody else wants them, and a look that failed is a gap that the node is told of.
    pub(super) async fn claim(&self, queue: &Queue, mut hands: OwnedSemaphorePermit) -> anyhow::Result<Vec<Delivery>> {
        let now = self.clock.now();
        let limit = i64::try_from(hands.num_permits()).unwrap_or(i64::MAX);
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
        let (lease, stored) = if queue.kind == QueueKind::Node {
            let given = tx
                .query(concat!(
                    "delete from broker_message
                     where id in (
                       select id from broker_message
                       where queue = $1 and available_at <= $2
                       order by available_at, id
                       limit $3)
                     returning ",
                    columns!()
                ))
                .bind(queue.name.clone())
                .bind(now)
                .bind(limit);
            (None, given.all().await)
        } else {
            let lease = self.clock.new_id();
            let lent = tx
                .query(Sql { sqlite: lend!(""), postgres: lend!("for update skip locked") })
                .bind(lease)
                .bind(now + LEASE)
                .bind(queue.name.clone())
                .bind(now)
                .bind(limit);
            (Some(lease), lent.all().await)
        };
        let mut rows: Vec<Stored> = stored.context("cannot take messages")?;
        tx.commit().await?;
        rows.sort_unstable_by_key(|row| row.id);
        let delivery = |row: Stored| {
            let hand = hands.split(1)?;
            Some(row.delivery(self, &queue.name, lease, now, hand))
        };
        Ok(rows.into_iter().filter_map(delivery).collect())
    }
}

/// Takes messages that are done out of their queues; whoever lost the lease of one is told so.
#[derive(Debug)]
pub(super) struct Acks(pub(super) Db);

impl BatchWrite for Acks {
    /// The row and the lease.
    type Item = (Uuid, Uuid);
    type Output = bool;

    async fn write(&self, items: &[(Uuid, Uuid)]) -> anyhow::Result<Vec<bool>> {
        let mut tx = self.0.begin().await?;
        let pairs: Vec<[String; 2]> =
            items.iter().map(|(row, lease)| [row, lease].map(|id| id.simple().to_string())).collect();
        let gone: Vec<(Uuid, Uuid)> = tx
            .query(Sql {
                sqlite: "delete from broker_message
                         where (id, lease) in (select unhex(value ->> 0), unhex(value ->> 1) from json_each($1))
                         returning id, lease",
                postgres: "delete from broker_message
                           where (id, lease) in (
                             select (value ->> 0)::uuid, (value ->> 1)::uuid from jsonb_array_elements($1))
                           returning id, lease",
            })
            .bind(Json(pairs))
            .all()
            .await
            .context("cannot take messages out of their queues")?;
        tx.commit().await?;
        let gone: HashSet<_> = gone.into_iter().collect();
        Ok(items.iter().map(|item| gone.contains(item)).collect())
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
    fn delivery(
        self,
        broker: &Embedded,
        queue: &str,
        lease: Option<Uuid>,
        leased_at: Timestamp,
        hand: OwnedSemaphorePermit,
    ) -> Delivery {
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
            hand: Mutex::new(Some(hand)),
        }
    }
}

/// What a look found.
#[derive(Debug, Default)]
struct Found {
    messages: Vec<Delivery>,
    /// There was less than could be taken.
    all: bool,
}

/// The messages of a queue, one after the other.
#[derive(Debug)]
pub struct Deliveries {
    broker: Embedded,
    queue: Queue,
    /// One for each message that may be handed out and not settled.
    hands: Arc<Semaphore>,
    ready: VecDeque<Delivery>,
    ear: Ear,
    /// The last look found all there was: what comes since rings the bell.
    dry: bool,
    /// A look into the queue that has begun. It runs by itself, so that whoever stops waiting for the next message neither
    /// loses what is just being handed out nor leaves a transaction open half-way.
    looking: Option<JoinHandle<anyhow::Result<Found>>>,
    refreshed_at: Timestamp,
    /// As which consumer it is counted.
    id: Uuid,
    counted_at: Option<Timestamp>,
    subscribed: watch::Sender<Option<u64>>,
    gaps: u64,
    stop: CancellationToken,
}

impl Deliveries {
    pub(super) fn new(broker: Embedded, queue: Queue, prefetch: u16, stop: CancellationToken) -> Self {
        Deliveries {
            refreshed_at: broker.clock.now(),
            id: broker.clock.new_id(),
            counted_at: None,
            ear: broker.wake.on_queue(&queue.name),
            broker,
            queue,
            hands: Arc::new(Semaphore::new(usize::from(prefetch.max(1)))),
            dry: false,
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
            if std::mem::take(&mut self.dry) {
                self.stop.run_until_cancelled(self.ear.wait(POLL)).await;
                continue;
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
        let counts = self.counted_at.is_some_and(|at| (now - at).to_std().is_ok_and(|age| age < CONSUMER / 3));
        if self.queue.kind != QueueKind::Node && !counts {
            self.broker.refresh_consumer(self.id, &self.queue.name).await?;
            self.counted_at = Some(now);
        }
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
        if self.looking.is_none() {
            let Some(hands) = self.free_hands().await? else { return Ok(()) };
            let (broker, queue) = (self.broker.clone(), self.queue.clone());
            let look = async move {
                let most = hands.num_permits();
                let messages = broker.claim(&queue, hands).await?;
                Ok(Found { all: messages.len() < most, messages })
            };
            self.looking = Some(self.broker.tasks.spawn(look));
        }
        let Some(looking) = &mut self.looking else { return Ok(()) };
        let found = looking.await;
        self.looking = None;
        let Found { messages, all } = found??;
        self.dry = all;
        self.ready.extend(messages);
        Ok(())
    }

    /// Every hand that is free, at least one; none once stopped.
    async fn free_hands(&self) -> anyhow::Result<Option<OwnedSemaphorePermit>> {
        let first = Arc::clone(&self.hands).acquire_owned();
        let Some(hands) = self.stop.run_until_cancelled(first).await else { return Ok(None) };
        let mut hands = hands?;
        let others = u32::try_from(self.hands.available_permits()).unwrap_or(u32::MAX);
        if let Ok(others) = Arc::clone(&self.hands).try_acquire_many_owned(others) {
            hands.merge(others);
        }
        Ok(Some(hands))
    }

    /// Gives back what nobody has taken, and takes a node's queue away with the node.
    async fn leave(&mut self) {
        if let Some(looking) = self.looking.take() {
            self.ready.extend(looking.await.ok().and_then(Result::ok).unwrap_or_default().messages);
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
    /// Free again when this one is acknowledged or dropped.
    hand: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Delivery {
    /// It is done; false if the lease was lost meanwhile, so that somebody else has it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn ack(&self) -> anyhow::Result<bool> {
        let done = match self.lease {
            Some(lease) => self.broker.acks.write((self.row, lease), Duration::ZERO).await?,
            None => true,
        };
        drop(self.hand.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(done)
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
                .execute_deferred()
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
