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

use crate::clock::Clock;
use crate::db::Db;
use crate::failpoint;
use crate::messaging::broker::embedded::Embedded;
use crate::messaging::broker::{Broker, Publication, Published};
use crate::messaging::notify::POLL;
use crate::messaging::notify::Wake;
use crate::messaging::outbox;
use crate::messaging::throttle::Throttle;
use crate::messaging::topology::{EVENTS, Topology};

/// How many events are under way at once: as fast as more would be, with less in doubt after a crash.
const BATCH: i64 = 250;

/// The pause after a broker that did not answer, doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// From the beginning of one batch to that of the next. An event that comes alone goes at once; where several had come
/// together, the next batch waits twice as long as the last one, up to this, so that many go at the price of one.
const PACE: Duration = Duration::from_millis(100);
/// The first such wait.
const STEP: Duration = Duration::from_micros(12_500);

/// How soon an event that the broker did not take is published again: meanwhile those behind it have their turn.
const ASIDE: Duration = Duration::from_secs(1);

/// How soon an event that no queue took is published again.
const UNROUTABLE: Duration = Duration::from_mins(1);
const NO_QUEUE: &str = "unroutable: no queue took it";

/// Carries events.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Where the outbox is.
    pub db: Db,
    /// For due times and claims.
    pub clock: Clock,
    /// Rung by whoever appends.
    pub wake: Wake,
    /// Where events go.
    pub broker: Broker,
    /// Tells an event that nobody wants from one that got lost.
    pub topology: Arc<Topology>,
    /// For heaps.
    pub throttle: Throttle,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
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
    /// Carries until `stop`; what is under way then is finished.
    pub async fn run(self, stop: CancellationToken) {
        // subscribe before looking: what is appended while we look rings the bell we already hear
        let mut ear = self.wake.on_outbox();
        let mut pause = SHORTEST;
        let (mut batch, mut pace) = (Instant::now(), Duration::ZERO);
        while !stop.is_cancelled() {
            let began = Instant::now();
            let mut carried = self.carry().await;
            if let Ok(Carried { more: true, kept: 0, .. }) = carried {
                carried = self.carry_heap(&stop).await;
            }
            match carried {
                // that was all: what comes now rings the bell
                Ok(Carried { published, kept: 0, more: false, until_next }) => {
                    pause = SHORTEST;
                    // a look that found nothing is no batch; on PostgreSQL there is one after each, for it rings a second
                    // time for what this process wrote
                    if published > 0 {
                        batch = began;
                        pace = next_pace(pace, published);
                    }
                    let gather = async {
                        ear.wait(until_next.map_or(POLL, |next| next.min(POLL))).await;
                        tokio::time::sleep_until(batch + pace).await;
                    };
                    stop.run_until_cancelled(gather).await;
                }
                Ok(Carried { published: 0, .. }) => {
                    stop.run_until_cancelled(tokio::time::sleep(jittered(pause))).await;
                    pause = (pause * 2).min(LONGEST);
                }
                Ok(_) => pause = SHORTEST,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the relay cannot work, trying again");
                    stop.run_until_cancelled(tokio::time::sleep(jittered(pause))).await;
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    /// Carries what is behind a full batch. Where a network is between, two batches are under way: one is claimed or marked
    /// while the other one is published.
    async fn carry_heap(&self, stop: &CancellationToken) -> Result<Carried> {
        let lane = async |lanes: u32| loop {
            let began = Instant::now();
            let carried = self.carry().await?;
            if !carried.more || carried.kept > 0 {
                return Ok(carried);
            }
            let rest = tokio::time::sleep(self.throttle.rest(began.elapsed() * lanes));
            if stop.run_until_cancelled(rest).await.is_none() {
                return Ok(carried);
            }
        };
        if let Broker::Embedded(_) = self.broker {
            return lane(1).await;
        }
        // both to their ends: what is claimed by a batch that is left in the middle nobody takes for a while
        let (one, other): (Result<Carried>, Result<Carried>) = tokio::join!(lane(2), lane(2));
        let (one, other) = (one?, other?);
        Ok(Carried {
            published: one.published + other.published,
            kept: one.kept + other.kept,
            more: one.more || other.more,
            until_next: one.until_next.or(other.until_next),
        })
    }

    /// Carries one batch of what is due.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn carry(&self) -> Result<Carried> {
        let now = self.clock.now();
        match outbox::next_due(&self.db, &self.clock).await? {
            Some(due) if due <= now => {}
            later => {
                let until_next = later.and_then(|due| (due - now).to_std().ok());
                return Ok(Carried { until_next, ..Carried::default() });
            }
        }
        if let Broker::Embedded(embedded) = &self.broker {
            return self.hand_over(embedded).await;
        }
        let messages = outbox::claim(&self.db, &self.clock, BATCH).await?;
        if messages.is_empty() {
            return Ok(Carried::default());
        }
        failpoint::reach("relay.claimed");
        let span = tracing::debug_span!("relay.publish", events = messages.len());
        self.publish(messages).instrument(span).await
    }

    async fn hand_over(&self, embedded: &Embedded) -> Result<Carried> {
        let mut tx = self.db.begin().await?;
        let events = outbox::take(&mut tx, &self.clock, BATCH).await?;
        let (filled, homeless) = embedded.enqueue_events(&mut tx, &events).await?;
        let unroutable: Vec<Uuid> =
            homeless.into_iter().filter(|(id, key)| self.is_missed(*id, key)).map(|(id, _)| *id).collect();
        if !unroutable.is_empty() {
            outbox::failed(&mut tx, &self.clock, &unroutable, NO_QUEUE, UNROUTABLE).await?;
        }
        failpoint::reach("handover.before_commit");
        tx.commit().await?;
        failpoint::reach("handover.committed");
        for queue in filled {
            self.wake.queue(&queue);
        }
        let kept = unroutable.len();
        Ok(Carried { published: events.len() - kept, kept, more: is_full(events.len()), until_next: None })
    }

    /// Whether an event that no queue took was meant for one.
    fn is_missed(&self, id: Uuid, key: &str) -> bool {
        let missed = self.topology.is_wanted(key);
        if missed {
            tracing::error!(event = %id, key, "no queue took this event; it stays in the outbox");
        }
        missed
    }

    async fn publish(&self, messages: Vec<crate::messaging::message::Message>) -> Result<Carried> {
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
            tracing::warn!(events = failed.len(), reason, "not published, trying again");
        }
        failpoint::reach("relay.confirmed");
        let mut tx = self.db.begin().await?;
        for (ids, error, pause) in [(&failed, reason.as_str(), ASIDE), (&unroutable, NO_QUEUE, UNROUTABLE)] {
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
        Ok(Carried { published, kept, more: is_full(published + kept), until_next: None })
    }
}

/// The pace after a batch of so many.
fn next_pace(pace: Duration, events: usize) -> Duration {
    match events {
        0 | 1 if pace <= STEP => Duration::ZERO,
        0 | 1 => pace / 2,
        _ => (pace * 2).clamp(STEP, PACE),
    }
}

fn is_full(batch: usize) -> bool {
    i64::try_from(batch).is_ok_and(|batch| batch >= BATCH)
}

/// Somewhere from nothing to `longest`, so that many who lost the same server do not all come back at once.
pub(in crate::messaging) fn jittered(longest: Duration) -> Duration {
    let random = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
    longest.mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_alone_goes_at_once_and_a_crowd_goes_together() {
        let after = |sizes: &[usize]| sizes.iter().fold(Duration::ZERO, |pace, size| next_pace(pace, *size));
        assert_eq!(after(&[1, 1, 1]), Duration::ZERO);
        assert_eq!(after(&[2]), STEP);
        assert_eq!(after(&[2, 1]), Duration::ZERO);
        assert_eq!(after(&[2, 3, 5, 9, 9]), PACE);
        assert_eq!(after(&[2, 3, 5, 9, 9, 1]), PACE / 2);
    }
}
