//! The settings: the only reader of the environment.
//!
//! Each setting is a row of [`SETTINGS`] and may come, strongest first, from a flag (`--listen`), the environment
//! (`BELLHOP_LISTEN`) or a key of the TOML file named by `BELLHOP_CONFIG` (`listen = …`). A secret may also come from a
//! file (`BELLHOP_SECRET_KEY_FILE`) and never from a flag, where every process of the machine could read it. What is
//! unknown, cannot be parsed or does not fit together stops the start with one line that names it.

mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use self::values::Values;

/// A row of the settings table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Without the prefix: `LISTEN` for `BELLHOP_LISTEN`, `--listen` and `listen =`.
    pub name: &'static str,
    /// What it means, for `--help`.
    pub help: &'static str,
    /// Whether it holds a secret.
    pub secret: bool,
    /// Whether it may be set for one queue alone by putting the queue's name behind it.
    pub per_queue: bool,
}

const fn setting(name: &'static str, help: &'static str) -> Setting {
    Setting { name, help, secret: false, per_queue: false }
}

const fn secret(name: &'static str, help: &'static str) -> Setting {
    Setting { name, help, secret: true, per_queue: false }
}

const fn per_queue(name: &'static str, help: &'static str) -> Setting {
    Setting { name, help, secret: false, per_queue: true }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    setting("LISTEN", "where HTTP listens [127.0.0.1:8080]"),
    setting("PUBLIC_URL", "base of every link in a mail; https turns on Secure, __Host- and HSTS [http://<listen>]"),
    setting("DATA_DIR", "SQLite file, mailbox, generated secret [./data]"),
    secret(
        "DATABASE_URL",
        "postgres://…; off this machine ?sslmode=verify-full unless the URL says otherwise [SQLite in the data directory]",
    ),
    secret("BROKER_URL", "amqp://… or amqps://… [queues in the database]"),
    secret("SMTP_URL", "smtp://user:pass@host:port or smtps://…, ?tls=required|opportunistic|none [the local mailbox]"),
    setting("MAIL_FROM", "sender of the mails [Bellhop <no-reply@localhost>]"),
    setting("MAIL_RATE", "mails a minute that a process sends at most, evenly [no limit]"),
    secret("SECRET_KEY", "signs links, at least 32 characters [made once in the data directory]"),
    setting("TRUSTED_PROXIES", "networks whose X-Forwarded-For counts, separated by commas [none]"),
    setting("HASH_THREADS", "threads that hash passwords [one a core]"),
    setting("HASH_QUEUE", "passwords that may wait for a thread; past that the answer is 503 [64 a thread]"),
    setting("HASH_MEMORY", "Argon2id memory in KiB, at least 19456 [19456]"),
    setting("HASH_PASSES", "Argon2id passes, at least 2 [2]"),
    setting(
        "BREACHED_PASSWORDS",
        "file of passwords that may not be chosen: sorted SHA-1 hashes, as Have I Been Pwned publishes them [only the built-in list]",
    ),
    setting("MIGRATE", "whether serve brings the schema up to date: true or false [true]"),
    setting("TOPOLOGY", "apply, or verify: only check the broker's exchanges, queues and bindings [apply]"),
    per_queue("PREFETCH", "messages a consumer may hold [1; login-log 200]"),
    per_queue("LISTENER_CONCURRENCY", "consumers of a queue in this process [4; login-log 1]"),
    setting("PATIENCE_HOURS", "hours that a failing message is tried again before it rests, at least 24 [48]"),
    setting("LIMITS", "on, or off: no limits on requests (load tests) [on]"),
    setting("LOG", "tracing filter [info]"),
    setting("LOG_FORMAT", "text or json [text]"),
];

/// A setting that stops the start: one line that names it and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// `name` is wrong in the way that `problem` says.
    pub fn new(name: &str, problem: impl fmt::Display) -> Self {
        ConfigError(format!("BELLHOP_{name}: {problem}"))
    }

    /// Something that is not a setting's value is wrong.
    pub fn other(problem: impl fmt::Display) -> Self {
        ConfigError(problem.to_string())
    }
}

