//! What is said to a broker and what it answers, the same for each of them.

use uuid::Uuid;

use crate::messaging::message::Message;
use crate::messaging::topology::Exchange;

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

/// Which bodies a consumer is handed. The others are dropped where they arrive, so that what is looked through does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Every one.
    All,
    /// That of this event, or none.
    Of(Option<Uuid>),
}

impl Bodies {
    /// Drops the body unless it is wanted.
    pub(super) fn drop_unwanted(self, message: &mut Message) {
        if let Bodies::Of(wanted) = self
            && wanted != Some(message.id)
        {
            message.body = Vec::new();
        }
    }
}

/// How the broker is, for readiness and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerHealth {
    /// Messages move.
    Up,
    /// They do not, for this reason; what is published waits in the outbox.
    Degraded(String),
}

/// How full a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Short name.
    pub queue: String,
    /// Messages that are ready to be taken.
    pub messages: u64,
    /// Messages that a consumer has not settled; none where the broker does not tell.
    pub unacked: Option<u64>,
    /// Consumers, of all processes.
    pub consumers: u64,
}
