//! Composition: settings become components ([`App::build`]), components run ([`App::run`]) and stop.
//!
//! * `parts`: what of it runs in this process
//! * `endpoints`, `data_dir`, `secret_key`, `transports`: what the settings choose
//! * `components`: the result
//! * `web`, `consumers`, `maintenance`: what runs
//! * `banner`: what is printed at the start

mod banner;
mod components;
mod consumers;
mod data_dir;
mod endpoints;
pub mod maintenance;
mod parts;
mod secret_key;
mod transports;
mod web;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::components::App;
pub use self::parts::Parts;
use crate::account::Accounts;
use crate::account::credentials::breached::Breached;
use crate::account::credentials::hasher::Cost;
use crate::account::credentials::hasher::Hasher;
use crate::account::credentials::password_check::PasswordCheck;
use crate::account::session::cache::SessionCache;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, PasswordConfig};
use crate::db::{Db, Location};
use crate::http::server;
use crate::listeners::{self, revocations};
use crate::messaging::broker::{Broker, QueueDepth};
use crate::messaging::notify::Notifier;
use crate::messaging::topology::Topology;

/// How long stopping may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to the database.
const MAX_CONNECTIONS: u32 = 16;

impl App {
    /// Opens the database, migrates it, and builds the rest. The broker and the mail server may be away.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that cannot be used; otherwise what failed.
    pub async fn build(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Self::build_for(config, clock, Work::Serve).await
    }

    /// As [`App::build`], for a command that looks or does one thing: it makes no database, no schema and no key.
    ///
    /// # Errors
    /// As [`App::build`], and when the schema is not this program's.
    pub async fn build_for_command(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Self::build_for(config, clock, Work::Command).await
    }

    async fn build_for(config: Config, clock: Clock, work: Work) -> anyhow::Result<Self> {
        // all settings are checked before anything is created
        consumers::check_queues(&config)?;
        let (sender, smtp) = transports::mail_settings(&config)?;
        let breached = breached_passwords(&config)?;
        endpoints::check(&config)?;
        secret_key::check(&config)?;

        let (db, keys) = match work {
            Work::Serve => {
                let db = open_database(&config).await?;
                match db.require_schema().await {
                    Err(_) if config.data.migrate => db.migrate().await?,
                    as_it_is => as_it_is?,
                }
                let keys = secret_key::load_for(&config, &db).await?;
                (db, keys)
            }
            Work::Command => (open_existing(&config).await?, secret_key::load_for_command(&config)?),
        };
        let PasswordConfig { hash_threads, hash_queue, hash_memory, hash_passes, hash_kernel, .. } = config.passwords;
        let site: Arc<str> = config.http.public_url.host_str().unwrap_or_default().into();
        let cost = Cost { memory: hash_memory, passes: hash_passes };
        let accounts = Accounts {
            notifier: Notifier::default(),
            hasher: Hasher::start(hash_threads, hash_queue, cost, hash_kernel)?,
            keys: Arc::new(keys),
            password_check: Arc::new(PasswordCheck::new(hash_threads.get(), hash_queue, breached, Arc::clone(&site))),
            site,
            db,
            clock,
        };
        let mail_domain = sender.domain().into();
        let mail = Arc::new(transports::mail(&config, sender, smtp, accounts.clock.clone())?);
        let (tasks, stop_connections) = (TaskTracker::new(), CancellationToken::new());
        let tiers = config.messaging.retry.tiers;
        let topology = Arc::new(Topology::new(listeners::bindings(), &revocations::KEYS, tiers));
        let broker = transports::broker(&config, &accounts, Arc::clone(&topology), &tasks, &stop_connections).await?;
        let (config, sessions) = (Arc::new(config), Arc::new(SessionCache::default()));
        Ok(App { config, accounts, broker, topology, mail, sessions, mail_domain, tasks, stop_connections })
    }

