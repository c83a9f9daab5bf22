//! The broker with nothing configured: exchanges, queues, bindings and messages as tables of our database.
//!
//! It keeps RabbitMQ's meaning, held to by the conformance tests: a copy for every queue that is bound, competing
//! consumers, manual ack, queues that wait and then send on through the retry exchange, queues of running nodes that go
//! when the node goes. A message that is handed out is leased; whoever dies with it loses it when the lease ends.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::{Db, Sql, Tx};
use crate::messaging::broker::{Depth, Publication, Published};
use crate::messaging::message::{Failure, Message};
use crate::messaging::topology::{self, BROADCAST, ExchangeKind, Queue, QueueKind, RETRY, Target, Topology};
use crate::messaging::wake::{POLL, Wake};

/// The channel on which `PostgreSQL` tells consumers of other processes that a queue has something.
pub const CHANNEL: &str = "bellhop_queues";

/// How long a message is lent; a consumer that is still at it renews it in time.
pub const LEASE: Duration = Duration::from_mins(1);

/// How long the queue of a running node outlives its last sign of life.
const NODE: Duration = Duration::from_mins(1);

/// How many messages one look moves on.
const BATCH: i64 = 200;

/// The embedded broker. Clones are the same broker.
#[derive(Clone, Debug)]
pub struct Embedded {
    db: Db,
    clock: Clock,
    wake: Wake,
    topology: Arc<Topology>,
    tasks: TaskTracker,
}

impl Embedded {
    /// A broker in the tables of `db`. Nothing is written until [`Embedded::declare`].
    #[must_use]
    pub fn new(db: Db, clock: Clock, wake: Wake, topology: Arc<Topology>, tasks: TaskTracker) -> Self {
        Embedded { db, clock, wake, topology, tasks }
    }

