//! How a message travels: out of the outbox, through a broker, into a consumer.
//!
//! This module knows nothing of accounts. What an event means is said in [`crate::event`], what is done about it in
//! [`crate::listeners`].
//!
//! * [`topology`]: the exchanges, queues and bindings, as data, the same for every broker
//! * [`broker`]: publish, consume, settle, over [`embedded`] (tables of our database) or [`rabbit`] (`RabbitMQ`)
//! * [`outbox`], [`relay`]: from the transaction that made an event true to the broker
//! * [`consumer`], [`layers`], [`inbox`], [`lease`]: from a queue to a listener, and the one place that settles
//! * [`setback`], [`sweep`]: what was not managed, and what got lost on the way
//! * [`operator`]: the queues and dead letters as an operator sees them, and what can be done about them
//! * [`wake`]: who waits is told; [`throttle`]: who is in no hurry lets others go first

pub mod broker;
pub mod consumer;
pub mod embedded;
pub mod inbox;
pub mod layers;
pub mod lease;
pub mod message;
pub mod operator;
pub mod outbox;
pub mod rabbit;
pub mod relay;
pub mod setback;
pub mod sweep;
pub mod throttle;
pub mod topology;
pub mod wake;
