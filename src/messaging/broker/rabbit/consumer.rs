//! Subscriptions that outlive connections, a task and a channel each, on one connection for all of a process.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::fault::{ANSWER_TIMEOUT, Fault, within};
use super::link::{LiveConnection, SETTLE_TIMEOUT, Shared, suspect_if_late};
use super::{declare, wire};
use crate::backoff::Backoff;
use crate::failpoint;
use crate::messaging::broker::types::Bodies;
use crate::messaging::message::Message;
use crate::messaging::topology::{BROADCAST, Queue, QueueKind};

/// After a cancel, for the rest of what the broker had already sent.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// What comes out of a queue, across all reconnects. Dropping it ends the subscription, and gives what was prefetched
/// back to the queue.
#[derive(Debug)]
pub struct AmqpDeliveries {
    prefetched: mpsc::UnboundedReceiver<AmqpDelivery>,
    subscribed: watch::Receiver<Option<u64>>,
}

impl AmqpDeliveries {
    /// The next delivery; waits for one however long the broker is away. `None` once the subscription has ended, by
    /// one of the `stop`s, and all that was prefetched has been delivered. Nothing is lost when this
    /// future is dropped.
    pub async fn next(&mut self) -> Option<AmqpDelivery> {
        loop {
            let delivery = self.prefetched.recv().await?;
            // the broker has given it to somebody else since
            if !delivery.acker.poisoned() {
                return Some(delivery);
            }
        }
    }

    /// The number of the present subscription, from 1 and larger after every gap in which messages to a
    /// [`QueueKind::Node`] queue may have been missed; `None` while there is none. Known at once when a connection
    /// fails, and after at most two heartbeats (20 s) when the broker falls silent.
    #[must_use]
    pub fn subscribed(&self) -> watch::Receiver<Option<u64>> {
        self.subscribed.clone()
    }
}

/// A message that is not settled yet. Dropped without being settled, it stays with this process until its subscription ends; then it
/// goes back to the queue.
pub struct AmqpDelivery {
    /// The message, complete as far as it could be read.
    pub message: Message,
    /// Why it is not one of ours (no id or no type, from another program, or too large): to be rejected with this reason.
    /// `None` on every message that was published here. The body is not looked at.
    pub undecodable: Option<String>,
    /// The queue it came out of (short name).
    pub queue: String,
    /// The key under which it was published.
    pub routing_key: String,
    /// It was delivered before and not settled.
    pub redelivered: bool,
    acker: Acker,
    live: Arc<LiveConnection>,
    /// Until it is settled or dropped.
    unacked: Mutex<Option<TaskTrackerToken>>,
}

impl fmt::Debug for AmqpDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpDelivery")
            .field("queue", &self.queue)
            .field("message", &self.message.id)
            .finish_non_exhaustive()
    }
}

impl AmqpDelivery {
    /// The effect is done: the message goes. `Ok(false)` when that could not be said any more because the
    /// subscription has failed meanwhile: the message comes again.
    ///
    /// # Errors
    ///
    /// When the connection fails over it, or takes longer than 5 s; the message comes again.
    pub async fn ack(&self) -> Result<bool, anyhow::Error> {
        self.settle("acknowledging", self.acker.ack(BasicAckOptions::default())).await
    }

    /// Whether it is still ours: the broker asks for no sign of life beside the connection's.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.acker.usable() && !self.live.over.is_cancelled()
    }

    /// Back to the queue at once, for whoever is next: for stopping, not for waiting.
    pub async fn release(self) {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        if let Err(error) = self.settle("releasing", self.acker.nack(options)).await {
            tracing::debug!(queue = self.queue, %error, "released by the end of the connection");
        }
    }

    async fn settle(
        &self,
        what: &'static str,
        request: impl Future<Output = lapin::Result<bool>>,
    ) -> Result<bool, anyhow::Error> {
        let settled = suspect_if_late(&self.live, within(ANSWER_TIMEOUT, what, request).await)?;
        drop(self.unacked.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(settled)
    }
}

