//! The loop that owns a queue, and the one place that settles.

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
use crate::messaging::broker::embedded::LEASE;
use crate::messaging::broker::{Broker, Delivery, Publication, Published};
use crate::messaging::consumer::layers::Stack;
use crate::messaging::message::{Failure, Message, Outcome};
use crate::messaging::throttle::{HEAP, Throttle};
use crate::messaging::topology::{DEFAULT, Queue, QueueKind, Topology, dead};

/// What of all that goes, and when.
pub const PURGES: [Purge; 3] = [inbox::PURGE, retries::PURGE, lease::PURGE];

/// How long a message that could not be put aside is held on to before it is given back.
const REFUSED: Duration = Duration::from_secs(5);

/// Messages of a node's own queue in hand at a time: they cost nothing.
const NODE_PREFETCH: u16 = 100;

/// Consumes a queue. Several may run on one queue; who is fast takes more.
#[derive(Clone)]
pub struct Consumer {
    /// Where the queue is.
    pub broker: Broker,
    /// Where setbacks are written down.
    pub db: Db,
    /// For the age of failures.
    pub clock: Clock,
    /// For the waits.
    pub topology: Arc<Topology>,
    /// How long failing messages are tried.
    pub patience: RetryPolicy,
    /// Short name of the queue.
    pub queue: &'static str,
    /// What is done about its messages.
    pub listener: Stack,
    /// Messages in hand at a time.
    pub prefetch: u16,
    /// How many of them are worked at at the same time.
    pub at_once: usize,
    /// For heaps: when all hands are full.
    pub throttle: Throttle,
}