/// What the settings say, checked as far as they can be without opening anything.
#[derive(Clone, Debug)]
pub struct Config {
    /// `BELLHOP_LISTEN`
    pub listen: SocketAddr,
    /// `BELLHOP_PUBLIC_URL`, without a path.
    pub public_url: Url,
    /// `BELLHOP_DATA_DIR`
    pub data_dir: PathBuf,
    /// `BELLHOP_DATABASE_URL`; none is `SQLite` in the data directory.
    pub database_url: Option<SecretString>,
    /// `BELLHOP_BROKER_URL`; none is queues in the database.
    pub broker_url: Option<SecretString>,
    /// `BELLHOP_SMTP_URL`; none is the local mailbox.
    pub smtp_url: Option<SecretString>,
    /// `BELLHOP_MAIL_FROM`
    pub mail_from: String,
    /// `BELLHOP_MAIL_RATE`, a minute; none is no limit.
    pub mail_rate: Option<NonZeroU32>,
    /// `BELLHOP_SECRET_KEY`; none is one made once in the data directory.
    pub secret_key: Option<SecretString>,
    /// `BELLHOP_TRUSTED_PROXIES`
    pub trusted_proxies: Vec<IpNet>,
    /// `BELLHOP_HASH_THREADS`
    pub hash_threads: NonZeroUsize,
    /// `BELLHOP_HASH_QUEUE`
    pub hash_queue: usize,
    /// `BELLHOP_HASH_MEMORY`, in KiB.
    pub hash_memory: u32,
    /// `BELLHOP_HASH_PASSES`
    pub hash_passes: u32,
    /// `BELLHOP_BREACHED_PASSWORDS`
    pub breached_passwords: Option<PathBuf>,
    /// `BELLHOP_MIGRATE`
    pub migrate: bool,
    /// `BELLHOP_TOPOLOGY`
    pub topology: TopologyMode,
    /// `BELLHOP_PREFETCH` and `BELLHOP_PREFETCH_<QUEUE>`
    pub prefetch: PerQueue,
    /// `BELLHOP_LISTENER_CONCURRENCY` and `BELLHOP_LISTENER_CONCURRENCY_<QUEUE>`
    pub concurrency: PerQueue,
    /// `BELLHOP_LIMITS`
    pub limits: bool,
    /// `BELLHOP_LOG`
    pub log: String,
    /// `BELLHOP_LOG_FORMAT`
    pub log_format: LogFormat,
    /// How long parked messages wait, tier by tier, and in all (`BELLHOP_PATIENCE_HOURS`).
    pub patience: Patience,
}

/// What to do about the broker's exchanges, queues and bindings at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyMode {
    /// Declare them.
    Apply,
    /// Only look whether they are there, for users without the configure right.
    Verify,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A number that may differ by queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerQueue {
    all: Option<u16>,
    queues: BTreeMap<String, u16>,
}

impl PerQueue {
    /// The same for every queue.
    #[must_use]
    pub fn all(number: u16) -> Self {
        PerQueue { all: Some(number), queues: BTreeMap::new() }
    }

    /// For the queue of this short name, which has a default of its own.
    #[must_use]
    pub fn of(&self, queue: &str, default: u16) -> u16 {
        self.queues.get(queue).copied().or(self.all).unwrap_or(default)
    }

    /// The queues that are set apart, by short name.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }
}

/// How long a message that fails is tried again, and how long one that is silent is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The wait of each tier, shortest first.
    pub tiers: [Duration; 5],
    /// Since the first failure; past that it becomes a dead letter.
    pub total: Duration,
    /// How long after its publication an event may go unrecorded before it is missed.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            tiers: [10, 60, 600, 3_600, 21_600].map(Duration::from_secs),
            total: Duration::from_hours(48),
            grace: Duration::from_mins(5),
        }
    }
}

impl Config {
    /// Reads flags, the process's environment and the settings file.
    ///
    /// # Errors
    /// One line that names the setting that is unknown or wrong.
    pub fn load(flags: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
        let environment = std::env::vars_os();
        Self::from_sources(flags, environment)
    }

    /// As [`Config::load`], with the environment handed in.
    ///
    /// # Errors
    /// One line that names the setting that is unknown or wrong.
    pub fn from_sources(
        flags: BTreeMap<String, String>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut named = BTreeMap::new();
        for (key, value) in environment {
            let Some(name) = key.to_str().and_then(|key| key.strip_prefix("BELLHOP_")) else { continue };
            let value = value.into_string().map_err(|_| ConfigError::new(name, "is not UTF-8"))?;
            named.insert(name.to_owned(), value);
        }
        let mut values = match named.remove("CONFIG").filter(|path| !path.is_empty()) {
            Some(path) => Values::from_file(Path::new(&path))?,
            None => Values::default(),
        };
        for (name, value) in named {
            values.set(&name, value)?;
        }
        for (name, value) in flags {
            values.set(&name, value)?;
        }
        Self::parse(values)
    }