pub(super) fn start(
    shared: &Arc<Shared>,
    queue: Queue,
    prefetch: u16,
    bodies: Bodies,
    stop: CancellationToken,
) -> AmqpDeliveries {
    let (sender, prefetched) = mpsc::unbounded_channel();
    let (generation, subscribed) = watch::channel(None);
    let task = ConsumerTask {
        shared: Arc::clone(shared),
        queue,
        prefetch,
        bodies,
        sender,
        generation,
        stop,
        unacked: TaskTracker::new(),
        declared: 0,
    };
    shared.tasks.spawn(shared.consuming.track_future(task.run()));
    AmqpDeliveries { prefetched, subscribed }
}

struct ConsumerTask {
    shared: Arc<Shared>,
    queue: Queue,
    prefetch: u16,
    bodies: Bodies,
    /// Unbounded, but never holds more than the prefetch of one channel that works.
    sender: mpsc::UnboundedSender<AmqpDelivery>,
    generation: watch::Sender<Option<u64>>,
    stop: CancellationToken,
    /// A token per delivery: the channel is kept while they are being settled.
    unacked: TaskTracker,
    /// How often a node's queue has been declared.
    declared: u64,
}

/// Why a subscription ended.
enum End {
    /// By us: stopped, cancelled, or nobody listens any more.
    Wanted,
    Lost(Fault),
}