impl Consumer {
    /// Consumes until `stop`; what is worked at then is finished.
    pub async fn run(self, stop: CancellationToken) {
        let queue = Queue { name: self.queue.to_owned(), kind: QueueKind::Work };
        let mut deliveries = loop {
            match self.broker.consume(&queue, self.prefetch, stop.clone()).await {
                Ok(deliveries) => break deliveries,
                Err(error) => {
                    tracing::warn!(queue = self.queue, error = format!("{error:#}"), "cannot consume, trying again");
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_none() {
                return;
            }
        };
        let mut at_work = FuturesUnordered::new();
        let (mut full_since, mut rest_until) = (None, None);
        loop {
            let next = async {
                if let Some(rested) = rest_until {
                    tokio::time::sleep_until(rested).await;
                }
                deliveries.next().await
            };
            tokio::select! {
                // all that is there first: what is begun together can be written together
                biased;
                delivery = next, if at_work.len() < self.at_once => {
                    rest_until = None;
                    let Some(delivery) = delivery else { break };
                    let mut consumer = self.clone();
                    at_work.push(async move { consumer.handle(delivery).await });
                    if at_work.len() == self.at_once && self.at_once >= HEAP {
                        full_since = Some(Instant::now());
                    }
                }
                Some(()) = at_work.next() => {
                    // everyone who is done, not just the first: their hands are filled again by one look instead of one each
                    while at_work.next().now_or_never().flatten().is_some() {}
                    let worked = full_since.take().map(|since: Instant| since.elapsed());
                    rest_until = worked.map(|worked| Instant::now() + self.throttle.rest(worked)).or(rest_until);
                }
            }
        }
        at_work.collect::<()>().await;
    }

    /// Has the listener do its work, and settles.
    pub async fn handle(&mut self, delivery: Delivery) {
        if let Some(reason) = delivery.undecodable() {
            let reason = reason.to_owned();
            return self.settle(delivery, Settlement::Dead(reason)).await;
        }
        failpoint::reach("consumer.taken");
        let message = Arc::new(delivery.message().clone());
        let listener = &mut self.listener;
        let call = async { listener.ready().await?.call(message).await };
        let outcome = tokio::select! {
            outcome = call => outcome,
            () = keep(&delivery) => {
                return tracing::warn!(queue = self.queue, "lost a message in hand; somebody else has it");
            }
        };
        let settlement = match outcome {
            Ok(Outcome::Ack) => Settlement::Done,
            Ok(Outcome::Reject(reason)) => Settlement::Dead(reason),
            Ok(Outcome::Later(wait)) => Settlement::Later(wait),
            Err(error) if db::is_away(&*error) => {
                tracing::warn!(queue = self.queue, error = describe(&*error), "the database is away; later");
                Settlement::Later(Duration::ZERO)
            }
            Err(error) => self.patience_with(delivery.message(), describe(&*error)),
        };
        self.settle(delivery, settlement).await;
    }

    /// A failure waits for another attempt, until it has been failing for too long.
    fn patience_with(&self, message: &Message, error: String) -> Settlement {
        let now = self.clock.now();
        let first_at = message.failure.as_ref().map_or(now, |failure| failure.first_at);
        if (now - first_at).to_std().unwrap_or_default() >= self.patience.total {
            return Settlement::Dead(format!("gave up after {} attempts: {error}", message.attempt + 1));
        }
        let longest = self.patience.tiers.len() - 1;
        let tier = usize::try_from(message.attempt).map_or(longest, |attempt| attempt.min(longest));
        Settlement::Wait(self.patience.tiers.get(tier).copied().unwrap_or_default(), error)
    }

    /// The one place that settles: the message goes, waits or rests, and only when it has safely arrived there is it
    /// taken from the queue.
    async fn settle(&self, delivery: Delivery, settlement: Settlement) {
        let message = delivery.message();
        let (exchange, key, reason) = match settlement {
            Settlement::Done => return self.ack(&delivery).await,
            Settlement::Later(wait) => (self.topology.tier(wait), self.queue.to_owned(), None),
            Settlement::Wait(wait, reason) => (self.topology.tier(wait), self.queue.to_owned(), Some(reason)),
            Settlement::Dead(reason) => (DEFAULT, dead(self.queue), Some(reason)),
        };
        let now = self.clock.now();
        let message = match reason {
            Some(reason) => self.failed(message, reason, exchange == DEFAULT, now),
            None => message.clone(),
        };
        let due = (exchange != DEFAULT).then(|| now + self.topology.wait(&exchange));
        // known beside the message, not instead of it: without it, it may be missed too early, and come twice
        if let Err(error) = retries::record(&self.db, &self.clock, self.queue, &message, due).await {
            tracing::warn!(queue = self.queue, %error, "cannot write a setback down");
        }
        let publication = Publication { exchange, routing_key: key, message };
        match self.broker.publish(vec![publication]).await.as_slice() {
            [Published::Confirmed] => {
                failpoint::reach("parked.published");
                self.ack(&delivery).await;
            }
            other => {
                tracing::warn!(queue = self.queue, ?other, "cannot put a message aside; giving it back");
                // not at once, or a broker that refuses would be asked as fast as it can answer
                tokio::time::sleep(REFUSED).await;
                delivery.release().await;
            }
        }
    }

    /// The message with one failure more.
    fn failed(&self, message: &Message, reason: String, for_good: bool, now: Timestamp) -> Message {
        if for_good {
            tracing::error!(queue = self.queue, event = %message.id, reason, "dead letter");
        } else {
            tracing::warn!(queue = self.queue, event = %message.id, attempt = message.attempt, reason, "parked");
        }
        let failure = Failure {
            queue: self.queue.to_owned(),
            reason,
            first_at: message.failure.as_ref().map_or(now, |failure| failure.first_at),
            last_at: now,
        };
        Message { attempt: message.attempt + 1, failure: Some(failure), ..message.clone() }
    }

    async fn ack(&self, delivery: &Delivery) {
        failpoint::reach("consumer.before_ack");
        match delivery.ack().await {
            Ok(true) => failpoint::reach("consumer.acked"),
            Ok(false) => tracing::warn!(queue = self.queue, "done, but somebody else has the message by now"),
            // it comes again, and the inbox knows it
            Err(error) => tracing::warn!(queue = self.queue, error = format!("{error:#}"), "done, but cannot say so"),
        }
    }
}

/// Hands every message of a running node's own queue to `each` until `stop`, and takes it from the queue: what only
/// keeps a memory fresh is not tried again. `subscribed` is told about every gap before the messages after it come.
pub async fn follow(
    broker: Broker,
    queue: Queue,
    stop: CancellationToken,
    subscribed: impl Fn(Option<u64>),
    each: impl Fn(&Message),
) {
    let mut deliveries = loop {
        match broker.consume(&queue, NODE_PREFETCH, stop.clone()).await {
            Ok(deliveries) => break deliveries,
            Err(error) => {
                tracing::warn!(queue = queue.name, error = format!("{error:#}"), "cannot consume, trying again");
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_none() {
            return;
        }
    };
    let mut generation = deliveries.subscribed();
    subscribed(*generation.borrow_and_update());
    loop {
        tokio::select! {
            biased;
            changed = generation.changed() => {
                if changed.is_err() {
                    break;
                }
                subscribed(*generation.borrow_and_update());
            }
            delivery = deliveries.next() => {
                let Some(delivery) = delivery else { break };
                each(delivery.message());
                if let Err(error) = delivery.ack().await {
                    tracing::debug!(queue = queue.name, error = format!("{error:#}"), "cannot acknowledge");
                }
            }
        }
    }
    subscribed(None);
}

/// What becomes of a message.
#[derive(Debug)]
enum Settlement {
    Done,
    /// It is not its turn, or the database is away. It has not failed: how long a message waits depends on how often it
    /// has, and three short outages in a minute are no reason to keep a mail back for ten.
    Later(Duration),
    Wait(Duration, String),
    Dead(String),
}

/// Holds on to a message for as long as it is worked at; returns when it was lost.
async fn keep(delivery: &Delivery) {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        if let Ok(false) = delivery.renew().await {
            return;
        }
    }
}

/// An error with its causes in one line of at most 1,000 characters.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let text = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect()
}
