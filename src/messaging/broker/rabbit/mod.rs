//! The topology on `RabbitMQ` (3.10 and later), over AMQP 0-9-1.
//!
//! * `link`: what all of them share
//! * `fault`: why something was not done, and the limit on every wait
//! * `connection`: one supervisor for the publisher's connection and one for the consumers'
//! * `declare`: makes or checks exchanges, queues and bindings, and reports what is different
//! * `publisher`: batches on one confirm channel
//! * `consumer`: subscriptions that outlive connections
//! * `wire`: names, properties, headers
//!
//! Every wait for the broker has a limit, because many of lapin's futures never end when the broker holds them back.
//! What timed out may have been done all the same: publications are repeated, and consumers fold repeats by id.

mod connection;
mod consumer;
mod declare;
mod fault;
mod link;
mod publisher;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::ensure;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::consumer::{AmqpDeliveries, AmqpDelivery};
use self::fault::{ANSWER_TIMEOUT, within};
use self::link::{ConnectionState, Link, NOT_YET, Role, Shared};
use self::wire::Names;
use crate::clock::Clock;
use crate::config::TopologyMode;
use crate::health::Part;
use crate::messaging::broker::types::{Bodies, BrokerHealth, Publication, Published, QueueDepth};
use crate::messaging::topology::{Queue, QueueKind, Topology};

/// Before every name of ours on the broker.
pub const PREFIX: &str = "bellhop.";

/// A handle on the broker; clones share their connections.
#[derive(Clone)]
pub struct Rabbit {
    shared: Arc<Shared>,
}

impl fmt::Debug for Rabbit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { name, names, mode, .. } = &*self.shared;
        f.debug_struct("Rabbit")
            .field("name", name)
            .field("prefix", &names.0)
            .field("mode", mode)
            .finish_non_exhaustive()
    }
}

impl Rabbit {
    /// Starts connecting, and returns at once: while the broker is away, publications fail and [`health`](Self::health)
    /// says why. Names on the broker are prefixed with `bellhop.`; `name` is how the connections are called there.
    ///
    /// Ends when `stop` is cancelled: consumers are cancelled, what was delivered may be settled for up to 25 s,
    /// then the connections are closed. Runs on `tasks`.
    ///
    /// # Errors
    ///
    /// When `url` is not `amqp://` or `amqps://` with a host. The error does not quote the URL, which holds a password.
    pub fn start(
        url: SecretString,
        name: &str,
        topology: Arc<Topology>,
        mode: TopologyMode,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, anyhow::Error> {
        Self::start_with_prefix(PREFIX, url, name, topology, mode, tasks, stop)
    }

    /// As [`start`](Self::start) with another prefix than `bellhop.`, for several deployments in one virtual host.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with_prefix(
        prefix: &str,
        url: SecretString,
        name: &str,
        topology: Arc<Topology>,
        mode: TopologyMode,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, anyhow::Error> {
        check(url.expose_secret())?;
        let shared = Arc::new(Shared {
            url,
            name: name.to_owned(),
            names: Names(prefix.to_owned()),
            topology,
            mode,
            tasks: tasks.clone(),
            stop,
            report: watch::Sender::default(),
            publisher: Link::new(),
            consumer: Link::new(),
            publishing: Mutex::default(),
            consuming: TaskTracker::new(),
            parts: [Role::Publisher, Role::Consumer]
                .map(|role| Part::new(&format!("connection of the {role}"), &Clock::default())),
            redeclare: Notify::new(),
        });
        connection::start(&shared, Role::Publisher);
        Ok(Self { shared })
    }

    /// The tasks that keep the connections.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.shared.parts
    }

    /// Publishes, and waits until the broker has confirmed: one answer per publication, in order.
    ///
    /// At most 10 s per 250 publications, and 2 s more for what goes to a queue that did not answer lately; while the
    /// broker is away or takes no messages, all answers are [`Published::Failed`] at once. Batches of several callers go one after the other.
    pub async fn publish(&self, publications: Vec<Publication>) -> Vec<Published> {
        publisher::publish(&self.shared, &publications).await
    }

