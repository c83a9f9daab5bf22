//! The heart: one file per use case, its SQL inside it; one public function that writes is one transaction.
//!
//! * [`register`], [`confirm`], [`login`]: what people do
//! * [`session`], [`login_log`], [`user`]: what follows from it and is looked up
//! * [`credentials`]: passwords, tokens, links, keys, and who compares them
//! * [`identity`]: the rules for addresses and names
//! * [`purge`]: what goes by itself

use std::sync::Arc;

use anyhow::Context as _;

use crate::account::credentials::breached::Breached;
use crate::account::credentials::hasher::Hasher;
use crate::account::credentials::keys::Keys;
use crate::clock::Clock;
use crate::db::{Db, Tx};
use crate::messaging::notify::Wake;

pub mod confirm;
pub mod credentials;
pub mod identity;
pub mod login;
pub mod login_log;
pub mod purge;
pub mod register;
pub mod session;
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
    pub hasher: Hasher,
    /// Sign links and pseudonyms.
    pub keys: Arc<Keys>,
    /// Passwords that may not be chosen, beside the embedded list.
    pub breached: Option<Arc<Breached>>,
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
        tx.commit_grouped(self.hasher.patience()).await.context("cannot commit")?;
        self.wake.outbox();
        Ok(())
    }
}
