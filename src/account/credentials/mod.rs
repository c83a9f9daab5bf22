//! What proves who somebody is: passwords, tokens, links and the keys that sign them.
//!
//! * [`hasher`]: the password hash and the threads that compute it
//! * [`fair_queue`]: in which order, and who is sent away when there are too many
//! * [`password_check`], [`policy`], [`breached`]: which passwords may be chosen
//! * [`token`], [`link`], [`keys`], [`key_claim`]: what is random, what is signed, and by which key

mod blocklist;
pub mod breached;
pub mod device;
mod fair_pool;
pub mod fair_queue;
pub mod hasher;
pub mod key_claim;
pub mod keys;
pub mod link;
pub mod password_check;
pub mod policy;
pub mod token;