    /// Subscribes to a queue until `stop`, for as long as the [`AmqpDeliveries`] live and across all reconnects; at most
    /// `prefetch` (and at least one) deliveries are unacknowledged at a time. Returns at once, even while the broker is away.
    ///
    /// A [`QueueKind::Node`] queue is made by this call, bound to the broadcast exchange, and goes with the subscription.
    ///
    /// # Errors
    ///
    /// When the broker's own `stop` has been cancelled.
    pub async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
        stop: CancellationToken,
    ) -> Result<AmqpDeliveries, anyhow::Error> {
        self.browse(queue, prefetch, Bodies::All, stop).await
    }

    /// As [`consume`](Self::consume), with these bodies alone.
    ///
    /// # Errors
    ///
    /// As [`consume`](Self::consume).
    #[expect(clippy::unused_async, reason = "the surface that the brokers share is asynchronous")]
    pub async fn browse(
        &self,
        queue: &Queue,
        prefetch: u16,
        bodies: Bodies,
        stop: CancellationToken,
    ) -> Result<AmqpDeliveries, anyhow::Error> {
        ensure!(!self.shared.stop.is_cancelled(), "no subscription to {:?}: stopping", queue.name);
        connection::start(&self.shared, Role::Consumer);
        Ok(consumer::start(&self.shared, queue.clone(), prefetch.max(1), bodies, stop))
    }

    /// What the supervisors know; asks nobody, so it answers at once.
    #[expect(clippy::unused_async, reason = "the surface that the brokers share is asynchronous")]
    pub async fn health(&self) -> BrokerHealth {
        self.shared.report.borrow().health()
    }

    /// Whether the first connection is just being made.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        match &self.shared.report.borrow().publisher {
            None => true,
            Some(ConnectionState::Away(reason)) => reason == NOT_YET,
            Some(ConnectionState::Up) => false,
        }
    }

    /// How many messages are ready in each durable queue of the topology. Queues that do not exist are left out;
    /// [`health`](Self::health) names them.
    ///
    /// # Errors
    ///
    /// When the broker is away or does not answer.
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, anyhow::Error> {
        let shared = &self.shared;
        // the consumers' connection first: it answers during an alarm too
        let live = shared.consumer.now().or_else(|| shared.publisher.now());
        let live = live.ok_or_else(|| anyhow::anyhow!("the broker is away"))?;
        let mut channel = declare::ReopeningChannel::new(&live);
        let mut depths = Vec::new();
        for queue in shared.topology.queues.iter().filter(|queue| queue.kind != QueueKind::Node) {
            let name = shared.names.queue(&queue.name)?;
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let channel = channel.channel().await?;
            match within(ANSWER_TIMEOUT, "counting", channel.queue_declare(name, passive, FieldTable::default())).await
            {
                Ok(found) => depths.push(QueueDepth {
                    queue: queue.name.clone(),
                    messages: found.message_count().into(),
                    unacked: None,
                    consumers: found.consumer_count().into(),
                }),
                Err(fault) if fault.code() == Some(404) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        channel.close().await;
        Ok(depths)
    }
}

/// The arguments that a queue is declared with, for whoever describes it.
#[must_use]
pub fn arguments(queue: &Queue) -> BTreeMap<String, serde_json::Value> {
    // a name that AMQP cannot hold is found when it is declared
    let table = declare::arguments(&Names(PREFIX.to_owned()), queue).unwrap_or_default();
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => text.to_string().into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        other => format!("{other:?}").into(),
    };
    table.inner().iter().map(|(key, argument)| (key.to_string(), value(argument))).collect()
}

/// lapin parses on every connect; what it cannot parse, or reads otherwise than meant, is found here.
fn check(url: &str) -> Result<(), anyhow::Error> {
    const FORM: &str = "the broker's URL must look like amqp://user:password@host:5672/vhost (or amqps://)";
    ensure!(url.parse::<lapin::uri::AMQPUri>().is_ok(), FORM);
    // lapin would silently take localhost for it
    let host = url::Url::parse(url).ok().and_then(|url| url.host().map(|host| host.to_owned()));
    ensure!(matches!(host, Some(url::Host::Domain(_))), "{FORM}, and an IPv6 address must be given as a host name");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_url_that_lapin_would_misread_is_refused_without_being_quoted() {
        for url in ["localhost:5672", "http://u:secret@mq", "amqp://u:secret@[2001:db8::1]", "u:secret@mq", ""] {
            let error = check(url).expect_err(url).to_string();
            assert!(error.contains("amqp://") && !error.contains("secret"), "{error}");
        }
        for url in ["amqp://mq", "amqps://u:p@mq.example:5671/%2f?heartbeat=5", "amqp://u:p@127.0.0.1:5672/bellhop"] {
            check(url).expect(url);
        }
    }
}
