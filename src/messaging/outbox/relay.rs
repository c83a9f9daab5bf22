//! From the outbox to the broker.
//!
//! Claim a batch, publish it, mark what the broker confirmed: three steps, no transaction open over the network. A relay
//! that dies in between leaves rows that another one takes when the claim ends; what was published twice by then is
//! folded by the inbox. To queues in the same database it is one step: out of the outbox and into them in one
//! transaction. Any number of relays may run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::clock::{Clock, SetBack};
use crate::db::{self, Db};
use crate::failpoint;
use crate::health::Part;
use crate::messaging::backpressure::Backpressure;
use crate::messaging::broker::embedded::Embedded;
use crate::messaging::broker::{Broker, BrokerHealth, Publication, Published};
use crate::messaging::message::Message;
use crate::messaging::notify::{Notifier, POLL_INTERVAL};
use crate::messaging::outbox::{self, UNROUTABLE_DELAY};
use crate::messaging::topology::{EVENTS, Topology};

/// How many events are under way at once: as fast as more would be, with less in doubt after a crash.
const BATCH: i64 = 250;

/// From the beginning of one batch to that of the next. An event that comes alone goes at once; where several had come
/// together, the next batch lingers twice as long as the last one, up to this, so that many go at the price of one.
const MAX_LINGER: Duration = Duration::from_millis(100);
/// The first such wait.
const FIRST_LINGER: Duration = Duration::from_micros(12_500);

/// How soon an event that the broker did not take is published again: meanwhile those behind it have their turn.
const RETRY_DELAY: Duration = Duration::from_secs(1);

const UNROUTABLE: &str = "unroutable: no queue took it";

/// Publishes events.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Where the outbox is.
    pub db: Db,
    /// For due times and claims.
    pub clock: Clock,
    /// Signalled by whoever appends.
    pub notifier: Notifier,
    /// Where events go.
    pub broker: Broker,
    /// Tells an event that nobody wants from one that got lost.
    pub topology: Arc<Topology>,
    /// How it fares.
    pub part: Part,
    /// For backlogs.
    pub backpressure: Backpressure,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchResult {
    /// The broker has them.
    pub published: usize,
    /// They stay in the outbox for now.
    pub kept: usize,
    /// There may be more where these came from.
    pub more: bool,
    /// When nothing was due: how long until something is, if anything waits.
    pub until_next: Option<Duration>,
}

impl Relay {
    /// Publishes until `stop`; what is under way then is finished.
    pub async fn run(self, stop: CancellationToken) {
        // subscribed before the first look: what is appended meanwhile is not missed
        let mut subscription = self.notifier.subscribe_outbox();
        let mut backoff = Backoff::SERVER;
        let (mut batch_began, mut linger) = (Instant::now(), Duration::ZERO);
        let mut set_back = SetBack::of(&self.clock);
        while !stop.is_cancelled() {
            failpoint::reach("relay.turn");
            if set_back.may_have_been()
                && let Err(error) = outbox::shorten(&self.db, &self.clock).await
            {
                db::report_failed_poll("the relay", &error);
                set_back = SetBack::of(&self.clock);
            }
            let began = Instant::now();
            let mut result = self.drain_batch().await;
            if let Ok(BatchResult { more: true, kept: 0, .. }) = result {
                result = self.drain_backlog(&stop).await;
            }
            match result {
                // that was all: what comes now is signalled
                Ok(BatchResult { published, kept: 0, more: false, until_next }) => {
                    backoff.reset();
                    // a look that found nothing is no batch; on PostgreSQL there is one after each, which is signalled a
                    // second time for what this process wrote
                    if published > 0 {
                        batch_began = began;
                        linger = next_linger(linger, published);
                    }
                    // nobody signals what is due by and by: only a look that finds nothing knows when that is
                    let wait = if published > 0 { Duration::ZERO } else { until_next.unwrap_or(POLL_INTERVAL) };
                    let gather = async {
                        subscription.wait(wait.min(POLL_INTERVAL)).await;
                        tokio::time::sleep_until(batch_began + linger).await;
                    };
                    stop.run_until_cancelled(gather).await;
                }
                Ok(BatchResult { published: 0, .. }) => {
                    stop.run_until_cancelled(tokio::time::sleep(backoff.jittered())).await;
                }
                Ok(_) => backoff.reset(),
                Err(error) => {
                    db::report_failed_poll("the relay", &error);
                    stop.run_until_cancelled(tokio::time::sleep(backoff.jittered())).await;
                }
            }
        }
    }

    /// Publishes what is behind a full batch. Where a network is between, two batches are under way: one is claimed or
    /// marked while the other one is published.
    async fn drain_backlog(&self, stop: &CancellationToken) -> Result<BatchResult> {
        let worker = async |workers: u32| loop {
            let began = Instant::now();
            let result = self.drain_batch().await?;
            if !result.more || result.kept > 0 {
                return Ok(result);
            }
            let pause = tokio::time::sleep(self.backpressure.pause(began.elapsed() * workers));
            if stop.run_until_cancelled(pause).await.is_none() {
                return Ok(result);
            }
        };
        if self.broker.transactional().is_some() {
            return worker(1).await;
        }
        // both to their ends: what is claimed by a batch that is left in the middle nobody takes for a while
        let (one, other): (Result<BatchResult>, Result<BatchResult>) = tokio::join!(worker(2), worker(2));
        let (one, other) = (one?, other?);
        Ok(BatchResult {
            published: one.published + other.published,
            kept: one.kept + other.kept,
            more: one.more || other.more,
            until_next: one.until_next.or(other.until_next),
        })
    }