    /// Writes the topology into the tables; what is there already stays, with its messages.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn declare(&self) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        for exchange in &self.topology.exchanges {
            tx.query(
                "insert into broker_exchange (name, kind) values ($1, $2)
                 on conflict (name) do update set kind = excluded.kind",
            )
            .bind(exchange.name)
            .bind(match exchange.kind {
                ExchangeKind::Topic => "topic",
                ExchangeKind::Fanout => "fanout",
                ExchangeKind::Direct => "direct",
            })
            .execute()
            .await?;
        }
        for queue in &self.topology.queues {
            declare_queue(&mut tx, queue, None).await?;
        }
        // bindings from our exchanges to work queues are ours to say; those of running nodes are theirs
        tx.query(
            "delete from broker_binding
             where target not in (select name from broker_queue where kind = 'node')",
        )
        .execute()
        .await?;
        for binding in &self.topology.bindings {
            bind(&mut tx, binding.from, &binding.key, &binding.to).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Puts each publication into every queue it is routed to, all in one transaction.
    pub async fn publish(&self, publications: Vec<Publication>) -> Vec<Published> {
        let count = publications.len();
        match self.try_publish(publications).await {
            Ok(published) => published,
            Err(error) => vec![Published::Failed(format!("{error:#}")); count],
        }
    }

    async fn try_publish(&self, publications: Vec<Publication>) -> anyhow::Result<Vec<Published>> {
        let mut tx = self.db.begin().await?;
        let routes = Routes::load(&mut tx).await?;
        let mut published = Vec::with_capacity(publications.len());
        for publication in publications {
            let queues = routes.of(publication.exchange.name, &publication.routing_key);
            for queue in &queues {
                self.enqueue(&mut tx, &routes, queue, &publication).await?;
            }
            published.push(if queues.is_empty() { Published::Returned } else { Published::Confirmed });
        }
        tx.notify(CHANNEL).await?;
        tx.commit().await?;
        self.wake.queues();
        Ok(published)
    }

    async fn enqueue(
        &self,
        tx: &mut Tx,
        routes: &Routes,
        queue: &str,
        publication: &Publication,
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        let message = &publication.message;
        let failure = message.failure.as_ref();
        let body = std::str::from_utf8(&message.body).context("a message's body must be UTF-8")?;
        tx.query(
            "insert into broker_message
               (id, queue, message_id, routing_key, type, body, traceparent, attempt,
                failed_queue, reason, first_at, last_at, enqueued_at, available_at, deliveries)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0)",
        )
        .bind(self.clock.new_id())
        .bind(queue.to_owned())
        .bind(message.id)
        .bind(publication.routing_key.clone())
        .bind(message.kind.clone())
        .bind(body.to_owned())
        .bind(message.traceparent.clone())
        .bind(i32::try_from(message.attempt).unwrap_or(i32::MAX))
        .bind(failure.map(|failure| failure.queue.clone()))
        .bind(failure.map(|failure| failure.reason.clone()))
        .bind(failure.map(|failure| failure.first_at))
        .bind(failure.map(|failure| failure.last_at))
        .bind(now)
        .bind(now + routes.wait(queue))
        .execute()
        .await
        .context("cannot put a message into its queue")?;
        Ok(())
    }

    /// Hands out messages of a queue, at most `prefetch` at a time, until `stop`.
    ///
    /// A node's queue is made by this call, bound to the broadcast exchange, and goes with the consumer.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn consume(&self, queue: &Queue, prefetch: u16, stop: CancellationToken) -> anyhow::Result<Deliveries> {
        if queue.kind == QueueKind::Node {
            self.refresh_node(&queue.name).await?;
        }
        Ok(Deliveries {
            broker: self.clone(),
            queue: queue.clone(),
            prefetch,
            ready: VecDeque::new(),
            looking: None,
            refreshed_at: self.clock.now(),
            subscribed: watch::Sender::new(Some(0)),
            gaps: 0,
            stop,
        })
    }

    async fn refresh_node(&self, queue: &str) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        let node = Queue { name: queue.to_owned(), kind: QueueKind::Node };
        declare_queue(&mut tx, &node, Some(self.clock.now() + NODE)).await?;
        bind(&mut tx, BROADCAST.name, "", &Target::Queue(queue.to_owned())).await?;
        Ok(tx.commit().await?)
    }

    async fn remove_node(&self, queue: &str) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        tx.query("delete from broker_binding where target = $1").bind(queue.to_owned()).execute().await?;
        tx.query("delete from broker_queue where name = $1").bind(queue.to_owned()).execute().await?;
        Ok(tx.commit().await?)
    }

    async fn claim(&self, queue: &str, limit: u16) -> anyhow::Result<Vec<Delivery>> {
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
            .bind(queue.to_owned())
            .bind(now)
            .optional()
            .await?;
        if ready.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin().await?;
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
            .bind(queue.to_owned())
            .bind(now)
            .bind(i64::from(limit))
            .all()
            .await
            .context("cannot take messages")?;
        tx.commit().await?;
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows.into_iter().map(|row| row.delivery(self, queue, lease)).collect())
    }

    /// Sends on what has waited long enough and removes the queues of nodes that are gone; tells how many it moved.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn tend(&self) -> anyhow::Result<usize> {
        let now = self.clock.now();
        let due: Option<(i32,)> = self
            .db
            .query(
                "select 1 from broker_message m join broker_queue q on q.name = m.queue
                 where q.ttl_us is not null and m.available_at <= $1
                 union all
                 select 1 from broker_queue where expires_at <= $1
                 limit 1",
            )
            .bind(now)
            .optional()
            .await?;
        if due.is_none() {
            return Ok(0);
        }
        let mut tx = self.db.begin().await?;
        tx.query("delete from broker_binding where target in (select name from broker_queue where expires_at <= $1)")
            .bind(now)
            .execute()
            .await?;
        tx.query("delete from broker_queue where expires_at <= $1").bind(now).execute().await?;
        let routes = Routes::load(&mut tx).await?;
        let waited: Vec<(Uuid, String)> = tx
            .query(Sql {
                sqlite: "select m.id, m.routing_key
                         from broker_message m join broker_queue q on q.name = m.queue
                         where q.ttl_us is not null and m.available_at <= $1
                         order by m.available_at limit $2",
                postgres: "select m.id, m.routing_key
                           from broker_message m join broker_queue q on q.name = m.queue
                           where q.ttl_us is not null and m.available_at <= $1
                           order by m.available_at limit $2
                           for update of m skip locked",
            })
            .bind(now)
            .bind(BATCH)
            .all()
            .await?;
        for (id, key) in &waited {
            let Some(queue) = routes.of(RETRY.name, key).into_iter().next() else {
                // an older program without that listener is running: keep it
                tracing::warn!(queue = key, "a message waits for a queue that is not there");
                continue;
            };
            tx.query("update broker_message set queue = $2, available_at = $3 where id = $1")
                .bind(*id)
                .bind(queue)
                .bind(now)
                .execute()
                .await?;
        }
        tx.notify(CHANNEL).await?;
        tx.commit().await?;
        self.wake.queues();
        Ok(waited.len())
    }

    /// Tends until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.tend().await {
                Ok(moved) if moved > 0 => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot tend the queues"),
            }
            stop.run_until_cancelled(tokio::time::sleep(POLL)).await;
        }
    }

    /// How full each queue is.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn depths(&self) -> anyhow::Result<Vec<Depth>> {
        let rows: Vec<(String, i64)> = self
            .db
            .query(
                "select q.name, count(m.id) from broker_queue q left join broker_message m on m.queue = q.name
                 where q.kind <> 'node'
                 group by q.name order by q.name",
            )
            .all()
            .await?;
        Ok(rows
            .into_iter()
            .map(|(queue, messages)| Depth { queue, messages: u64::try_from(messages).unwrap_or_default() })
            .collect())
    }
}

