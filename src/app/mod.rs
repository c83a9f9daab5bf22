//! Composition: build the parts from the settings, run them, stop them.

mod endpoints;
pub mod maintenance;
mod parts;
mod secret_key;

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::parts::Parts;
use self::parts::queue_names;
use crate::account::Accounts;
use crate::account::credentials::breached::Breached;
use crate::account::credentials::hasher::Cost;
use crate::account::credentials::hasher::Hasher;
use crate::account::credentials::keys::Keys;
use crate::account::credentials::password_check::PasswordCheck;
use crate::account::login_log::LoginLog;
use crate::account::session::cache::SessionCache;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, PasswordConfig};
use crate::db::{Db, Location};
use crate::http::middleware::MiddlewareConfig;
use crate::http::middleware::body_limit::BodyLimits;
use crate::http::middleware::client_ip::Proxies;
use crate::http::middleware::site::Site;
use crate::http::pages::problem::problem_page;
use crate::http::rate_limit::RateLimits;
use crate::http::readiness::Readiness;
use crate::http::router;
use crate::http::server;
use crate::http::server::limits::ConnectionLimits;
use crate::http::state::AppState;
use crate::listeners::{self, Desk, Listener, confirmation, login_log, node};
use crate::mail::{Mailbox, Sender, Smtp, SmtpLimits, SmtpSettings, Transport};
use crate::messaging::backpressure::Backpressure;
use crate::messaging::broker::embedded::Embedded;
use crate::messaging::broker::rabbit::Rabbit;
use crate::messaging::broker::{Broker, QueueDepth};
use crate::messaging::consumer::Consumer;
use crate::messaging::consumer::layers::RateLimit;
use crate::messaging::notify::Notifier;
use crate::messaging::operator::Operator;
use crate::messaging::outbox::reconciler::Reconciler;
use crate::messaging::outbox::relay::Relay;
use crate::messaging::topology::Topology;
use crate::net::is_loopback_host;
use crate::progress::Progress;

/// How long stopping may take.
const DRAIN: Duration = Duration::from_secs(10);

/// Consumers of a queue unless the settings say otherwise.
const PLACES: u16 = 4;

/// Connections to the database.
const CONNECTIONS: u32 = 16;

/// The parts, built and not yet running.
#[derive(Clone, Debug)]
pub struct App {
    /// The settings it was built from.
    pub config: Arc<Config>,
    /// The use cases' needs.
    pub accounts: Accounts,
    /// Who carries messages.
    pub broker: Broker,
    /// What is declared on it.
    pub topology: Arc<Topology>,
    /// How mails leave.
    pub mail: Arc<Transport>,
    /// The sessions that this node remembers.
    pub sessions: Arc<SessionCache>,
    mail_domain: Arc<str>,
    tasks: TaskTracker,
    /// Ends the connections, after everybody who uses them.
    stop: CancellationToken,
}

