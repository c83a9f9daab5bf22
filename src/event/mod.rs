//! Events: everything that can happen.
//!
//! They are public: other services bind queues of their own. They carry ids and facts, never an address, a password, a
//! token or a link; whoever needs more reads the row. What is added later must be optional; anything else is a new version
//! of its type.
//!
//! * `catalogue`: the events, and how one becomes a message body and is decoded again
//! * `asyncapi`: docs/asyncapi.json, which describes them to others

mod asyncapi;
mod catalogue;

pub use self::asyncapi::asyncapi;
pub use self::catalogue::{Event, MailFact, MailRefusal, Origin, Received, Refusal, TYPES, Undecodable, decode};

#[cfg(test)]
mod tests;
