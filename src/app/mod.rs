//! Composition: settings become components ([`App::build`]), components run ([`App::run`]) and stop.
//!
//! * `parts`: what of it runs in this process
//! * `endpoints`, `data_dir`, `secret_key`, `transports`: what the settings choose
//! * `components`: the result
//! * `web`, `consumers`, `maintenance`, `monitor`: what runs
//! * `banner`: what is printed at the start

mod banner;
mod components;
mod consumers;
mod data_dir;
mod endpoints;
pub mod maintenance;
mod monitor;
mod parts;
mod secret_key;
mod transports;
mod web;

use std::net::SocketAddr;
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
use crate::account::under_way::UnderWay;
use crate::account::watchers::Watchers;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, PasswordConfig};
use crate::db::{Db, Location};
use crate::health::Health;
use crate::http::health;
use crate::http::middleware::client_ip::Proxies;
use crate::http::server;
use crate::http::server::limits::ConnectionLimits;
use crate::listeners::{self, node};
use crate::messaging::broker::{Broker, QueueDepth};
use crate::messaging::notify::Notifier;
use crate::messaging::topology::Topology;
use crate::tasks::Tasks;

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
        let (sender, smtp) = transports::mail_settings(&config).map_err(config::explained)?;
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
            password_check: Arc::new(PasswordCheck::new(hash_threads, hash_queue, breached, Arc::clone(&site))?),
            limits: config.http.limits,
            budgets: config.limits,
            under_way: UnderWay::default(),
            lifetimes: config.lifetimes,
            site,
            db,
            clock,
        };
        let mail_domain = sender.domain().into();
        let mail = Arc::new(transports::mail(&config, sender, smtp, accounts.clock.clone())?);
        let (tasks, stop_connections) = (TaskTracker::new(), CancellationToken::new());
        let tiers = config.messaging.retry.tiers;
        let topology = Arc::new(Topology::new(listeners::bindings(), &node::KEYS, tiers));
        let broker = transports::broker(&config, &accounts, Arc::clone(&topology), &tasks, &stop_connections).await?;
        let (config, sessions) = (Arc::new(config), Arc::new(SessionCache::default()));
        let watchers = Arc::new(Watchers::default());
        let (health, process) = (Health::default(), accounts.clock.new_id());
        Ok(App {
            config,
            accounts,
            broker,
            topology,
            mail,
            sessions,
            watchers,
            mail_domain,
            health,
            process,
            tasks,
            stop_connections,
        })
    }

    /// Runs the parts until `stop`, then finishes what has begun within ten seconds.
    ///
    /// # Errors
    /// When HTTP is to be served and the public URL cannot be used for it.
    pub async fn run(self, parts: Parts, sockets: Sockets, stop: CancellationToken) -> anyhow::Result<()> {
        let Accounts { db, clock, notifier, .. } = self.accounts.clone();
        let Sockets { web: web_socket, health: health_socket } = sockets;
        let monitor = self.monitor(&parts);
        let tasks = Tasks {
            tracker: self.tasks.clone(),
            stop: stop.clone(),
            health: self.health.clone(),
            clock: clock.clone(),
        };
        let until = || stop.clone();
        if let Db::Postgres(_) = &db {
            let (db, stop) = (db.clone(), until());
            tasks.spawn("notifications", move || notifier.clone().exchange(db.clone(), stop.clone()));
        }
        if let Broker::Embedded(embedded) = &self.broker {
            let (embedded, stop) = (embedded.clone(), until());
            tasks.spawn("queues", move || embedded.clone().run(stop.clone()));
        }
        if parts.relay {
            let (relay, reconciler, stop) = (self.relay(), self.reconciler(), until());
            tasks.spawn("relay", move || relay.clone().run(stop.clone()));
            let stop = until();
            tasks.spawn("reconciler", move || reconciler.clone().run(stop.clone()));
            let (accounts, stop) = (self.accounts.clone(), until());
            tasks.spawn("maintenance", move || maintenance::run(accounts.clone(), stop.clone()));
        }
        for consumer in self.consumers(&parts) {
            let (name, stop) = (format!("listener:{}", consumer.queue), until());
            tasks.spawn(&name, move || consumer.clone().run(stop.clone()));
        }
        let connections = TaskTracker::new();
        let requests = Tasks { tracker: connections.clone(), ..tasks.clone() };
        let readiness = self.readiness();
        let (proxies, drain) = (Arc::new(Proxies::new(Vec::new())), DRAIN_TIMEOUT);
        // each until the stop, and no longer: who comes while requests finish is refused by the system
        let mut sockets = Vec::new();
        if let Some(socket) = health_socket {
            let limits = ConnectionLimits { proxies, drain, ..ConnectionLimits::default() };
            sockets.push(listen(&requests, "health", socket, health::router(Arc::clone(&readiness)), limits));
        }
        if let Some(socket) = web_socket.filter(|_| parts.web) {
            self.accounts.hasher.log_kernel();
            let (broker, stop) = (self.broker.clone(), until());
            let (sessions, watchers) = (Arc::clone(&self.sessions), Arc::clone(&self.watchers));
            tasks.spawn("node", move || {
                node::run(broker.clone(), Arc::clone(&sessions), Arc::clone(&watchers), stop.clone())
            });
            let (router, limits) = self.web(socket.local_addr()?.port(), DRAIN_TIMEOUT, readiness, until())?;
            sockets.push(listen(&requests, "web", socket, router, limits));
        }
        // last, so that it knows all parts from the first
        let until_stop = until();
        tasks.spawn("monitor", move || monitor.clone().run(until_stop.clone()));
        stop.cancelled().await;
        drop(sockets);
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

    /// Waits until the broker is connected, or is known to be away.
    pub async fn broker_is_known(&self) {
        let known = async {
            while self.broker.is_connecting() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, known).await;
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

/// Serves on a socket, under the name of its part. The socket is shared with who holds the result: a server that ended by itself
/// begins again on it.
fn listen(
    tasks: &Tasks,
    name: &str,
    socket: TcpListener,
    router: axum::Router,
    limits: ConnectionLimits,
) -> Arc<TcpListener> {
    let socket = Arc::new(socket);
    let (shared, stop) = (Arc::downgrade(&socket), tasks.stop.clone());
    tasks.spawn(name, move || {
        let (socket, router, limits, stop) = (shared.upgrade(), router.clone(), limits.clone(), stop.clone());
        async move {
            if let Some(socket) = socket {
                server::serve(socket, router, limits, stop).await;
            }
        }
    });
    socket
}

/// Where a process listens.
#[derive(Debug, Default)]
pub struct Sockets {
    /// `BELLHOP_LISTEN`, where the web is one of its parts.
    pub web: Option<TcpListener>,
    /// `BELLHOP_METRICS_LISTEN`, where it is set.
    pub health: Option<TcpListener>,
}

impl Sockets {
    /// Listens where the settings say, and has them say where that is in truth: port 0 is any free one.
    ///
    /// # Errors
    /// The setting whose address is taken or is none of this machine.
    pub fn bind(config: &mut Config, parts: &Parts) -> anyhow::Result<Self> {
        let bind = |setting, address: SocketAddr| {
            let wrong = |error| ConfigError::new(setting, format!("cannot listen on {address}: {error}"));
            server::bind(address).map_err(wrong)
        };
        let http = &mut config.http;
        let web = parts.web.then(|| bind("LISTEN", http.listen)).transpose()?;
        if let Some(socket) = &web {
            http.listens_on(socket.local_addr()?)?;
        }
        let health = http.metrics_listen.map(|address| bind("METRICS_LISTEN", address)).transpose()?;
        if let Some(socket) = &health {
            http.metrics_listen = Some(socket.local_addr()?);
        }
        Ok(Sockets { web, health })
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
