//! The loop that owns a queue, and the one place that settles.

pub mod ephemeral;
pub mod inbox;
pub mod layers;
pub mod lease;
pub mod retries;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{Service as _, ServiceExt as _};

use crate::clock::{Clock, Timestamp};
use crate::config::RetryPolicy;
use crate::db::purge::Purge;
use crate::db::{self, Db};
use crate::failpoint;
use crate::messaging::backpressure::{BACKLOG, Backpressure};
use crate::messaging::broker::{Broker, Delivery, Publication, Published};
use crate::messaging::consumer::layers::Stack;
use crate::messaging::message::{Failure, MAX_REASON_CHARS, Message, Outcome};
use crate::messaging::topology::{DEAD, Exchange, Queue, QueueKind, Topology};
use crate::text::one_line;

/// What of all that goes, and when.
pub const PURGES: [Purge; 3] = [inbox::PURGE, retries::PURGE, lease::PURGE];

/// How long a message that could not be parked is kept before it is given back.
const REFUSED_DELAY: Duration = Duration::from_secs(5);

/// Consumes a queue. Several may run on one queue; who is fast takes more.
#[derive(Clone)]
pub struct Consumer {
    /// Where the queue is.
    pub broker: Broker,
    /// Where retry state is written down.
    pub db: Db,
    /// For the age of failures.
    pub clock: Clock,
    /// For the waits.
    pub topology: Arc<Topology>,
    /// How long failing messages are tried.
    pub retry: RetryPolicy,
    /// Short name of the queue.
    pub queue: &'static str,
    /// What is done about its messages.
    pub listener: Stack,
    /// Messages that are unacknowledged at a time.
    pub prefetch: u16,
    /// How many of them are worked at at the same time.
    pub at_once: usize,
    /// For backlogs: when as many messages as may be are worked at.
    pub backpressure: Backpressure,
}

impl Consumer {
    /// Consumes until `stop`; what is worked at then is finished.
    pub async fn run(self, stop: CancellationToken) {
        let queue = Queue { name: self.queue.to_owned(), kind: QueueKind::Work };
        let Some(mut deliveries) = self.broker.consume_when_possible(&queue, self.prefetch, &stop).await else {
            return;
        };
        let mut running = FuturesUnordered::new();
        let (mut full_since, mut yield_until) = (None, None);
        loop {
            let next = async {
                if let Some(until) = yield_until {
                    tokio::time::sleep_until(until).await;
                }
                deliveries.next().await
            };
            tokio::select! {
                // all that is there first: what is begun together can be written together
                biased;
                delivery = next, if running.len() < self.at_once => {
                    yield_until = None;
                    let Some(delivery) = delivery else { break };
                    failpoint::reach("consumer.turn");
                    let mut consumer = self.clone();
                    running.push(async move { consumer.handle(delivery).await });
                    if running.len() == self.at_once && self.at_once >= BACKLOG {
                        full_since = Some(Instant::now());
                    }
                }
                Some(()) = running.next() => {
                    // everyone who is done, not just the first: their places are filled again by one look instead of one each
                    while running.next().now_or_never().flatten().is_some() {}
                    let worked = full_since.take().map(|since: Instant| since.elapsed());
                    let pause = worked.map(|worked| self.backpressure.pause(worked));
                    yield_until = pause.map(|pause| Instant::now() + pause).or(yield_until);
                }
            }
        }
        running.collect::<()>().await;
    }

    /// Calls the listener, and settles.
    pub async fn handle(&mut self, delivery: Delivery) {
        if let Some(reason) = delivery.undecodable() {
            let reason = reason.to_owned();
            return self.settle(delivery, Outcome::Reject(reason)).await;
        }
        failpoint::reach("consumer.taken");
        let message = Arc::new(delivery.message().clone());
        let listener = &mut self.listener;
        let call = async { listener.ready().await?.call(message).await };
        let answer = tokio::select! {
            answer = call => answer,
            () = lost(&delivery) => {
                return tracing::warn!(queue = self.queue, "lost a message that was not settled; somebody else has it");
            }
        };
        let outcome = match answer {
            Ok(outcome) => outcome,
            // a connection that is cut while it begins looks like this and passes; an answer that cannot be read does not
            Err(error) if db::is_protocol_error(&*error) => {
                return self.settle_protocol_error(delivery, describe(&*error)).await;
            }
            // that is no failure of this message: how long one waits depends on how often it has failed, and three short
            // outages in a minute are no reason to keep a mail back for ten
            Err(error) => match db::outage(&*error) {
                // who watches over the database says so, once
                Some(outage) => {
                    tracing::debug!(queue = self.queue, error = describe(&*error), "{}; later", outage.as_str());
                    Outcome::Snooze(Duration::ZERO)
                }
                None => Outcome::RetryLater { reason: describe(&*error), said: String::new() },
            },
        };
        self.settle(delivery, outcome).await;
    }

