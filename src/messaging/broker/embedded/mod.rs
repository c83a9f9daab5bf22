//! The broker with nothing configured: exchanges, queues, bindings and messages as tables of our database.
//!
//! It keeps RabbitMQ's meaning, held to by the conformance tests: a copy for every queue that is bound, competing
//! consumers, manual ack, queues that wait and then send on through the retry exchange, queues of running nodes that go
//! when the node goes. A message that is delivered is leased; whoever dies with it loses it when the lease ends.
//!
//! * `store`: declare, publish, let wait, count
//! * `routes`: which queues get a copy
//! * `delivery`: deliver, keep, settle
//! * `acks`: acknowledgements, many in one transaction

mod acks;
mod delivery;
mod routes;
mod store;

pub use self::delivery::{LeasedDeliveries, LeasedDelivery};
pub use self::store::{Embedded, MESSAGE_LEASE};

#[cfg(test)]
mod tests;