impl ConsumerTask {
    async fn run(mut self) {
        let mut backoff = Backoff::SERVER;
        let mut generation = 0;
        while let Some(live) = self.live().await {
            let began = Instant::now();
            let fault = match self.subscribe(&live).await {
                Ok((channel, consumer)) => {
                    generation += 1;
                    self.report(None);
                    self.generation.send_replace(Some(generation));
                    match self.forward(&live, &channel, consumer).await {
                        End::Wanted => {
                            self.generation.send_replace(None);
                            return self.drain(&live, channel).await;
                        }
                        End::Lost(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            self.generation.send_replace(None);
            if !live.over.is_cancelled() {
                // the connection lives: it is this queue
                tracing::debug!(queue = self.queue.name, %fault, "no subscription, trying again until there is one");
                if fault.code() == Some(404) {
                    self.shared.redeclare.notify_one();
                }
                self.report(Some(fault.to_string()));
            }
            tokio::select! {
                () = sleep(backoff.after(began.elapsed(), fault.is_refusal())) => {}
                () = self.ended() => {}
            }
        }
        self.report(None);
    }

    /// A connection, once the topology has been declared; `None` when the subscription is to end.
    async fn live(&self) -> Option<Arc<LiveConnection>> {
        let ready = async {
            let _ = self.shared.report.subscribe().wait_for(|report| report.declared).await;
            self.shared.consumer.next().await
        };
        tokio::select! {
            biased;
            () = self.ended() => None,
            live = ready => live,
        }
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.shared.stop.cancelled() => {}
            () = self.sender.closed() => {}
        }
    }

    async fn subscribe(&mut self, live: &LiveConnection) -> Result<(Channel, Consumer), Fault> {
        let subscribed = self.try_subscribe(live).await;
        suspect_if_late(live, subscribed)
    }

    async fn try_subscribe(&mut self, live: &LiveConnection) -> Result<(Channel, Consumer), Fault> {
        let channel = within(ANSWER_TIMEOUT, "opening a channel", live.connection.create_channel()).await?;
        // per consumer: quorum queues end the connection of who asks for a global one
        within(ANSWER_TIMEOUT, "setting the prefetch", channel.basic_qos(self.prefetch, BasicQosOptions::default()))
            .await?;
        let name = match self.queue.kind {
            QueueKind::Node => self.declare_node_queue(&channel).await?,
            _ => self.shared.names.queue(&self.queue.name)?,
        };
        let tag = ShortString::default();
        let request = channel.basic_consume(name, tag, BasicConsumeOptions::default(), FieldTable::default());
        let consumer = within(ANSWER_TIMEOUT, "subscribing", request).await?;
        Ok((channel, consumer))
    }

    /// Under a new name each time: the broker may not have noticed yet that the last connection is gone, and until
    /// then its exclusive queue is locked.
    async fn declare_node_queue(&mut self, channel: &Channel) -> Result<ShortString, Fault> {
        self.declared += 1;
        let names = &self.shared.names;
        let name = match self.declared {
            1 => names.queue(&self.queue.name)?,
            again => names.queue(&format!("{}.{again}", self.queue.name))?,
        };
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let request = channel.queue_declare(name.clone(), options, declare::node_arguments());
        within(ANSWER_TIMEOUT, "declaring a node's queue", request).await?;
        let exchange = names.exchange(BROADCAST.name)?;
        let (key, options) = (ShortString::default(), QueueBindOptions::default());
        let request = channel.queue_bind(name.clone(), exchange, key, options, FieldTable::default());
        within(ANSWER_TIMEOUT, "binding a node's queue", request).await?;
        Ok(name)
    }

    /// Passes on what comes, until something ends it.
    async fn forward(&self, live: &Arc<LiveConnection>, channel: &Channel, mut consumer: Consumer) -> End {
        loop {
            tokio::select! {
                biased;
                () = self.ended() => break,
                () = live.over.cancelled() => return End::Lost(Fault::Ended("the connection ended".into())),
                next = consumer.next() => match next {
                    Some(Ok(delivery)) => {
                        failpoint::reach("subscription.turn");
                        self.deliver(live, delivery);
                    }
                    Some(Err(error)) => return End::Lost(error.into()),
                    None => return End::Lost(Fault::Ended("cancelled by the broker: was the queue deleted?".into())),
                }
            }
        }
        let tag = consumer.tag();
        let cancel = channel.basic_cancel(tag, BasicCancelOptions::default());
        let mut cancel = pin!(within(ANSWER_TIMEOUT, "cancelling", cancel));
        // what comes until then is taken as before: it would pile up with its bodies
        let cancelled = loop {
            tokio::select! {
                cancelled = &mut cancel => break cancelled,
                Some(Ok(delivery)) = consumer.next() => self.deliver(live, delivery),
            }
        };
        if cancelled.is_ok() {
            let deadline = Instant::now() + CANCEL_TIMEOUT;
            while let Ok(Some(Ok(delivery))) = timeout_at(deadline, consumer.next()).await {
                self.deliver(live, delivery);
            }
        }
        End::Wanted
    }

    fn deliver(&self, live: &Arc<LiveConnection>, mut delivery: lapin::message::Delivery) {
        let routing_key = delivery.routing_key.to_string();
        let (mut message, undecodable) = wire::read(&self.shared.names, &mut delivery);
        self.bodies.drop_unwanted(&mut message);
        // when nobody listens any more, the channel's end gives it back
        let _ = self.sender.send(AmqpDelivery {
            message,
            undecodable,
            queue: self.queue.name.clone(),
            routing_key,
            redelivered: delivery.redelivered,
            acker: delivery.acker,
            live: Arc::clone(live),
            unacked: Mutex::new(Some(self.unacked.token())),
        });
    }

    /// Nothing more comes; keeps the channel until what was delivered has been settled. Its end gives the rest back.
    async fn drain(self, live: &LiveConnection, channel: Channel) {
        let Self { sender, unacked, .. } = self;
        drop(sender);
        unacked.close();
        tokio::select! {
            _ = timeout(SETTLE_TIMEOUT, unacked.wait()) => {}
            () = live.over.cancelled() => return,
        }
        // an ended channel is what is wanted, however it ended
        let _ = within(ANSWER_TIMEOUT, "closing a channel", channel.close(200, "done".into())).await;
    }

    fn report(&self, trouble: Option<String>) {
        let queue = &self.queue.name;
        self.shared.report.send_if_modified(|report| match trouble {
            Some(reason) => report.not_consumed.insert(queue.clone(), reason.clone()).as_ref() != Some(&reason),
            None => report.not_consumed.remove(queue).is_some(),
        });
    }
}