    /// Publishes one batch of what is due.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn drain_batch(&self) -> Result<BatchResult> {
        let now = self.clock.now();
        match outbox::next_due(&self.db, &self.clock).await? {
            Some(due) if due <= now => {}
            later => {
                let until_next = later.and_then(|due| (due - now).to_std().ok());
                return Ok(BatchResult { until_next, ..BatchResult::default() });
            }
        }
        if let Some(queues) = self.broker.transactional() {
            return self.transfer(queues).await;
        }
        let messages = outbox::claim(&self.db, &self.clock, BATCH).await?;
        if messages.is_empty() {
            return Ok(BatchResult::default());
        }
        failpoint::reach("relay.claimed");
        let span = tracing::debug_span!("relay.publish", events = messages.len());
        self.publish(messages).instrument(span).await
    }

    /// Out of the outbox and into the queues in one transaction.
    async fn transfer(&self, queues: &Embedded) -> Result<BatchResult> {
        let mut tx = self.db.begin().await?;
        let events = outbox::take(&mut tx, &self.clock, BATCH).await?;
        let (filled, untaken) = queues.enqueue_events(&mut tx, &events).await?;
        let unroutable: Vec<Uuid> =
            untaken.into_iter().filter(|(id, key)| self.is_missed(*id, key)).map(|(id, _)| *id).collect();
        if !unroutable.is_empty() {
            outbox::failed(&mut tx, &self.clock, &unroutable, UNROUTABLE, UNROUTABLE_DELAY).await?;
        }
        failpoint::reach("handover.before_commit");
        tx.commit().await?;
        failpoint::reach("handover.committed");
        for queue in filled {
            self.notifier.signal_queue(&queue);
        }
        let kept = unroutable.len();
        Ok(BatchResult { published: events.len() - kept, kept, more: is_full(events.len()), until_next: None })
    }

    /// Whether an event that no queue took was meant for one.
    fn is_missed(&self, id: Uuid, key: &str) -> bool {
        let missed = self.topology.is_wanted(key);
        if missed {
            tracing::error!(event = %id, key, "no queue took this event; it stays in the outbox");
        }
        missed
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<BatchResult> {
        let keys: Vec<(Uuid, String)> = messages.iter().map(|message| (message.id, message.kind.clone())).collect();
        let publications = messages
            .into_iter()
            .map(|message| Publication { exchange: EVENTS, routing_key: message.kind.clone(), message })
            .collect();
        let (mut done, mut unroutable, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut reason = String::new();
        for ((id, key), published) in keys.into_iter().zip(self.broker.publish(publications).await) {
            match published {
                Published::Returned if self.is_missed(id, &key) => unroutable.push(id),
                Published::Confirmed | Published::Returned => done.push(id),
                Published::Failed(why) => {
                    reason = why;
                    failed.push(id);
                }
            }
        }
        if !failed.is_empty() {
            // of a broker that is away the process says so, once
            if self.broker.health().await == BrokerHealth::Up {
                self.part.degrade(&format!("the broker did not take all events: {reason}"));
            }
        } else if !done.is_empty() {
            self.part.recover();
        }
        failpoint::reach("relay.confirmed");
        let mut tx = self.db.begin().await?;
        for (ids, error, pause) in
            [(&failed, reason.as_str(), RETRY_DELAY), (&unroutable, UNROUTABLE, UNROUTABLE_DELAY)]
        {
            if !ids.is_empty() {
                outbox::failed(&mut tx, &self.clock, ids, error, pause).await?;
            }
        }
        if !done.is_empty() {
            outbox::published(&mut tx, &self.clock, &done).await?;
        }
        tx.commit().await?;
        failpoint::reach("relay.marked");
        let (published, kept) = (done.len(), failed.len() + unroutable.len());
        Ok(BatchResult { published, kept, more: is_full(published + kept), until_next: None })
    }
}

/// How long the batch after one of so many lingers.
fn next_linger(linger: Duration, events: usize) -> Duration {
    match events {
        0 | 1 if linger <= FIRST_LINGER => Duration::ZERO,
        0 | 1 => linger / 2,
        _ => (linger * 2).clamp(FIRST_LINGER, MAX_LINGER),
    }
}

fn is_full(batch: usize) -> bool {
    i64::try_from(batch).is_ok_and(|batch| batch >= BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_comes_alone_goes_at_once_and_many_go_together() {
        let after = |sizes: &[usize]| sizes.iter().fold(Duration::ZERO, |linger, size| next_linger(linger, *size));
        assert_eq!(after(&[1, 1, 1]), Duration::ZERO);
        assert_eq!(after(&[2]), FIRST_LINGER);
        assert_eq!(after(&[2, 1]), Duration::ZERO);
        assert_eq!(after(&[2, 3, 5, 9, 9]), MAX_LINGER);
        assert_eq!(after(&[2, 3, 5, 9, 9, 1]), MAX_LINGER / 2);
    }
}
