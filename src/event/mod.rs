//! Events: everything that can happen.
//!
//! They are public: other services bind queues of their own. They carry ids and facts, never an address, a password, a
//! token or a link; whoever needs more reads the row. What is added later must be optional; anything else is a new version
//! of its type.
//!
//! * `catalogue`: the events
//! * `envelope`: how one becomes a message's body and is decoded again
//! * `bounds`: what each field holds at most
//! * `asyncapi`: docs/asyncapi.json, which describes them to others

mod asyncapi;
mod bounds;
mod catalogue;
mod envelope;

pub use self::asyncapi::asyncapi;
pub use self::bounds::MAX_USER_AGENT_CHARS;
pub use self::catalogue::{EmailChange, Event, MailFact, MailRefusal, Origin, PasswordChange, Refusal, TYPES};
pub use self::envelope::{Received, Undecodable, decode};

#[cfg(test)]
mod tests;