    /// Runs the parts until `stop`, then finishes what has begun within ten seconds. `socket` is where HTTP listens.
    ///
    /// # Errors
    /// When HTTP is to be served and the public URL cannot be used for it.
    pub async fn run(self, parts: Parts, socket: Option<TcpListener>, stop: CancellationToken) -> anyhow::Result<()> {
        let Accounts { db, clock, notifier, .. } = self.accounts.clone();
        self.tasks.spawn(notifier.listen(db.clone(), stop.clone()));
        if let Broker::Embedded(embedded) = &self.broker {
            self.tasks.spawn(embedded.clone().run(stop.clone()));
        }
        if parts.relay {
            self.tasks.spawn(self.relay().run(stop.clone()));
            self.tasks.spawn(self.reconciler().run(stop.clone()));
            self.tasks.spawn(maintenance::run(db, clock, stop.clone()));
        }
        for consumer in self.consumers(&parts) {
            self.tasks.spawn(consumer.run(stop.clone()));
        }
        let connections = TaskTracker::new();
        if let Some(socket) = socket.filter(|_| parts.web) {
            self.accounts.hasher.log_kernel();
            self.tasks.spawn(revocations::run(self.broker.clone(), Arc::clone(&self.sessions), stop.clone()));
            let (router, limits) = self.web(socket.local_addr()?.port(), DRAIN_TIMEOUT)?;
            connections.spawn(server::serve(socket, router, limits, stop.clone()));
        }
        stop.cancelled().await;
        self.stop(connections).await;
        Ok(())
    }

    async fn stop(self, requests: TaskTracker) {
        tracing::info!("stopping: no new work, finishing what is in hand");
        requests.close();
        self.tasks.close();
        let finished = async {
            requests.wait().await;
            // the connections to the servers end last: whoever is finishing still needs them
            self.stop_connections.cancel();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, finished).await.is_err() {
            tracing::warn!("not all was finished in time; what was in hand comes again");
            self.stop_connections.cancel();
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.accounts.db.close()).await;
    }

    /// Ends the connections of an app that was built and not run.
    pub async fn close(self) {
        self.stop_connections.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, self.tasks.wait()).await;
        self.accounts.db.close().await;
    }

    /// How full each queue is, as soon as the broker is connected.
    ///
    /// # Errors
    /// When the broker is away for ten seconds.
    pub async fn depths(&self) -> anyhow::Result<Vec<QueueDepth>> {
        let deadline = tokio::time::Instant::now() + DRAIN_TIMEOUT;
        loop {
            match self.broker.depths().await {
                Err(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                depths => return depths,
            }
        }
    }
}

/// What an app is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Serve,
    Command,
}

/// Opens the database alone, without migrating it.
///
/// # Errors
/// [`ConfigError`] for a setting that cannot be used; otherwise when the file cannot be opened or the server is away.
pub async fn open_database(config: &Config) -> anyhow::Result<Db> {
    let location = endpoints::database(config)?;
    if config.data.database_url.is_none() {
        data_dir::create(config)?;
    }
    Db::open(&location, MAX_CONNECTIONS).await
}

/// Opens a database that must be there, with the schema of this program.
async fn open_existing(config: &Config) -> anyhow::Result<Db> {
    let location = endpoints::database(config)?;
    if let Location::Sqlite(path) = &location
        && !path.exists()
    {
        anyhow::bail!("there is no database yet in {}; make it with: bellhop migrate", path.display());
    }
    let db = Db::open(&location, MAX_CONNECTIONS).await?;
    db.require_schema().await?;
    Ok(db)
}

/// Makes the key that the settings name the one that the database belongs to.
///
/// # Errors
/// As [`App::build_for_command`].
pub async fn adopt_key(config: &Config) -> anyhow::Result<()> {
    let db = open_existing(config).await?;
    let done = secret_key::adopt(config, &db).await;
    db.close().await;
    done
}

/// The operator's file of known passwords, if there is one.
fn breached_passwords(config: &Config) -> Result<Option<Arc<Breached>>, ConfigError> {
    let Some(path) = &config.passwords.breached else { return Ok(None) };
    let opened = Breached::open(path);
    let opened =
        opened.map_err(|error| ConfigError::new("BREACHED_PASSWORDS", format!("{}: {error:#}", path.display())));
    Ok(Some(Arc::new(opened?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_new_data_directory_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::from_sources(BTreeMap::new(), []).unwrap();
        config.data.data_dir = folder.path().join("new");
        let app = App::build(config, Clock::default()).await.unwrap();
        let mode = std::fs::metadata(folder.path().join("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        app.accounts.db.close().await;
    }
}
