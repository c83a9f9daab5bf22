//! From the outbox to the broker.
//!
//! Claim a batch, publish it, mark what the broker confirmed: three steps, no transaction open over the network. A relay
//! that dies in between leaves rows that another one takes when the claim ends; what was published twice by then is
//! folded by the inbox. Any number of relays may run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::Db;
use crate::messaging::broker::{Broker, Publication, Published};
use crate::messaging::outbox;
use crate::messaging::topology::{EVENTS, Topology};
use crate::messaging::wake::{POLL, Wake};

/// How many events are under way at once: as fast as more would be, with less in doubt after a crash.
const BATCH: i64 = 250;

/// The pause after a broker that did not answer, doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// How long one waits after the bell for more to come: three transactions carry ten events as they carry one.
const GATHER: Duration = Duration::from_millis(20);

/// How soon an event that the broker did not take is published again: meanwhile those behind it have their turn.
const ASIDE: Duration = Duration::from_secs(1);

/// How soon an event that no queue took is published again.
const UNROUTABLE: Duration = Duration::from_mins(1);

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
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The broker has them.
    pub published: usize,
    /// They stay in the outbox for now.
    pub kept: usize,
}

impl Relay {
    /// Carries until `stop`; what is under way then is finished.
    pub async fn run(self, stop: CancellationToken) {
        // subscribe before looking: what is appended while we look rings the bell we already hear
        let mut ear = self.wake.on_outbox();
        let mut pause = SHORTEST;
        while !stop.is_cancelled() {
            match self.carry().await {
                Ok(Carried { published: 0, kept: 0 }) => {
                    pause = SHORTEST;
                    let gather = async {
                        ear.wait(POLL).await;
                        tokio::time::sleep(GATHER).await;
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

    /// Carries one batch of what is due.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn carry(&self) -> Result<Carried> {
        let messages = outbox::claim(&self.db, &self.clock, BATCH).await?;
        if messages.is_empty() {
            return Ok(Carried::default());
        }
        let span = tracing::debug_span!("relay.publish", events = messages.len());
        self.publish(messages).instrument(span).await
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
                Published::Confirmed => done.push(id),
                Published::Returned if !self.topology.is_wanted(&key) => done.push(id),
                Published::Returned => {
                    tracing::error!(event = %id, key, "no queue took this event; it stays in the outbox");
                    unroutable.push(id);
                }
                Published::Failed(why) => {
                    reason = why;
                    failed.push(id);
                }
            }
        }
        if !failed.is_empty() {
            tracing::warn!(events = failed.len(), reason, "not published, trying again");
            outbox::failed(&self.db, &self.clock, &failed, &reason, ASIDE).await?;
        }
        if !unroutable.is_empty() {
            outbox::failed(&self.db, &self.clock, &unroutable, "unroutable: no queue took it", UNROUTABLE).await?;
        }
        if !done.is_empty() {
            outbox::published(&self.db, &self.clock, &done).await?;
        }
        Ok(Carried { published: done.len(), kept: failed.len() + unroutable.len() })
    }
}

/// Somewhere from nothing to `longest`, so that many who lost the same server do not all come back at once.
pub(super) fn jittered(longest: Duration) -> Duration {
    let random = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
    longest.mul_f64(random)
}
