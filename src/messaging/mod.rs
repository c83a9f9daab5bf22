//! How a message travels: out of the outbox, through a broker, into a consumer.
//!
//! This module knows nothing of accounts. What an event means is said in [`crate::event`], what is done about it in
//! [`crate::listeners`].
//!
//! * [`topology`]: the exchanges, queues and bindings, as data, the same for every broker
//! * [`broker`]: publish, consume, settle, over tables of our database or `RabbitMQ`
//! * [`outbox`]: from the transaction that made an event true to the broker, and what got lost on the way
//! * [`consumer`]: from a queue to a listener, and the one place that settles
//! * [`operator`]: the queues and dead letters as an operator sees them, and what can be done about them
//! * [`notify`]: signals to who waits; [`backpressure`]: a backlog lets people go first; `claim`: rows that are claimed

pub mod backpressure;
pub mod broker;
mod claim;
pub mod consumer;
pub mod message;
pub mod notify;
pub mod operator;
pub mod outbox;
pub mod topology;
