//! The tables: declare, publish, let wait, count.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::acks::Acks;
use super::routes::{Routes, bind, declare_queue};
use crate::clock::{Clock, SetBack};
use crate::db::{self, Db, Sql, Tx, WriteBatcher};
use crate::failpoint;
use crate::health::Part;
use crate::messaging::broker::types::{Publication, Published, QueueDepth};
use crate::messaging::claim::claim;
use crate::messaging::notify::{Notifier, POLL_INTERVAL};
use crate::messaging::topology::{BROADCAST, EVENTS, ExchangeKind, Queue, QueueKind, RETRY, Target, Topology};

/// How long a message is leased; a consumer that is still at it renews it in time.
pub const MESSAGE_LEASE: Duration = Duration::from_mins(1);

/// How long the queue of a running node outlives its last sign of life.
pub(super) const NODE_TTL: Duration = Duration::from_mins(1);

/// How long a consumer counts after its last sign of life; it gives one every third of that.
pub(super) const CONSUMER_TTL: Duration = Duration::from_mins(2);

/// How long a message whose queue is not there waits for it.
const UNROUTABLE_DELAY: Duration = Duration::from_mins(1);

/// How far into a queue leases are looked for.
const MAX_LEASED: i64 = 2_000;

/// How many messages go on in one transaction.
const MAINTAIN_BATCH: i64 = 200;

/// The embedded broker. Clones are the same broker.
#[derive(Clone, Debug)]
pub struct Embedded {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) notifier: Notifier,
    pub(super) topology: Arc<Topology>,
    pub(super) tasks: TaskTracker,
    pub(super) acks: WriteBatcher<Acks>,
}

impl Embedded {
    /// A broker in the tables of `db`, to be made inside a runtime. Nothing is written until [`Embedded::declare`].
    #[must_use]
    pub fn new(db: Db, clock: Clock, notifier: Notifier, topology: Arc<Topology>, tasks: TaskTracker) -> Self {
        let acks = WriteBatcher::start("acknowledgements", Acks(db.clone()));
        Embedded { db, clock, notifier, topology, tasks, acks }
    }

    /// The task that acknowledges for many.
    #[must_use]
    pub fn part(&self) -> &Part {
        self.acks.part()
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
        self.shorten(&mut tx).await?;
        // the bindings of what we know are ours to say; those of a newer program beside us, and of nodes, are not
        let exchanges = self.topology.exchanges.iter().map(|exchange| exchange.name);
        for name in self.topology.queues.iter().map(|queue| queue.name.as_str()).chain(exchanges) {
            tx.query("delete from broker_binding where target = $1").bind(name.to_owned()).execute().await?;
        }
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
        let mut filled = Vec::new();
        for publication in publications {
            let queues = routes.of(publication.exchange.name, &publication.routing_key);
            for queue in &queues {
                self.enqueue(&mut tx, &routes, queue, &publication).await?;
            }
            published.push(if queues.is_empty() { Published::Returned } else { Published::Confirmed });
            filled.extend(queues);
        }
        tx.commit().await?;
        for queue in filled {
            self.notifier.signal_queue(&queue);
        }
        Ok(published)
    }

