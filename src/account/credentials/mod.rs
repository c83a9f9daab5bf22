//! What proves who somebody is: passwords, tokens, links and the keys that sign them.
//!
//! * [`hasher`]: the password hash and the threads that compute it
//! * [`password_check`], [`policy`], [`breached`]: which passwords may be chosen
//! * [`token`], [`link`], [`keys`], [`key_claim`]: what is random, what is signed, and by which key

mod blocklist;
pub mod breached;
pub mod device;
pub mod hasher;
pub mod key_claim;
pub mod keys;
pub mod link;
pub mod password_check;
pub mod policy;
pub mod token;
