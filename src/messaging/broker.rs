//! Publish, consume, settle: one surface over the brokers there are.
//!
//! There is no trait: two brokers, one enum (`Broker`), each method a `match`. What a broker must do is said here and
//! held to by the conformance tests, which both pass.

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

/// How the broker is, for readiness and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Messages move.
    Up,
    /// They do not, for this reason; what is published waits in the outbox.
    Degraded(String),
}
