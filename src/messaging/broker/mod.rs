//! Publish, consume, settle: one surface over the brokers there are.
//!
//! There is no trait: two brokers, one enum, each method a `match`. What a broker must do is said here and held to by
//! the conformance tests, which both pass.

pub mod embedded;
pub mod rabbit;

use anyhow::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::messaging::broker::embedded::Embedded;
use crate::messaging::broker::rabbit::Rabbit;
use crate::messaging::message::Message;
use crate::messaging::topology::{Exchange, Queue};

/// A message and where it goes.
#[derive(Clone, Debug)]
pub struct Publication {
    /// One of the constants of `topology`.
    pub exchange: Exchange,
    /// The event's type, or a queue's short name for the wait tiers, the retry and the default exchange.
    pub routing_key: String,
    /// What travels.
    pub message: Message,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Every queue that it was routed to has it durably.
    Confirmed,
    /// No queue is bound for it.
    Returned,
    /// Not known to be stored; it may be. Publish again.
    Failed(String),
}

/// How the broker is, for readiness and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Messages move.
    Up,
    /// They do not, for this reason; what is published waits in the outbox.
    Degraded(String),
}

/// How full a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Short name.
    pub queue: String,
    /// Messages that are ready to be taken.
    pub messages: u64,
    /// Messages that a consumer has; none where the broker does not tell.
    pub in_hand: Option<u64>,
    /// Consumers, of all processes.
    pub consumers: u64,
}

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

    /// Hands out messages of a queue, at most `prefetch` (and at least one) unsettled at a time, until `stop`.
    ///
    /// # Errors
    /// When the queue cannot be consumed at all; interruptions later are waited out.
    pub async fn consume(&self, queue: &Queue, prefetch: u16, stop: CancellationToken) -> Result<Deliveries> {
        match self {
            Broker::Embedded(broker) => {
                Ok(Deliveries::Embedded(Box::new(broker.consume(queue, prefetch, stop).await?)))
            }
            Broker::Rabbit(broker) => Ok(Deliveries::Rabbit(broker.consume(queue, prefetch, stop).await?)),
        }
    }

    /// How it is.
    pub async fn health(&self) -> Health {
        match self {
            // it is as well as the database, which readiness asks by itself
            Broker::Embedded(_) => Health::Up,
            Broker::Rabbit(broker) => broker.health().await,
        }
    }

    /// How full each queue is.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn depths(&self) -> Result<Vec<Depth>> {
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
    Embedded(Box<embedded::Deliveries>),
    /// From RabbitMQ.
    Rabbit(rabbit::Deliveries),
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

/// A message in hand, to be settled by the consumer and nobody else.
#[derive(Debug)]
pub enum Delivery {
    /// Leased from our tables.
    Embedded(embedded::Delivery),
    /// From RabbitMQ.
    Rabbit(rabbit::Delivery),
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

    /// Why it is none of our messages, if it is none.
    #[must_use]
    pub fn undecodable(&self) -> Option<&str> {
        match self {
            // nobody else can write into our tables
            Delivery::Embedded(_) => None,
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

    /// Tells the broker that it is still being worked at; false if it was lost.
    ///
    /// # Errors
    /// When the broker is away.
    pub(in crate::messaging) async fn renew(&self) -> Result<bool> {
        match self {
            Delivery::Embedded(delivery) => delivery.renew().await,
            Delivery::Rabbit(delivery) => Ok(delivery.kept()),
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