async fn declare_queue(tx: &mut Tx, queue: &Queue, expires_at: Option<Timestamp>) -> anyhow::Result<()> {
    let (kind, ttl) = match queue.kind {
        QueueKind::Work => ("work", None),
        QueueKind::Dead => ("dead", None),
        QueueKind::Wait { ttl } => ("wait", i64::try_from(ttl.as_micros()).ok()),
        QueueKind::Node => ("node", None),
    };
    tx.query(
        "insert into broker_queue (name, kind, ttl_us, expires_at) values ($1, $2, $3, $4)
         on conflict (name) do update
         set kind = excluded.kind, ttl_us = excluded.ttl_us, expires_at = excluded.expires_at",
    )
    .bind(queue.name.clone())
    .bind(kind)
    .bind(ttl)
    .bind(expires_at)
    .execute()
    .await
    .context("cannot declare a queue")?;
    Ok(())
}

async fn bind(tx: &mut Tx, source: &'static str, key: &str, to: &Target) -> anyhow::Result<()> {
    let (kind, target) = match to {
        Target::Queue(name) => ("queue", name.as_str()),
        Target::Exchange(name) => ("exchange", *name),
    };
    tx.query(
        "insert into broker_binding (source, routing_key, target_kind, target) values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(source)
    .bind(key.to_owned())
    .bind(kind)
    .bind(target.to_owned())
    .execute()
    .await
    .context("cannot bind a queue")?;
    Ok(())
}

/// The tables of exchanges, bindings and queues, as read in the transaction that publishes.
struct Routes {
    kinds: HashMap<String, String>,
    bindings: Vec<(String, String, String, String)>,
    waits: HashMap<String, Duration>,
}

impl Routes {
    async fn load(tx: &mut Tx) -> anyhow::Result<Self> {
        let kinds: Vec<(String, String)> = tx.query("select name, kind from broker_exchange").all().await?;
        let bindings = tx.query("select source, routing_key, target_kind, target from broker_binding").all().await?;
        let queues: Vec<(String, Option<i64>)> = tx.query("select name, ttl_us from broker_queue").all().await?;
        let wait = |ttl: Option<i64>| Duration::from_micros(ttl.and_then(|ttl| u64::try_from(ttl).ok()).unwrap_or(0));
        Ok(Routes {
            kinds: kinds.into_iter().collect(),
            bindings,
            waits: queues.into_iter().map(|(name, ttl)| (name, wait(ttl))).collect(),
        })
    }

    fn wait(&self, queue: &str) -> Duration {
        self.waits.get(queue).copied().unwrap_or_default()
    }

    /// The queues that get a copy, each once however many bindings lead there.
    fn of(&self, exchange: &str, key: &str) -> BTreeSet<String> {
        if exchange.is_empty() {
            return self.waits.contains_key(key).then(|| key.to_owned()).into_iter().collect();
        }
        let mut queues = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut exchanges = vec![exchange];
        while let Some(exchange) = exchanges.pop() {
            if !seen.insert(exchange) {
                continue;
            }
            let kind = self.kinds.get(exchange).map(String::as_str);
            for (source, pattern, target_kind, target) in &self.bindings {
                let taken = match kind {
                    Some("topic") => topology::matches(pattern, key),
                    Some("direct") => pattern == key,
                    Some("fanout") => true,
                    _ => false,
                };
                if source != exchange || !taken {
                    continue;
                }
                if target_kind == "exchange" {
                    exchanges.push(target);
                } else if self.waits.contains_key(target) {
                    queues.insert(target.clone());
                }
            }
        }
        queues
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
    fn delivery(self, broker: &Embedded, queue: &str, lease: Uuid) -> Delivery {
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
    /// The next message, or none once stopped. Errors of the database are waited out. Nothing is lost when this future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        let mut ear = self.broker.wake.on_queues();
        loop {
            if self.stop.is_cancelled() {
                self.leave().await;
                return None;
            }
            if let Some(delivery) = self.ready.pop_front() {
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

    async fn look(&mut self) -> anyhow::Result<()> {
        let silent = self.broker.clock.now() - self.refreshed_at;
        if self.queue.kind == QueueKind::Node && silent > chrono::Duration::seconds(10) {
            self.broker.refresh_node(&self.queue.name).await?;
            self.refreshed_at = self.broker.clock.now();
            // we were stopped for so long that somebody removed our queue, and with it what was in it
            if silent.to_std().is_ok_and(|silent| silent > NODE) {
                self.gaps += 1;
            }
        }
        let looking = self.looking.get_or_insert_with(|| {
            let (broker, queue, prefetch) = (self.broker.clone(), self.queue.name.clone(), self.prefetch);
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
    lease: Uuid,
    broker: Embedded,
}

impl Delivery {
    /// It is done; false if the lease was lost meanwhile, so that somebody else has it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn ack(&self) -> anyhow::Result<bool> {
        let mut tx = self.broker.db.begin().await?;
        let gone = tx
            .query("delete from broker_message where id = $1 and lease = $2")
            .bind(self.row)
            .bind(self.lease)
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
        let mut tx = self.broker.db.begin().await?;
        let kept = tx
            .query("update broker_message set leased_until = $3 where id = $1 and lease = $2")
            .bind(self.row)
            .bind(self.lease)
            .bind(self.broker.clock.now() + LEASE)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(kept == 1)
    }

    /// Gives it back to the queue at once.
    pub async fn release(&self) {
        let released = async {
            let mut tx = self.broker.db.begin().await?;
            tx.query("update broker_message set leased_until = null, lease = null where id = $1 and lease = $2")
                .bind(self.row)
                .bind(self.lease)
                .execute()
                .await?;
            tx.notify(CHANNEL).await?;
            tx.commit().await
        };
        match released.await {
            Ok(()) => self.broker.wake.queues(),
            // the lease ends by itself
            Err(error) => tracing::debug!(%error, "cannot give a message back"),
        }
    }
}
