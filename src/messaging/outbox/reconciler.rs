//! What was published and never done: found by comparing the outbox with the inboxes, and published again.
//!
//! Published events stay in the outbox for a week, so the broker is only transport: one that lost everything loses nothing.
//! An event is missed by a listener that is bound to it when it has recorded neither success nor a retry state that still holds, a
//! while after it was published. It goes again to that listener's queue alone, through the exchange that brings parked
//! messages back; what comes twice for it is folded by the inbox.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::{self, Db};
use crate::failpoint;
use crate::messaging::broker::{Broker, BrokerHealth, Publication, Published};
use crate::messaging::consumer::retries;
use crate::messaging::message::Message;
use crate::messaging::outbox;
use crate::messaging::topology::{self, QueueKind, RETRY, Topology};
use crate::progress::Progress;

/// How often the last hour is compared …
const RECENT_INTERVAL: Duration = Duration::from_mins(1);
const RECENT_WINDOW: Duration = Duration::from_hours(1);
/// … and at every how manieth time, and at the start, all that is kept.
const FULL_EVERY: u32 = 60;

/// How often it is looked whether the broker is connected, at the start.
const CONNECTING_POLL: Duration = Duration::from_millis(200);

/// How many events go in one batch.
const BATCH: i64 = 250;

/// Publishes again what was missed.
#[derive(Clone, Debug)]
pub struct Reconciler {
    /// Where outbox and inboxes are.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// Where events go.
    pub broker: Broker,
    /// Which listener is bound to what.
    pub topology: Arc<Topology>,
    /// How long after its publication an event may be under way before it is missed.
    pub grace: Duration,
    /// Counts what was published again.
    pub progress: Progress,
}

#[derive(FromRow)]
struct MissedEvent {
    id: Uuid,
    #[sqlx(rename = "type")]
    kind: String,
    body: String,
    traceparent: Option<String>,
}

/// Which events are compared.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Timestamp,
    /// Published by then, and without a retry state that ends later.
    until: Timestamp,
    /// Also what is a dead letter.
    dead_too: bool,
}

