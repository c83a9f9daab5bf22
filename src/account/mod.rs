//! The heart: one file per use case, its SQL inside it; one public function that writes is one transaction.
//!
//! * [`register`], [`confirm`], [`login`], [`session`], [`session_cache`]: what people do
//! * [`user`], [`link`], [`activity`]: what others look up
//! * [`password`], [`keys`], [`token`]: the secrets and who compares them
//! * [`address`], [`name`], [`strength`], [`breached`]: the rules for what people type
//! * [`purge`]: what goes by itself

use std::sync::Arc;

use anyhow::Context as _;

use crate::clock::Clock;
use crate::db::{Db, Tx};
use crate::messaging::wake::Wake;

pub mod activity;
pub mod address;
mod blocklist;
pub mod breached;
pub mod confirm;
pub mod keys;
pub mod link;
pub mod login;
pub mod name;
pub mod password;
pub mod purge;
pub mod register;
pub mod session;
pub mod session_cache;
pub mod strength;
pub mod token;
pub mod user;

/// What every use case needs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Where the rows are.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// Rung when an event was written.
    pub wake: Wake,
    /// Hashes and compares passwords.
    pub hasher: password::Hasher,
    /// Sign links and pseudonyms.
    pub keys: Arc<keys::Keys>,
    /// Passwords that may not be chosen, beside the embedded list.
    pub breached: Option<Arc<breached::Breached>>,
    /// The site's name as people know it, the host of the public URL: no password may consist of it.
    pub site: Arc<str>,
}

impl Accounts {
    /// Makes a transaction true and wakes whoever carries its events. While people wait for the hash threads, it shares its
    /// commit with others: nobody would be served sooner by one of his own.
    ///
    /// # Errors
    /// When the database is away or refuses.
    pub async fn commit(&self, tx: Tx) -> anyhow::Result<()> {
        tx.commit_with_others(self.hasher.patience()).await.context("cannot commit")?;
        self.wake.outbox();
        Ok(())
    }
}
