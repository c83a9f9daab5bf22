//! The heart: what an account is and what may happen to it.
//!
//! The use cases live here, one file each, with their SQL inside; so do the rules for what people type, which do no IO:
//!
//! * [`address`]: an e-mail address, accepted only if every parser on its way agrees about it
//! * [`name`]: the name that pages and mails greet a person by
//! * [`strength`]: a password in its one normal form, and whether it may be chosen
//!
//! Typed text becomes one of these types at the edge and travels as that type; nothing further in parses text again.

pub mod address;
mod blocklist;
pub mod name;
pub mod strength;