impl Reconciler {
    /// Reconciles until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        // whether messages wait can be asked when it is connected, a moment after the start
        while self.broker.is_connecting() {
            if stop.run_until_cancelled(tokio::time::sleep(CONNECTING_POLL)).await.is_none() {
                return;
            }
        }
        let mut passes = 0_u32;
        loop {
            self.pass(&mut passes).await;
            failpoint::reach("reconciler.turn");
            if stop.run_until_cancelled(tokio::time::sleep(RECENT_INTERVAL)).await.is_none() {
                return;
            }
        }
    }

    /// Compares all that is kept or the last hour, by how many passes there were. One that fails is none, and is made up for.
    async fn pass(&self, passes: &mut u32) {
        let age = if passes.is_multiple_of(FULL_EVERY) { outbox::OUTBOX_RETENTION } else { RECENT_WINDOW };
        let result = self.reconcile(age).await;
        *passes = passes.wrapping_add(u32::from(result.is_ok()));
        match result {
            Ok(0) => {}
            Ok(events) => tracing::warn!(events, "published again what no listener had recorded"),
            // it cannot see what waits on a broker that is away, which is said once
            Err(error) if self.broker.health().await != BrokerHealth::Up => {
                tracing::debug!(error = format!("{error:#}"), "the broker is away; comparing later");
            }
            Err(error) => db::report_failed_poll("comparing the outbox with the inboxes", &error),
        }
    }

    /// Publishes again what was published within the last `age`, longer ago than the grace, and was missed; returns how
    /// many that were. A queue in which messages wait is left alone: what is in it is not missing.
    ///
    /// # Errors
    /// When the database or the broker is away.
    pub async fn reconcile(&self, age: Duration) -> anyhow::Result<usize> {
        let (now, mut found) = (self.clock.now(), 0);
        let window = Window { since: now - age, until: now - self.grace, dead_too: false };
        for (listener, keys) in self.listeners() {
            let since = window.since.max(self.known_since(listener).await?);
            let window = Window { since, ..window };
            if self.missed(listener, &keys, window, 1).await?.is_empty() || self.is_backlogged(listener).await? {
                continue;
            }
            found += self.publish_again(listener, &keys, window).await?;
        }
        Ok(found)
    }

    /// Publishes again to `listener`, or to all, what was published since then and is not recorded as done, dead letters
    /// included; returns how many that were for each.
    ///
    /// # Errors
    /// A listener that there is not; otherwise when the database or the broker is away.
    pub async fn replay(&self, since: Timestamp, only: Option<&str>) -> anyhow::Result<Vec<(String, usize)>> {
        let listeners: Vec<_> =
            self.listeners().into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
        anyhow::ensure!(!listeners.is_empty(), "there is no listener {:?}", only.unwrap_or_default());
        let mut found = Vec::new();
        for (listener, keys) in listeners {
            let window = Window { since, until: self.clock.now(), dead_too: true };
            found.push((listener.to_owned(), self.publish_again(listener, &keys, window).await?));
        }
        Ok(found)
    }

    /// Every listener's queue with the keys it is bound to.
    fn listeners(&self) -> Vec<(&str, Vec<&str>)> {
        let queues = self.topology.queues.iter().filter(|queue| queue.kind == QueueKind::Work);
        queues.map(|queue| (queue.name.as_str(), self.topology.keys_of(&queue.name))).collect()
    }

    /// Since when a listener is there. What was published long before a newer program brought it is not its business.
    async fn known_since(&self, listener: &str) -> anyhow::Result<Timestamp> {
        let known = async || -> sqlx::Result<Option<(Timestamp,)>> {
            self.db.query("select since from listener where name = $1").bind(listener.to_owned()).optional().await
        };
        if let Some((since,)) = known().await? {
            return Ok(since);
        }
        let mut tx = self.db.begin().await?;
        tx.query("insert into listener (name, since) values ($1, $2) on conflict do nothing")
            .bind(listener.to_owned())
            // a relay that starts for the first time may have published before it comes here
            .bind(self.clock.now() - self.grace)
            .execute_deferred()
            .await?;
        tx.commit().await?;
        Ok(known().await?.map_or_else(|| self.clock.now(), |(since,)| since))
    }

    async fn is_backlogged(&self, listener: &str) -> anyhow::Result<bool> {
        let depths = self.broker.depths().await.context("cannot see whether messages wait")?;
        Ok(depths.iter().any(|depth| depth.queue == listener && depth.messages > 0))
    }

    async fn publish_again(&self, listener: &str, keys: &[&str], window: Window) -> anyhow::Result<usize> {
        let mut found = 0;
        loop {
            let missed = self.missed(listener, keys, window, BATCH).await?;
            if missed.is_empty() {
                return Ok(found);
            }
            let ids: Vec<Uuid> = missed.iter().map(|event| event.id).collect();
            let publications = missed.into_iter().map(|event| Publication {
                exchange: RETRY,
                routing_key: listener.to_owned(),
                message: Message {
                    id: event.id,
                    kind: event.kind,
                    body: event.body.into_bytes(),
                    traceparent: event.traceparent,
                    attempt: 0,
                    failure: None,
                },
            });
            let answers = self.broker.publish(publications.collect()).await;
            let refused = answers.iter().find(|answer| **answer != Published::Confirmed);
            let done: Vec<Uuid> = ids
                .into_iter()
                .zip(&answers)
                .filter(|(_, answer)| **answer == Published::Confirmed)
                .map(|(id, _)| id)
                .collect();
            let now = self.clock.now();
            let mut tx = self.db.begin().await?;
            // twice the grace: long enough to be done, and past what this pass compares
            retries::published_again(&mut tx, listener, &done, now, now + self.grace * 2).await?;
            tx.commit().await?;
            found += done.len();
            self.progress.advance(u64::try_from(done.len()).unwrap_or_default());
            if let Some(refused) = refused {
                anyhow::bail!("cannot publish again to {listener}: {refused:?}");
            }
        }
    }

    /// At most `limit` events that `listener` is bound to and has not recorded, oldest first.
    async fn missed(
        &self,
        listener: &str,
        keys: &[&str],
        window: Window,
        limit: i64,
    ) -> anyhow::Result<Vec<MissedEvent>> {
        let mut all = Vec::new();
        for key in keys {
            let missed: Vec<MissedEvent> = self
                .db
                .query(
                    "select o.id, o.type, o.body, o.traceparent from outbox o
                     where o.published_at is not null and o.published_at >= $1 and o.published_at <= $2
                       and o.type like $3
                       and not exists (select 1 from inbox i where i.listener = $4 and i.event_id = o.id)
                       and not exists (
                         select 1 from setback s
                         where s.listener = $4 and s.event_id = o.id
                           and ((s.due_at is null and not $5) or s.due_at > $2))
                     order by o.published_at
                     limit $6",
                )
                .bind(window.since)
                .bind(window.until)
                // wider than the key: what a star stands for is looked at below
                .bind(topology::like(key))
                .bind(listener.to_owned())
                .bind(window.dead_too)
                .bind(limit)
                .all()
                .await
                .context("cannot compare the outbox with an inbox")?;
            all.extend(missed.into_iter().filter(|event| topology::matches(key, &event.kind)));
        }
        // two keys may take the same event
        all.sort_unstable_by_key(|event| event.id);
        all.dedup_by_key(|event| event.id);
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