    /// Puts events of the outbox into every queue they are routed to, in the transaction that takes them out of it. Their
    /// bodies do not leave the database. Returns the queues, and the events that none took.
    ///
    /// # Errors
    /// When the database is away.
    pub(in crate::messaging) async fn enqueue_events<'e>(
        &self,
        tx: &mut Tx,
        events: &'e [(Uuid, String)],
    ) -> anyhow::Result<(BTreeSet<String>, Vec<&'e (Uuid, String)>)> {
        let routes = Routes::load(tx).await?;
        let (mut copies, mut filled, mut unroutable) = (Vec::new(), BTreeSet::new(), Vec::new());
        for event in events {
            let queues = routes.of(EVENTS.name, &event.1);
            if queues.is_empty() {
                unroutable.push(event);
            }
            for queue in queues {
                let id = self.clock.new_id();
                copies.push([id.simple().to_string(), event.0.simple().to_string(), queue.clone()]);
                filled.insert(queue);
            }
        }
        if !copies.is_empty() {
            tx.query(Sql {
                sqlite: "insert into broker_message
                           (id, queue, message_id, routing_key, type, body, traceparent, attempt,
                            enqueued_at, available_at, deliveries)
                         select unhex(c.value ->> 0), c.value ->> 2, o.id, o.type, o.type, o.body, o.traceparent, 0,
                           $2, $2, 0
                         from json_each($1) c join outbox o on o.id = unhex(c.value ->> 1)",
                postgres: "insert into broker_message
                             (id, queue, message_id, routing_key, type, body, traceparent, attempt,
                              enqueued_at, available_at, deliveries)
                           select (c.value ->> 0)::uuid, c.value ->> 2, o.id, o.type, o.type, o.body, o.traceparent, 0,
                             $2, $2, 0
                           from jsonb_array_elements($1) c (value) join outbox o on o.id = (c.value ->> 1)::uuid",
            })
            .bind(Json(copies))
            .bind(self.clock.now())
            .execute_deferred()
            .await
            .context("cannot put events into their queues")?;
        }
        Ok((filled, unroutable))
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

    pub(super) async fn refresh_node(&self, queue: &str) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        let node = Queue { name: queue.to_owned(), kind: QueueKind::Node };
        declare_queue(&mut tx, &node, Some(self.clock.now() + NODE_TTL)).await?;
        bind(&mut tx, BROADCAST.name, "", &Target::Queue(queue.to_owned())).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn remove_node(&self, queue: &str) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        tx.query("delete from broker_binding where target = $1").bind(queue.to_owned()).execute_deferred().await?;
        tx.query("delete from broker_queue where name = $1").bind(queue.to_owned()).execute_deferred().await?;
        Ok(tx.commit().await?)
    }

    /// Notes that a consumer of this queue lives.
    pub(super) async fn refresh_consumer(&self, id: Uuid, queue: &str) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        tx.query(
            "insert into broker_consumer (id, queue, expires_at) values ($1, $2, $3)
             on conflict (id) do update set expires_at = excluded.expires_at",
        )
        .bind(id)
        .bind(queue.to_owned())
        .bind(self.clock.now() + CONSUMER_TTL)
        .execute_deferred()
        .await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn remove_consumer(&self, id: Uuid) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        tx.query("delete from broker_consumer where id = $1 or expires_at <= $2")
            .bind(id)
            .bind(self.clock.now())
            .execute_deferred()
            .await?;
        Ok(tx.commit().await?)
    }

    /// Nothing waits for longer than its tier, and nobody has a message for longer than a lease, from now on: what was written
    /// before the clock was put back says otherwise.
    async fn shorten(&self, tx: &mut Tx) -> anyhow::Result<()> {
        let (now, steady) = (self.clock.now(), self.clock.steady());
        for queue in &self.topology.queues {
            if let QueueKind::Wait { ttl } = queue.kind {
                tx.query(
                    "update broker_message set available_at = $2, enqueued_at = $3
                     where queue = $1 and available_at > $4",
                )
                .bind(queue.name.clone())
                .bind(now + ttl)
                .bind(now)
                // what this process can tell by itself is not waited for again
                .bind(steady + ttl)
                .execute_deferred()
                .await?;
            } else {
                // whoever is at it renews its lease; those that are leased are the first of their queue
                tx.query(
                    "update broker_message set leased_until = $2
                     where leased_until > $2
                       and id in (
                         select id from broker_message where queue = $1 order by available_at, id limit $3)",
                )
                .bind(queue.name.clone())
                .bind(now + MESSAGE_LEASE)
                .bind(MAX_LEASED)
                .execute_deferred()
                .await?;
            }
        }
        Ok(())
    }

    async fn shorten_all(&self) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        self.shorten(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Sends on what has waited long enough and removes the queues of nodes that are gone; returns how many messages it moved.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn maintain(&self) -> anyhow::Result<usize> {
        let (now, steady) = (self.clock.now(), self.clock.steady());
        // what seems to come from the future came before the clock was put back
        let due: Option<(i32,)> = self
            .db
            .query(
                "select 1 from broker_message m join broker_queue q on q.name = m.queue
                 where q.ttl_us is not null and m.available_at <= $2 and (m.available_at <= $1 or m.enqueued_at > $1)
                 union all
                 select 1 from broker_queue where expires_at <= $1
                 limit 1",
            )
            .bind(now)
            .bind(steady)
            .optional()
            .await?;
        if due.is_none() {
            return Ok(0);
        }
        let mut tx = self.db.begin().await?;
        tx.query("delete from broker_binding where target in (select name from broker_queue where expires_at <= $1)")
            .bind(now)
            .execute_deferred()
            .await?;
        tx.query("delete from broker_queue where expires_at <= $1").bind(now).execute_deferred().await?;
        let routes = Routes::load(&mut tx).await?;
        let waited: Vec<(Uuid, String)> = tx
            .query(claim!(
                "select id, routing_key from broker_message
                 where queue in (select name from broker_queue where ttl_us is not null)
                   and available_at <= $3 and (available_at <= $1 or enqueued_at > $1)
                 order by available_at limit $2",
                ""
            ))
            .bind(now)
            .bind(MAINTAIN_BATCH)
            .bind(steady)
            .all()
            .await?;
        let mut moved = 0;
        for (id, key) in &waited {
            let Some(queue) = routes.of(RETRY.name, key).into_iter().next() else {
                // an older program without that listener is running: keep it, out of the way of those that can go on
                tracing::warn!(queue = key, "a message waits for a queue that is not there");
                tx.query("update broker_message set available_at = $2, enqueued_at = $3 where id = $1")
                    .bind(*id)
                    .bind(now + UNROUTABLE_DELAY)
                    .bind(now)
                    .execute()
                    .await?;
                continue;
            };
            tx.query("update broker_message set queue = $2, available_at = $3 where id = $1")
                .bind(*id)
                .bind(queue)
                .bind(now)
                .execute()
                .await?;
            moved += 1;
        }
        tx.commit().await?;
        self.notifier.signal_queues();
        Ok(moved)
    }

    /// Ends the wait of everything that waits for another attempt of `queue`, which then counts as not tried yet, and returns how
    /// many messages that were.
    ///
    /// # Errors
    /// When the database is away.
    pub(in crate::messaging) async fn hurry(&self, queue: &str) -> anyhow::Result<usize> {
        let mut tx = self.db.begin().await?;
        let hurried = tx
            .query(
                "update broker_message
                 set available_at = $2, attempt = case when attempt > 0 then attempt - 1 else 0 end
                 where queue in (select name from broker_queue where ttl_us is not null)
                   and routing_key = $1 and available_at > $2",
            )
            .bind(queue.to_owned())
            .bind(self.clock.now())
            .execute()
            .await?;
        tx.commit().await?;
        while self.maintain().await? > 0 {}
        Ok(usize::try_from(hurried).unwrap_or(usize::MAX))
    }

    /// Maintains the queues until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut set_back = SetBack::of(&self.clock);
        while !stop.is_cancelled() {
            if set_back.may_have_been()
                && let Err(error) = self.shorten_all().await
            {
                db::report_failed_poll("shortening what waits", &error);
                set_back = SetBack::of(&self.clock);
            }
            match self.maintain().await {
                Ok(moved) if moved > 0 => continue,
                Ok(_) => {}
                Err(error) => db::report_failed_poll("moving on what has waited", &error),
            }
            failpoint::reach("queues.turn");
            stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await;
        }
    }

    /// How full each queue is.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn depths(&self) -> anyhow::Result<Vec<QueueDepth>> {
        let rows: Vec<(String, i64, i64, i64)> = self
            .db
            .query(
                "select q.name,
                   (select count(*) from broker_message m where m.queue = q.name),
                   (select count(*) from broker_message m where m.queue = q.name and m.leased_until > $1),
                   (select count(*) from broker_consumer c where c.queue = q.name and c.expires_at > $1)
                 from broker_queue q
                 where q.kind <> 'node'
                 order by q.name",
            )
            .bind(self.clock.now())
            .all()
            .await?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        let depth = |(queue, all, unacked, consumers): (String, i64, i64, i64)| QueueDepth {
            queue,
            messages: number(all - unacked),
            unacked: Some(number(unacked)),
            consumers: number(consumers),
        };
        Ok(rows.into_iter().map(depth).collect())
    }
}