    fn parse(mut values: Values) -> Result<Self, ConfigError> {
        let listen = values.take("LISTEN")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let hash_threads = values.take("HASH_THREADS")?.unwrap_or(cores);
        let config = Config {
            listen,
            public_url: public_url(values.take_text("PUBLIC_URL"), listen)?,
            data_dir: values.take("DATA_DIR")?.unwrap_or_else(|| PathBuf::from("./data")),
            database_url: values.take_secret("DATABASE_URL"),
            broker_url: values.take_secret("BROKER_URL"),
            smtp_url: values.take_secret("SMTP_URL"),
            mail_from: values.take("MAIL_FROM")?.unwrap_or_else(|| "Bellhop <no-reply@localhost>".to_owned()),
            mail_rate: values.take("MAIL_RATE")?,
            secret_key: secret_key(values.take_secret("SECRET_KEY"))?,
            trusted_proxies: trusted_proxies(values.take_text("TRUSTED_PROXIES").as_deref().unwrap_or_default())?,
            hash_threads,
            hash_queue: values.take("HASH_QUEUE")?.unwrap_or(64 * hash_threads.get()),
            hash_memory: values.take("HASH_MEMORY")?.unwrap_or(19_456),
            hash_passes: values.take("HASH_PASSES")?.unwrap_or(2),
            breached_passwords: values.take("BREACHED_PASSWORDS")?,
            migrate: values.take("MIGRATE")?.unwrap_or(true),
            topology: values.take_word(
                "TOPOLOGY",
                &[("apply", TopologyMode::Apply), ("verify", TopologyMode::Verify)],
                TopologyMode::Apply,
            )?,
            prefetch: values.take_per_queue("PREFETCH")?,
            concurrency: values.take_per_queue("LISTENER_CONCURRENCY")?,
            limits: values.take_word("LIMITS", &[("on", true), ("off", false)], true)?,
            log: values.take("LOG")?.unwrap_or_else(|| "info".to_owned()),
            log_format: values.take_word(
                "LOG_FORMAT",
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                LogFormat::Text,
            )?,
            patience: patience(values.take("PATIENCE_HOURS")?)?,
        };
        // OWASP's floor for Argon2id; 4 GiB and 100 passes are past every sensible setting
        if !(19_456..=4_194_304).contains(&config.hash_memory) {
            return Err(ConfigError::new("HASH_MEMORY", "must be from 19456 to 4194304 KiB"));
        }
        if !(2..=100).contains(&config.hash_passes) {
            return Err(ConfigError::new("HASH_PASSES", "must be from 2 to 100"));
        }
        if config.hash_threads.get() > 1_024 {
            return Err(ConfigError::new("HASH_THREADS", "must be at most 1024"));
        }
        Ok(config)
    }
}

fn public_url(value: Option<String>, listen: SocketAddr) -> Result<Url, ConfigError> {
    let wrong = |problem: String| ConfigError::new("PUBLIC_URL", problem);
    let text = value.unwrap_or_else(|| format!("http://{listen}"));
    // what was typed is not repeated: there may be a password in it
    let url = Url::parse(&text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is not an http:// or https:// address".to_owned()));
    }
    let bare = url.username().is_empty() && url.password().is_none();
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !bare {
        return Err(wrong("must be scheme, host and port alone".to_owned()));
    }
    Ok(url)
}

/// A mail server may be away for a day: less patience than that would give mails up for nothing. And the inbox must remember
/// for longer than an event may come again.
fn patience(hours: Option<u32>) -> Result<Patience, ConfigError> {
    let default = Patience::default();
    match hours {
        None => Ok(default),
        Some(hours @ 24..=336) => Ok(Patience { total: Duration::from_hours(hours.into()), ..default }),
        Some(_) => Err(ConfigError::new("PATIENCE_HOURS", "must be from 24 to 336")),
    }
}

fn trusted_proxies(value: &str) -> Result<Vec<IpNet>, ConfigError> {
    let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            entry.parse::<IpNet>().or_else(|_| entry.parse::<std::net::IpAddr>().map(IpNet::from)).map_err(|_| {
                ConfigError::new("TRUSTED_PROXIES", format!("{entry:?} is not a network such as 10.0.0.0/8"))
            })
        })
        .collect()
}

fn secret_key(key: Option<SecretString>) -> Result<Option<SecretString>, ConfigError> {
    if let Some(key) = &key {
        check_key(key.expose_secret()).map_err(|problem| ConfigError::new("SECRET_KEY", problem))?;
    }
    Ok(key)
}

/// Refuses keys that a person could guess: short ones, those of few different characters, and placeholders.
///
/// # Errors
/// What is wrong with the key and how to make a good one; never the key.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    let distinct: std::collections::BTreeSet<u8> = key.bytes().collect();
    let lower = key.to_lowercase();
    if key.len() < 32 {
        Err("is shorter than 32 characters; make one with: openssl rand -hex 32")
    } else if distinct.len() < 8 {
        Err("has too few different characters; make one with: openssl rand -hex 32")
    } else if ["example", "changeme", "change-me", "password", "insecure", "0123456789abcdef0123"]
        .iter()
        .any(|word| lower.contains(word))
    {
        Err("looks like a placeholder; make one with: openssl rand -hex 32")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