impl App {
    /// Opens the database, brings its schema up to date, and builds the rest. The broker and the mail server may be away.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that cannot be used; otherwise what failed.
    pub async fn build(config: Config, clock: Clock) -> anyhow::Result<Self> {
        check_queues(&config)?;
        let sender = Sender::parse(&config.mail.from).map_err(|error| ConfigError::new("MAIL_FROM", error))?;
        let smtp = config.mail.smtp_url.as_ref().map(|url| SmtpSettings::parse(url.expose_secret())).transpose();
        let smtp = smtp.map_err(|error| ConfigError::new("SMTP_URL", error))?;
        let breached = breached(&config)?;
        let location = endpoints::of_database(&config)?;
        make_data_dir(&config)?;
        let root = secret_key::secret_key(&config)?;

        let db = Db::open(&location, CONNECTIONS).await?;
        if config.data.migrate {
            db.migrate().await?;
        }
        let PasswordConfig { hash_threads, hash_queue, hash_memory, hash_passes, hash_kernel, .. } = config.passwords;
        let site: Arc<str> = config.http.public_url.host_str().unwrap_or_default().into();
        let cost = Cost { memory: hash_memory, passes: hash_passes };
        let accounts = Accounts {
            notifier: Notifier::default(),
            hasher: Hasher::start(hash_threads, hash_queue, cost, hash_kernel)?,
            keys: Arc::new(Keys::new(&root)),
            password_check: Arc::new(PasswordCheck::new(hash_threads.get(), hash_queue, breached, Arc::clone(&site))),
            site,
            db,
            clock,
        };
        let mail_domain = sender.domain().into();
        let mail = Arc::new(match smtp {
            Some(mut settings) => {
                // EHLO says who we are: an address in brackets is what a spam filter dislikes most
                if let Some(domain) = config.http.public_url.domain() {
                    domain.clone_into(&mut settings.hello_name);
                }
                let senders = usize::from(config.messaging.concurrency.of(confirmation::QUEUE, PLACES));
                let limits = SmtpLimits { per_domain: senders.saturating_sub(1), ..SmtpLimits::default() };
                let smtp = Smtp::new(settings, sender, accounts.clock.clone(), limits)?;
                Transport::Smtp(Box::new(smtp))
            }
            None => Transport::Mailbox(Mailbox::open(
                &config.data.data_dir.join("mailbox"),
                sender,
                accounts.clock.clone(),
            )?),
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let topology = Arc::new(Topology::new(listeners::QUEUES, &listeners::node::KEYS, config.messaging.retry.tiers));
        let broker = broker(&config, &accounts, &topology, &tasks, &stop).await?;
        let (config, sessions) = (Arc::new(config), Arc::new(SessionCache::default()));
        Ok(App { config, accounts, broker, topology, mail, sessions, mail_domain, tasks, stop })
    }

    /// The relay, for whoever runs or drains it.
    #[must_use]
    pub fn relay(&self) -> Relay {
        let Accounts { db, clock, notifier, .. } = self.accounts.clone();
        let (broker, topology) = (self.broker.clone(), Arc::clone(&self.topology));
        Relay { db, clock, notifier, broker, topology, backpressure: self.backpressure() }
    }

    fn backpressure(&self) -> Backpressure {
        let hasher = self.accounts.hasher.clone();
        Backpressure::new(move || hasher.is_busy())
    }

    /// What an operator sees and does.
    #[must_use]
    pub fn operator(&self) -> Operator {
        let Accounts { db, clock, .. } = self.accounts.clone();
        let (broker, topology) = (self.broker.clone(), Arc::clone(&self.topology));
        Operator {
            db,
            clock,
            broker,
            topology,
            grace: self.config.messaging.retry.grace,
            progress: Progress::default(),
        }
    }

    /// Who finds what was published and never done.
    #[must_use]
    pub fn reconciler(&self) -> Reconciler {
        let Accounts { db, clock, .. } = self.accounts.clone();
        let (broker, topology) = (self.broker.clone(), Arc::clone(&self.topology));
        Reconciler {
            db,
            clock,
            broker,
            topology,
            grace: self.config.messaging.retry.grace,
            progress: Progress::default(),
        }
    }

    /// One line for each thing that a person who starts this wants to know.
    #[must_use]
    pub fn describe(&self, parts: &Parts) -> Vec<String> {
        let mut lines = Vec::new();
        let url = self.config.http.public_url.as_str().trim_end_matches('/');
        if parts.web {
            lines.push(format!("listening on  http://{} (public: {url})", self.config.http.listen));
        }
        lines.push(match endpoints::of_database(&self.config) {
            Ok(Location::Sqlite(path)) => format!("database      SQLite, {}", path.display()),
            _ => "database      PostgreSQL".to_owned(),
        });
        lines.push(match &self.broker {
            Broker::Embedded(_) => "broker        queues in the database".to_owned(),
            Broker::Rabbit(_) => "broker        RabbitMQ".to_owned(),
        });
        lines.push(format!("mail          {}", self.mail.describe()));
        if parts.web && matches!(&*self.mail, Transport::Mailbox(_)) {
            // it answers to the loopback's names alone
            let here = format!("http://localhost:{}", self.config.http.listen.port());
            let base = if self.config.http.public_url.host_str().is_some_and(is_loopback_host) { url } else { &here };
            lines.push(format!("mailbox       {base}/mailbox (from this machine only)"));
        }
        if let Some(host) = endpoints::plain_broker(&self.config) {
            lines.push(format!(
                "note          the way to RabbitMQ on {host} is not encrypted; over a network that others use, take amqps://"
            ));
        }
        if parts.web && self.config.http.public_url.scheme() == "http" {
            lines.push("note          plain http: cookies are not Secure; for the internet, set BELLHOP_PUBLIC_URL to https://…".to_owned());
        }
        lines
    }

    /// Runs the parts until `stop`, then finishes what is in hand within ten seconds. `socket` is where HTTP listens.
    ///
    /// # Errors
    /// When HTTP is to be served and the public URL cannot be used for it.
    pub async fn run(self, parts: Parts, socket: Option<TcpListener>, stop: CancellationToken) -> anyhow::Result<()> {
        let Accounts { db, notifier, .. } = self.accounts.clone();
        self.tasks.spawn(notifier.listen(db, stop.clone()));
        if let Broker::Embedded(embedded) = &self.broker {
            self.tasks.spawn(embedded.clone().run(stop.clone()));
        }
        if parts.relay {
            self.tasks.spawn(self.relay().run(stop.clone()));
            self.tasks.spawn(self.reconciler().run(stop.clone()));
            let Accounts { db, clock, .. } = self.accounts.clone();
            self.tasks.spawn(maintenance::run(db, clock, stop.clone()));
        }
        for consumer in self.consumers(&parts) {
            self.tasks.spawn(consumer.run(stop.clone()));
        }
        let web = TaskTracker::new();
        if let Some(socket) = socket.filter(|_| parts.web) {
            self.tasks.spawn(node::run(self.broker.clone(), Arc::clone(&self.sessions), stop.clone()));
            let (router, limits) = self.web(socket.local_addr()?.port())?;
            web.spawn(server::serve(socket, router, limits, stop.clone()));
        }
        stop.cancelled().await;
        tracing::info!("stopping: no new work, finishing what is in hand");
        web.close();
        self.tasks.close();
        let finished = async {
            web.wait().await;
            // the connections go last: who is finishing still needs them
            self.stop.cancel();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(DRAIN, finished).await.is_err() {
            tracing::warn!("not all was finished in time; what was in hand comes again");
            self.stop.cancel();
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.accounts.db.close()).await;
        Ok(())
    }

    /// Ends the connections of an app that was built and not run.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(DRAIN, self.tasks.wait()).await;
        self.accounts.db.close().await;
    }

    /// How full each queue is, as soon as the broker can be asked.
    ///
    /// # Errors
    /// When the broker is away for ten seconds.
    pub async fn depths(&self) -> anyhow::Result<Vec<QueueDepth>> {
        let deadline = tokio::time::Instant::now() + DRAIN;
        loop {
            match self.broker.depths().await {
                // RabbitMQ is still being connected to
                Err(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                depths => return depths,
            }
        }
    }

    /// The routes with their layers, and what a connection may cost.
    fn web(&self, port: u16) -> anyhow::Result<(axum::Router, ConnectionLimits)> {
        let http = &self.config.http;
        let state = AppState {
            accounts: self.accounts.clone(),
            sessions: Arc::clone(&self.sessions),
            mail: Arc::clone(&self.mail),
            readiness: Readiness::new(self.accounts.db.clone(), self.broker.clone(), Arc::clone(&self.mail)),
            https: http.public_url.scheme() == "https",
            rate_limits: RateLimits::new(http.limits),
            operator: self.operator(),
        };
        let proxies = Arc::new(Proxies::new(http.trusted_proxies.clone()));
        let middleware = MiddlewareConfig {
            site: Arc::new(Site::new(&http.public_url, port)?),
            proxies: Arc::clone(&proxies),
            body_limits: BodyLimits::default(),
            clock: self.accounts.clock.clone(),
            problem_page,
            tasks: self.tasks.clone(),
        };
        let limits = ConnectionLimits { proxies, drain: DRAIN, ..ConnectionLimits::default() };
        Ok((router(Arc::new(state), middleware), limits))
    }

    /// A consumer for each place at each queue.
    #[must_use]
    pub fn consumers(&self, parts: &Parts) -> Vec<Consumer> {
        let desk = Desk {
            accounts: self.accounts.clone(),
            log: LoginLog::new(&self.accounts, login_log::QUEUE),
            mail: Arc::clone(&self.mail),
            mail_rate: self.config.mail.rate.map(RateLimit::per_minute),
            public_url: self.config.http.public_url.clone(),
            mail_domain: Arc::clone(&self.mail_domain),
        };
        let wanted = listeners::all(&desk).into_iter().filter(|listener| parts.queues.contains(listener.queue));
        wanted.flat_map(|listener| self.consumers_of(&listener)).collect()
    }

    fn consumers_of(&self, listener: &Listener) -> Vec<Consumer> {
        // one that takes many at once is enough
        let places = self.config.messaging.concurrency.of(listener.queue, listener.batch.map_or(PLACES, |_| 1));
        let prefetch = self.config.messaging.prefetch.of(listener.queue, listener.batch.unwrap_or(1));
        let consumer = Consumer {
            broker: self.broker.clone(),
            db: self.accounts.db.clone(),
            clock: self.accounts.clock.clone(),
            topology: Arc::clone(&self.topology),
            retry: self.config.messaging.retry,
            queue: listener.queue,
            listener: listener.stack.clone(),
            prefetch,
            at_once: listener.batch.map_or(1, |_| usize::from(prefetch)),
            backpressure: self.backpressure(),
        };
        vec![consumer; usize::from(places)]
    }
}

/// Opens the database alone, as it is.
///
/// # Errors
/// [`ConfigError`] for a setting that cannot be used; otherwise when the file cannot be opened or the server is away.
pub async fn open_database(config: &Config) -> anyhow::Result<Db> {
    let location = endpoints::of_database(config)?;
    make_data_dir(config)?;
    Db::open(&location, CONNECTIONS).await
}

/// Passwords' hashes and the key lie in it: nobody else on this machine may look.
fn make_data_dir(config: &Config) -> Result<(), ConfigError> {
    let folder = &config.data.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| ConfigError::new("DATA_DIR", format!("{}: {error}", folder.display())))
}

/// The operator's file of known passwords, if there is one.
fn breached(config: &Config) -> Result<Option<Arc<Breached>>, ConfigError> {
    let open = |path: &std::path::PathBuf| {
        let opened = Breached::open(path);
        opened.map_err(|error| ConfigError::new("BREACHED_PASSWORDS", format!("{}: {error:#}", path.display())))
    };
    Ok(config.passwords.breached.as_ref().map(open).transpose()?.map(Arc::new))
}

/// A queue that is set apart must exist: a typo would silently do nothing.
fn check_queues(config: &Config) -> Result<(), ConfigError> {
    for (name, per_queue) in
        [("PREFETCH", &config.messaging.prefetch), ("LISTENER_CONCURRENCY", &config.messaging.concurrency)]
    {
        if let Some(unknown) = per_queue.queues().find(|queue| !queue_names().any(|name| name == *queue)) {
            let setting = format!("{name}_{}", unknown.to_uppercase().replace('-', "_"));
            let queues = queue_names().collect::<Vec<_>>().join(", ");
            return Err(ConfigError::new(&setting, format!("there is no queue {unknown:?}; there are {queues}")));
        }
    }
    Ok(())
}

async fn broker(
    config: &Config,
    accounts: &Accounts,
    topology: &Arc<Topology>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Broker> {
    if let Some(url) = &config.messaging.broker_url {
        let name = format!("bellhop@{}", config.http.listen);
        let rabbit =
            Rabbit::start(url.clone(), &name, Arc::clone(topology), config.messaging.topology, tasks, stop.clone())
                .map_err(|error| ConfigError::new("BROKER_URL", error))?;
        return Ok(Broker::Rabbit(rabbit));
    }
    let Accounts { db, clock, notifier, .. } = accounts.clone();
    let embedded = Embedded::new(db, clock, notifier, Arc::clone(topology), tasks.clone());
    embedded.declare().await?;
    Ok(Broker::Embedded(embedded))
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
