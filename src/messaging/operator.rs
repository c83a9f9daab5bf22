//! What an operator sees and does: how full the queues are, the dead letters with their reasons, and the way back for them.
//!
//! The same on every broker. Queues are counted by the broker; what it cannot tell (how many messages are unacknowledged on RabbitMQ,
//! how old the oldest is) follows from the outbox, the inboxes and the retry state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::messaging::broker::{Bodies, Broker, Deliveries, Delivery, Publication, Published};
use crate::messaging::consumer::inbox;
use crate::messaging::consumer::retries;
use crate::messaging::message::Message;
use crate::messaging::outbox;
use crate::messaging::topology::{self, DEFAULT, Queue, QueueKind, RETRY, Topology, dead};
use crate::progress::Progress;

/// How long the broker may take to deliver the next dead letter, or to show one that was requeued.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for the first of them: a busy database may take its time over many, and an empty list would be a false one.
const FIRST_DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked whether letters are back.
const REQUEUE_POLL: Duration = Duration::from_millis(20);

/// How many letters are put back at a time: their bodies are read, and an operator may put back all there are.
const REDRIVE_WINDOW: u16 = 250;

/// Over how long the rate is measured.
const RATE_WINDOW: Duration = Duration::from_mins(1);

/// What an operator can do. Clones are the same.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Where outbox, inboxes and retry state are.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// Where the queues are.
    pub broker: Broker,
    /// Which queues there are.
    pub topology: Arc<Topology>,
    /// How long something may be under way before it is missed; a redriven letter is given twice as long.
    pub grace: Duration,
    /// Counts the dead letters that were gone through.
    pub progress: Progress,
}

/// How a listener's queue fares.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueState {
    /// Short name.
    pub queue: String,
    /// Messages that are ready to be taken; none while the broker cannot be asked.
    pub depth: Option<u64>,
    /// Messages that a consumer has and has not settled; none while the broker cannot be asked.
    pub unacked: Option<u64>,
    /// Messages that wait for another attempt.
    pub waiting: u64,
    /// When the first of them comes again …
    pub next_retry: Option<Timestamp>,
    /// … and the last.
    pub last_retry: Option<Timestamp>,
    /// Dead letters; while the broker cannot be asked, those that have not been done since.
    pub dead: u64,
    /// When the oldest event happened that is not done and not dead.
    pub oldest: Option<Timestamp>,
    /// Consumers, of all processes; none while the broker cannot be asked.
    pub consumers: Option<u64>,
    /// Messages done within the last minute.
    pub rate: u64,
}

/// What is on its way to the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxState {
    /// Events that wait for it.
    pub waiting: u64,
    /// Since when the oldest of them does.
    pub oldest: Option<Timestamp>,
    /// Events that are to happen later.
    pub later: u64,
    /// When the first of those is.
    pub next: Option<Timestamp>,
}

/// A dead letter with the queue it failed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Short name of the listener's queue.
    pub queue: String,
    /// The message with its failure. Without its body, unless it was asked for by its id.
    pub message: Message,
    /// When it has been done since, by a repeat of the same event: then it is good for nothing any more.
    pub done_at: Option<Timestamp>,
}

/// Which dead letters are meant: all, unless it says less.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Of this queue alone.
    pub queue: Option<String>,
    /// Of this event alone.
    pub id: Option<Uuid>,
    /// Only what has been done since.
    pub done: bool,
}

/// What is done about a dead letter.
/// A dead letter that cannot be put back: its body was larger than an event can be and was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dead letter {0} was larger than an event can be: its body was not kept, and it can only be discarded")]
pub struct Hollow(pub Uuid);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Keep,
    Redrive,
    Discard,
}