    /// The message goes, waits or becomes a dead letter.
    async fn settle(&self, delivery: Delivery, outcome: Outcome) {
        let message = delivery.message();
        let now = self.clock.now();
        let (exchange, message) = match outcome {
            Outcome::Ack => return self.ack(&delivery).await,
            Outcome::Snooze(wait) => (self.topology.tier(wait), message.clone()),
            Outcome::RetryLater { reason, said } => {
                if let Some(wait) = self.next_wait(message, now) {
                    let said = Some(said).filter(|said| !said.is_empty());
                    let (event, attempt, wait_seconds) = (message.id, message.attempt, wait.as_secs());
                    tracing::warn!(queue = self.queue, %event, attempt, wait_seconds, reason, said, "parked");
                    (self.topology.tier(wait), self.failed(message, reason, now))
                } else {
                    let reason = format!("gave up after {} attempts: {reason}", message.attempt.saturating_add(1));
                    (DEAD, self.dead_letter(message, reason, now))
                }
            }
            Outcome::Reject(reason) => (DEAD, self.dead_letter(message, reason, now)),
        };
        self.forward(delivery, exchange, message).await;
    }

    /// Waits as long as after a short outage, however often it comes. But since when is written down, and it ends as any other
    /// failure does.
    async fn settle_protocol_error(&self, delivery: Delivery, reason: String) {
        let (message, now) = (delivery.message(), self.clock.now());
        let (exchange, message) = if self.is_exhausted(message, now) {
            let reason = format!("gave up after {} hours: {reason}", self.retry.total.as_secs() / 3_600);
            (DEAD, self.dead_letter(message, reason, now))
        } else {
            tracing::warn!(queue = self.queue, event = %message.id, reason, "the database cannot be understood; later");
            let parked = self.failed(message, reason, now);
            (self.topology.tier(Duration::ZERO), Message { attempt: message.attempt, ..parked })
        };
        self.forward(delivery, exchange, message).await;
    }

    /// Brings a message where it waits or stays, and takes it from the queue when it has safely arrived there.
    async fn forward(&self, delivery: Delivery, exchange: Exchange, message: Message) {
        let due = (exchange != DEAD).then(|| self.clock.now() + self.topology.wait(&exchange));
        // known beside the message, not instead of it: without it, it may be missed too early, and come twice
        if let Err(error) = retries::record(&self.db, &self.clock, self.queue, &message, due).await {
            self.report(&error.into(), "cannot write retry state down");
        }
        let publication = Publication { exchange, routing_key: self.queue.to_owned(), message };
        match self.broker.publish(vec![publication]).await.as_slice() {
            [Published::Confirmed] => {
                failpoint::reach("parked.published");
                self.ack(&delivery).await;
            }
            other => {
                tracing::warn!(queue = self.queue, ?other, "cannot park a message; giving it back");
                // not at once, or a broker that refuses would be asked as fast as it can answer
                tokio::time::sleep(REFUSED_DELAY).await;
                delivery.release().await;
            }
        }
    }

    /// How long a message that failed again waits; none when it has been failing for too long.
    fn next_wait(&self, message: &Message, now: Timestamp) -> Option<Duration> {
        self.retry.next_wait(message.attempt, message.failing_for(now))
    }

    /// Whether a message has been failing for too long.
    fn is_exhausted(&self, message: &Message, now: Timestamp) -> bool {
        message.failing_for(now) >= self.retry.total
    }

    fn dead_letter(&self, message: &Message, reason: String, now: Timestamp) -> Message {
        tracing::error!(queue = self.queue, event = %message.id, reason, "dead letter");
        self.failed(message, reason, now)
    }

    /// The message with one failure more.
    fn failed(&self, message: &Message, reason: String, now: Timestamp) -> Message {
        let first_at = message.failure.as_ref().map_or(now, |failure| failure.first_at);
        let failure = Failure { queue: self.queue.to_owned(), reason, first_at, last_at: now };
        Message { attempt: message.attempt.saturating_add(1), failure: Some(failure), ..message.clone() }
    }

    async fn ack(&self, delivery: &Delivery) {
        failpoint::reach("consumer.before_ack");
        match delivery.ack().await {
            Ok(true) => failpoint::reach("consumer.acked"),
            Ok(false) => tracing::warn!(queue = self.queue, "done, but somebody else has the message by now"),
            // it comes again, and the inbox knows it
            Err(error) => self.report(&error, "done, but cannot say so"),
        }
    }

    /// Says what did not work, unless that is because the database is away: who watches over it says so, once.
    fn report(&self, error: &anyhow::Error, what: &'static str) {
        let (queue, said) = (self.queue, format!("{error:#}"));
        if db::is_unavailable(error) {
            tracing::debug!(queue, error = said, "{what}");
        } else {
            tracing::warn!(queue, error = said, "{what}");
        }
    }
}

/// Renews a delivery for as long as it is worked at; returns when it was lost.
async fn lost(delivery: &Delivery) {
    loop {
        tokio::time::sleep(Delivery::RENEWAL_INTERVAL).await;
        if let Ok(false) = delivery.renew().await {
            return;
        }
    }
}

/// An error with its causes in one line.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    one_line(&chain.map(ToString::to_string).collect::<Vec<_>>().join(": "), MAX_REASON_CHARS)
}

#[cfg(test)]
mod tests;
