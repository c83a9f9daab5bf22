//! Publish, consume, settle: one surface over the brokers there are.
//!
//! There is no trait: two brokers, one enum, each method a `match`. What a broker must do is said here and held to by
//! the conformance tests, which both pass.

pub mod embedded;
pub mod rabbit;
pub mod types;

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::embedded::{Embedded, LeasedDeliveries, LeasedDelivery, MESSAGE_LEASE};
use self::rabbit::{AmqpDeliveries, AmqpDelivery, Rabbit};
pub use self::types::{Bodies, BrokerHealth, Publication, Published, QueueDepth};
use crate::messaging::message::Message;
use crate::messaging::topology::Queue;

/// How often a queue that cannot be consumed is tried again.
const CONSUME_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The broker of this process. Clones are the same broker.
#[derive(Clone, Debug)]
pub enum Broker {
    /// Tables of our database.
    Embedded(Embedded),
    /// RabbitMQ.
    Rabbit(Rabbit),
}

impl Broker {
    /// Publishes, and answers for each publication in its order. Never hangs: what is not known to be stored in time
    /// is [`Published::Failed`].
    pub async fn publish(&self, publications: Vec<Publication>) -> Vec<Published> {
        match self {
            Broker::Embedded(broker) => broker.publish(publications).await,
            Broker::Rabbit(broker) => broker.publish(publications).await,
        }
    }

    /// Delivers messages of a queue, at most `prefetch` (and at least one) unacknowledged at a time, until `stop`.
    ///
    /// # Errors
    /// When the queue cannot be consumed at all; interruptions later are waited out.
    pub async fn consume(&self, queue: &Queue, prefetch: u16, stop: CancellationToken) -> Result<Deliveries> {
        self.browse(queue, prefetch, Bodies::All, stop).await
    }

    /// As [`Broker::consume`], for who looks through a queue and needs no body, or few.
    ///
    /// # Errors
    /// As [`Broker::consume`].
    pub async fn browse(
        &self,
        queue: &Queue,
        prefetch: u16,
        bodies: Bodies,
        stop: CancellationToken,
    ) -> Result<Deliveries> {
        match self {
            Broker::Embedded(broker) => {
                Ok(Deliveries::Embedded(Box::new(broker.browse(queue, prefetch, bodies, stop).await?)))
            }
            Broker::Rabbit(broker) => Ok(Deliveries::Rabbit(broker.browse(queue, prefetch, bodies, stop).await?)),
        }
    }

    /// As [`Broker::consume`], tried again until it can be; none when `stop` came first.
    pub(super) async fn consume_when_possible(
        &self,
        queue: &Queue,
        prefetch: u16,
        stop: &CancellationToken,
    ) -> Option<Deliveries> {
        loop {
            match self.consume(queue, prefetch, stop.clone()).await {
                Ok(deliveries) => return Some(deliveries),
                Err(error) => {
                    tracing::warn!(queue = queue.name, error = format!("{error:#}"), "cannot consume, trying again");
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(CONSUME_RETRY_INTERVAL)).await?;
        }
    }

    /// The queues, where they are in the database of the outbox: then events go from one into the other in one transaction,
    /// without being published.
    pub(in crate::messaging) fn transactional(&self) -> Option<&Embedded> {
        match self {
            Broker::Embedded(broker) => Some(broker),
            Broker::Rabbit(_) => None,
        }
    }

    /// How it is.
    pub async fn health(&self) -> BrokerHealth {
        match self {
            // it is as well as the database, which readiness asks by itself
            Broker::Embedded(_) => BrokerHealth::Up,
            Broker::Rabbit(broker) => broker.health().await,
        }
    }

    /// Whether it is not known yet how it is: the first connection is just being made.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        match self {
            Broker::Embedded(_) => false,
            Broker::Rabbit(broker) => broker.is_connecting(),
        }
    }

    /// How full each queue is.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn depths(&self) -> Result<Vec<QueueDepth>> {
        match self {
            Broker::Embedded(broker) => broker.depths().await,
            Broker::Rabbit(broker) => broker.depths().await,
        }
    }
}

/// The messages of a queue, one after the other.
#[derive(Debug)]
pub enum Deliveries {
    /// From our tables.
    Embedded(Box<LeasedDeliveries>),
    /// From RabbitMQ.
    Rabbit(AmqpDeliveries),
}

impl Deliveries {
    /// The next message, or none once stopped.
    pub async fn next(&mut self) -> Option<Delivery> {
        match self {
            Deliveries::Embedded(deliveries) => deliveries.next().await.map(Delivery::Embedded),
            Deliveries::Rabbit(deliveries) => deliveries.next().await.map(Delivery::Rabbit),
        }
    }

    /// Some while messages flow; the number grows with each gap in which some may have been missed.
    #[must_use]
    pub fn subscribed(&self) -> watch::Receiver<Option<u64>> {
        match self {
            Deliveries::Embedded(deliveries) => deliveries.subscribed(),
            Deliveries::Rabbit(deliveries) => deliveries.subscribed(),
        }
    }
}

/// A message that is not settled yet, to be settled by the consumer and nobody else.
#[derive(Debug)]
pub enum Delivery {
    /// Leased from our tables.
    Embedded(LeasedDelivery),
    /// From RabbitMQ.
    Rabbit(AmqpDelivery),
}

impl Delivery {
    /// What travels.
    #[must_use]
    pub fn message(&self) -> &Message {
        match self {
            Delivery::Embedded(delivery) => &delivery.message,
            Delivery::Rabbit(delivery) => &delivery.message,
        }
    }

    /// The key under which it was published: of what waits for another attempt, the queue that it goes back to.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        match self {
            // never asked: what waits in our tables is moved where it is
            Delivery::Embedded(delivery) => &delivery.queue,
            Delivery::Rabbit(delivery) => &delivery.routing_key,
        }
    }

    /// Why it is none of our messages, if it is none.
    #[must_use]
    pub fn undecodable(&self) -> Option<&str> {
        match self {
            Delivery::Embedded(delivery) => delivery.undecodable.as_deref(),
            Delivery::Rabbit(delivery) => delivery.undecodable.as_deref(),
        }
    }

    /// Whether somebody had it before and did not settle it.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        match self {
            Delivery::Embedded(delivery) => delivery.redelivered,
            Delivery::Rabbit(delivery) => delivery.redelivered,
        }
    }

    /// It is done; false if somebody else has it by now. For [`super::consumer`] and the brokers' tests: a listener
    /// never settles.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn ack(&self) -> Result<bool> {
        match self {
            Delivery::Embedded(delivery) => delivery.ack().await,
            Delivery::Rabbit(delivery) => delivery.ack().await,
        }
    }

    /// How often it must be renewed while it is worked at, so that it is not lost.
    pub(super) const RENEWAL_INTERVAL: Duration = Duration::from_secs(MESSAGE_LEASE.as_secs() / 3);

    /// Tells the broker that it is still being worked at; false if it was lost.
    ///
    /// # Errors
    /// When the broker is away.
    pub(in crate::messaging) async fn renew(&self) -> Result<bool> {
        match self {
            Delivery::Embedded(delivery) => delivery.renew().await,
            Delivery::Rabbit(delivery) => Ok(delivery.is_held()),
        }
    }

    /// Gives it back to the queue at once. For [`super::consumer`] and the brokers' tests.
    pub async fn release(self) {
        match self {
            Delivery::Embedded(delivery) => delivery.release().await,
            Delivery::Rabbit(delivery) => delivery.release().await,
        }
    }
}