impl Operator {
    /// How every listener's queue fares. What only the broker knows is missing while it cannot be asked.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn queues(&self) -> anyhow::Result<Vec<QueueState>> {
        let depths = self.broker.depths().await.ok();
        let counts: Option<HashMap<String, _>> =
            depths.map(|depths| depths.into_iter().map(|depth| (depth.queue.clone(), depth)).collect());
        let waiting = retries::waiting(&self.db, &self.clock).await?;
        let dead_letters: HashMap<String, i64> = retries::dead(&self.db).await?.into_iter().collect();
        let rates: HashMap<String, i64> =
            inbox::rates(&self.db, self.clock.now() - RATE_WINDOW).await?.into_iter().collect();
        let of = |numbers: &HashMap<String, i64>, queue: &str| numbers.get(queue).map_or(0, |found| number(*found));
        let mut states = Vec::new();
        for queue in self.listeners(&DeadLetterFilter::default())? {
            let (open, oldest) = self.open(&queue).await?;
            let waits = waiting.iter().find(|waits| waits.listener == queue);
            let waiting = waits.map_or(0, |waits| number(waits.events));
            // a queue that is not there is empty
            let count = counts.as_ref().map(|counts| counts.get(&queue));
            let depth = count.map(|count| count.map_or(0, |count| count.messages));
            let reported = count.flatten().and_then(|count| count.unacked);
            states.push(QueueState {
                depth,
                unacked: depth.map(|depth| reported.unwrap_or_else(|| open.saturating_sub(depth + waiting))),
                waiting,
                next_retry: waits.map(|waits| waits.first),
                last_retry: waits.map(|waits| waits.last),
                dead: match &counts {
                    Some(counts) => counts.get(&dead(&queue)).map_or(0, |count| count.messages),
                    None => of(&dead_letters, &queue),
                },
                oldest,
                consumers: count.map(|count| count.map_or(0, |count| count.consumers)),
                rate: of(&rates, &queue),
                queue,
            });
        }
        Ok(states)
    }

    /// What is on its way to the broker.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn outbox(&self) -> anyhow::Result<OutboxState> {
        let (waiting, oldest) = outbox::backlog(&self.db, &self.clock).await?;
        let (later, next) = outbox::scheduled(&self.db, &self.clock).await?;
        Ok(OutboxState { waiting: number(waiting), oldest, later: number(later), next })
    }

    /// Ends the wait of what waits for another attempt, of one queue or of all: it goes back to its queue at once, and waits as
    /// long again if it fails. Returns how many messages that were, of each queue.
    ///
    /// # Errors
    /// A queue that there is not; otherwise when the database or the broker is away. Safe to repeat.
    pub async fn retry_now(&self, queue: Option<String>) -> anyhow::Result<Vec<(String, usize)>> {
        let queues = self.listeners(&DeadLetterFilter { queue, ..DeadLetterFilter::default() })?;
        // said before it is so: what a crash leaves waiting is then missed, and published again
        let mut tx = self.db.begin().await?;
        for queue in &queues {
            retries::hurry(&mut tx, queue, self.clock.now()).await?;
        }
        tx.commit().await?;
        let mut hurried: Vec<(String, usize)> = queues.into_iter().map(|queue| (queue, 0)).collect();
        if let Some(embedded) = self.broker.transactional() {
            for (queue, count) in &mut hurried {
                *count = embedded.hurry(queue).await?;
            }
            return Ok(hurried);
        }
        for depth in self.broker.depths().await? {
            let tier = self.topology.queues.iter().find(|queue| queue.name == depth.queue);
            if let Some(tier) = tier.filter(|queue| depth.messages > 0 && matches!(queue.kind, QueueKind::Wait { .. }))
            {
                self.hurry(tier, depth.messages, &mut hurried).await?;
            }
        }
        Ok(hurried)
    }

    /// Brings what waits in a tier for one of these queues back to it, and counts it there.
    async fn hurry(&self, tier: &Queue, waiting: u64, hurried: &mut [(String, usize)]) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let most = u16::try_from(waiting).unwrap_or(u16::MAX);
        let mut deliveries = self.broker.consume(tier, most, stop.clone()).await?;
        let (mut others, mut failed) = (Vec::new(), None);
        for _ in 0..most {
            // some may have gone by themselves
            let Ok(Some(delivery)) = timeout(DELIVERY_TIMEOUT, deliveries.next()).await else { break };
            let meant = hurried.iter_mut().find(|(queue, _)| queue == delivery.routing_key());
            let Some((queue, count)) = meant.filter(|_| failed.is_none()) else {
                others.push(delivery);
                continue;
            };
            // it waited to be tried at its time: this try is one more, and when it fails the wait is the same again
            let (routing_key, mut message) = (queue.clone(), delivery.message().clone());
            message.attempt = message.attempt.saturating_sub(1);
            let back = Publication { exchange: RETRY, routing_key, message };
            match self.broker.publish(vec![back]).await.as_slice() {
                [Published::Confirmed] => {
                    *count += 1;
                    self.progress.advance(1);
                    // one that is not taken away comes twice, which the inbox folds
                    delivery.ack().await?;
                }
                other => {
                    failed = Some(anyhow::anyhow!("cannot bring a message back to {queue}: {other:?}"));
                    others.push(delivery);
                }
            }
        }
        give_back(others, deliveries, &stop).await;
        failed.map_or(Ok(()), Err)
    }

    /// How many published events a listener is bound to that are neither done nor dead, and the oldest one's time.
    async fn open(&self, listener: &str) -> anyhow::Result<(u64, Option<Timestamp>)> {
        let (mut open, mut oldest) = (0, None);
        for key in self.topology.keys_of(listener) {
            let found: Vec<(String, i64, Option<Timestamp>)> = self
                .db
                .query(
                    "select o.type, count(*), min(o.due_at) from outbox o
                     where o.published_at is not null and o.type like $1
                       and not exists (select 1 from listener l where l.name = $2 and l.since > o.published_at)
                       and not exists (select 1 from inbox i where i.listener = $2 and i.event_id = o.id)
                       and not exists (
                         select 1 from setback s
                         where s.listener = $2 and s.event_id = o.id and s.due_at is null)
                     group by o.type",
                )
                .bind(topology::like(key))
                .bind(listener.to_owned())
                .all()
                .await?;
            for (kind, count, first) in found {
                if topology::matches(key, &kind) {
                    open += u64::try_from(count).unwrap_or_default();
                    oldest = [oldest, first].into_iter().flatten().min();
                }
            }
        }
        Ok((open, oldest))
    }

    /// The dead letters that are meant, those that failed last first.
    ///
    /// # Errors
    /// A queue that there is not; otherwise when the broker is away.
    pub async fn dead_letters(&self, filter: &DeadLetterFilter) -> anyhow::Result<Vec<DeadLetter>> {
        let mut found = self.for_each(filter, Action::Keep).await?;
        found.sort_by_key(|letter| std::cmp::Reverse(letter.message.failure.as_ref().map(|failure| failure.last_at)));
        Ok(found)
    }

    /// Puts the dead letters that are meant back into the queues they failed in, as if they came for the first time, and returns
    /// them. Safe to repeat: what comes twice is folded by the listener's inbox.
    ///
    /// # Errors
    /// A queue that there is not; a letter whose body was too large to be kept, when all others are back; otherwise when the
    /// database or the broker is away. What was put back by then is back.
    pub async fn redrive(&self, filter: &DeadLetterFilter) -> anyhow::Result<Vec<DeadLetter>> {
        self.for_each(filter, Action::Redrive).await
    }

    /// Gives the dead letters that are meant up for good, and returns them. Neither reconciling nor a replay brings them back.
    ///
    /// # Errors
    /// As [`Operator::redrive`].
    pub async fn discard(&self, filter: &DeadLetterFilter) -> anyhow::Result<Vec<DeadLetter>> {
        self.for_each(filter, Action::Discard).await
    }

    /// The queues of the listeners that are meant.
    fn listeners(&self, filter: &DeadLetterFilter) -> anyhow::Result<Vec<String>> {
        let all = self.topology.queues.iter().filter(|queue| queue.kind == QueueKind::Work).map(|queue| &queue.name);
        let queues: Vec<String> =
            all.filter(|name| filter.queue.as_ref().is_none_or(|only| only == *name)).cloned().collect();
        if queues.is_empty() {
            bail!("there is no queue {:?}", filter.queue.as_deref().unwrap_or_default());
        }
        Ok(queues)
    }

    /// Takes every dead letter of the queues meant, applies the action to those that are meant, and requeues the others.
    async fn for_each(&self, filter: &DeadLetterFilter, action: Action) -> anyhow::Result<Vec<DeadLetter>> {
        let (mut found, mut hollow) = (Vec::new(), None);
        let depths = self.broker.depths().await?;
        for queue in self.listeners(filter)? {
            let name = dead(&queue);
            let letters = depths.iter().find(|depth| depth.queue == name).map_or(0, |depth| depth.messages);
            if letters == 0 {
                continue;
            }
            let stop = CancellationToken::new();
            let count = u16::try_from(letters).unwrap_or(u16::MAX);
            self.progress.expect(count.into());
            let source = Queue { name, kind: QueueKind::Dead };
            let (window, bodies) = match (action, filter.id) {
                (Action::Keep, id) => (count, Bodies::Of(id)),
                (Action::Discard, _) => (count, Bodies::Of(None)),
                (Action::Redrive, Some(id)) => (count, Bodies::Of(Some(id))),
                // those that are not meant are held to the end
                (Action::Redrive, None) if filter.done => (count, Bodies::All),
                (Action::Redrive, None) => (count.min(REDRIVE_WINDOW), Bodies::All),
            };
            let mut deliveries = self.broker.browse(&source, window, bodies, stop.clone()).await?;
            let (mut kept, mut seen, mut failed) = (Vec::new(), HashSet::new(), None);
            for at in 0..count {
                let limit = if at == 0 { FIRST_DELIVERY_TIMEOUT } else { DELIVERY_TIMEOUT };
                let Ok(Some(delivery)) = timeout(limit, deliveries.next()).await else { break };
                self.progress.advance(1);
                let mut message = delivery.message().clone();
                if action != Action::Keep {
                    message.body = Vec::new();
                }
                let done_at = inbox::done_at(&self.db, &queue, message.id).await?;
                let meant = filter.id.is_none_or(|id| id == message.id) && (done_at.is_some() || !filter.done);
                if action == Action::Redrive && meant && delivery.message().body.is_empty() {
                    hollow = Some(message.id);
                    kept.push(delivery);
                    continue;
                }
                if action != Action::Keep && meant && failed.is_none() {
                    match self.apply(&queue, &delivery, action).await {
                        Ok(()) => drop(delivery),
                        Err(error) => {
                            failed = Some(error);
                            kept.push(delivery);
                            continue;
                        }
                    }
                } else {
                    kept.push(delivery);
                }
                // a crash between putting it there and taking it away has left two
                if meant && seen.insert(message.id) {
                    found.push(DeadLetter { queue: queue.clone(), message, done_at });
                }
            }
            let requeued = kept.len();
            give_back(kept, deliveries, &stop).await;
            self.wait_requeued(&source.name, requeued).await;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        // what was larger than an event can be was not kept: there is nothing to put back
        hollow.map_or(Ok(found), |id| Err(Hollow(id).into()))
    }

    /// Waits until the letters that were put back can be seen: RabbitMQ does not say when it has them, and whoever looks next
    /// is to find them.
    async fn wait_requeued(&self, queue: &str, letters: usize) {
        let seen = async {
            loop {
                let depths = self.broker.depths().await.unwrap_or_default();
                let letters_there =
                    depths.into_iter().find(|depth| depth.queue == queue).map_or(0, |depth| depth.messages);
                if usize::try_from(letters_there).is_ok_and(|there| there >= letters) {
                    return;
                }
                tokio::time::sleep(REQUEUE_POLL).await;
            }
        };
        let _ = timeout(DELIVERY_TIMEOUT, seen).await;
    }

    /// First what makes it safe, then it is taken away.
    async fn apply(&self, queue: &str, delivery: &Delivery, action: Action) -> anyhow::Result<()> {
        let message = delivery.message();
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if action == Action::Redrive {
            let fresh = Message { attempt: 0, failure: None, ..message.clone() };
            let back = Publication { exchange: DEFAULT, routing_key: queue.to_owned(), message: fresh };
            match self.broker.publish(vec![back]).await.as_slice() {
                [Published::Confirmed] => {}
                other => bail!("cannot put {} back into {queue}: {other:?}", message.id),
            }
            retries::published_again(&mut tx, queue, &[message.id], now, now + self.grace * 2).await?;
        } else {
            inbox::mark(&mut tx, &self.clock, queue, message.id).await?;
        }
        tx.commit().await?;
        let taken = delivery.ack().await.context("cannot take a dead letter away")?;
        anyhow::ensure!(taken, "the dead letter {} was lost before it was settled; try again", message.id);
        Ok(())
    }
}

/// Ends a subscription and gives back what was taken from it: in this order, or it would all be handed out again.
async fn give_back(mut taken: Vec<Delivery>, mut deliveries: Deliveries, stop: &CancellationToken) {
    stop.cancel();
    while let Some(delivery) = deliveries.next().await {
        taken.push(delivery);
    }
    for delivery in taken {
        delivery.release().await;
    }
}

/// A count of the database.
fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
