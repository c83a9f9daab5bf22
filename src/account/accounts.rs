//! What every use case needs, handed from one to the next.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::hasher::Hasher;
use crate::account::credentials::keys::Keys;
use crate::account::credentials::password_check::PasswordCheck;
use crate::account::under_way::UnderWay;
use crate::clock::Clock;
use crate::config::{LifetimeConfig, LimitConfig};
use crate::db::{Db, Tx};
use crate::messaging::notify::Notifier;

/// What every use case needs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Where the rows are.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// Signalled when an event was written.
    pub notifier: Notifier,
    /// Hashes and compares passwords.
    pub hasher: Hasher,
    /// Sign links and pseudonyms.
    pub keys: Arc<Keys>,
    /// Says which passwords may be chosen.
    pub password_check: Arc<PasswordCheck>,
    /// Whether budgets are counted.
    pub limits: bool,
    /// How often something costly may happen.
    pub budgets: LimitConfig,
    /// What is counted before it is known.
    pub under_way: UnderWay,
    /// How long links, sessions and registrations last.
    pub lifetimes: LifetimeConfig,
    /// The site's name as people know it, the host of the public URL.
    pub site: Arc<str>,
}

impl Accounts {
    /// Commits, and wakes the relay for the events in it. While requests wait for the hash threads the commit may linger to be
    /// shared: a commit of its own would serve nobody sooner.
    ///
    /// # Errors
    /// When the database is away or refuses.
    pub async fn commit(&self, tx: Tx) -> anyhow::Result<()> {
        self.commit_within(tx, self.hasher.commit_delay(None)).await
    }

    /// As [`Accounts::commit`] for this client: it lingers for those alone who would be served before another of this
    /// client, so that a flood from elsewhere delays it little.
    ///
    /// # Errors
    /// When the database is away or refuses.
    pub async fn commit_for(&self, tx: Tx, client: &Client) -> anyhow::Result<()> {
        self.commit_within(tx, self.hasher.commit_delay(Some(client))).await
    }

    async fn commit_within(&self, tx: Tx, linger: Duration) -> anyhow::Result<()> {
        tx.commit_grouped(linger).await.context("cannot commit")?;
        self.notifier.signal_outbox();
        Ok(())
    }
}
