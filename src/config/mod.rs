//! The settings: the only reader of the environment.
//!
//! Each setting is a row in the table of its section ([`SECTIONS`]), with its default and its meaning; the rows drive the
//! flags, the parsing, the page of `bellhop help settings` and the table in the README. A setting may come, strongest first,
//! from a flag (`--listen`), the environment (`BELLHOP_LISTEN`) or a key of the TOML file named by `BELLHOP_CONFIG`
//! (`listen = …`). A secret may also come from a file (`BELLHOP_SECRET_KEY_FILE`) and never from a flag, where every process
//! of the machine could read it. What is unknown, cannot be parsed or does not fit together stops the start with one line
//! that names it.
//!
//! One file per section: its rows, what they become, and the checks that need nothing but them.

mod data;
mod http;
mod lifetimes;
mod limits;
mod log;
mod mail;
mod messaging;
mod passwords;
mod secrets;
mod service_links;
mod setting;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

pub use self::data::DataConfig;
pub use self::http::HttpConfig;
pub use self::lifetimes::LifetimeConfig;
pub use self::limits::{LimitConfig, Rate};
pub use self::log::{LogConfig, LogFormat};
pub use self::mail::{MailConfig, MailboxPages};
pub use self::messaging::{MessagingConfig, PerQueue, RetryPolicy, TopologyMode};
pub use self::passwords::{HashKernel, PasswordConfig};
pub use self::secrets::{SecretsConfig, check_key};
pub use self::setting::{ConfigError, Fallback, PREFIX, Section, Setting};
use self::values::Values;

/// Every setting there is.
pub const SECTIONS: &[Section] = &[
    http::SECTION,
    data::SECTION,
    messaging::SECTION,
    mail::SECTION,
    secrets::SECTION,
    passwords::SECTION,
    lifetimes::SECTION,
    limits::SECTION,
    log::SECTION,
];

/// The rows of all sections.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The error with an example of a right value, where it is about a value.
#[must_use]
pub fn explained(error: ConfigError) -> ConfigError {
    Values::new(SECTIONS).explained(error)
}

/// What the settings say, checked as far as they can be without opening anything.
#[derive(Clone, Debug)]
pub struct Config {
    /// How people and programs reach it.
    pub http: HttpConfig,
    /// Where its data is.
    pub data: DataConfig,
    /// How events travel to the listeners.
    pub messaging: MessagingConfig,
    /// How mails leave.
    pub mail: MailConfig,
    /// What signs links.
    pub secrets: SecretsConfig,
    /// How passwords are hashed, and which may be chosen.
    pub passwords: PasswordConfig,
    /// How long links, sessions and registrations last.
    pub lifetimes: LifetimeConfig,
    /// How often something costly may happen.
    pub limits: LimitConfig,
    /// What is written to standard error.
    pub log: LogConfig,
    /// Variables that look like settings and are none: those that a cluster sets for a service of our name.
    pub service_links: Vec<String>,
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

    /// The form of the log, as far as it can be told while another setting is wrong: what is said about that one is to be read by
    /// whoever reads the log. Text where it cannot be told.
    #[must_use]
    pub fn log_format(flags: &BTreeMap<String, String>) -> LogFormat {
        #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
        let from_environment =
            |name: &str| std::env::var(format!("{PREFIX}{name}")).ok().filter(|value| !value.is_empty());
        let word = flags.get("LOG_FORMAT").cloned().or_else(|| from_environment("LOG_FORMAT")).or_else(|| {
            let text = std::fs::read_to_string(from_environment("CONFIG")?).ok()?;
            let keys: toml::Table = text.parse().ok()?;
            Some(keys.get("log_format")?.as_str()?.to_owned())
        });
        word.and_then(|word| LogFormat::named(&word)).unwrap_or(LogFormat::Text)
    }

    /// As [`Config::load`], with the environment handed in. Flags are named like variables, without the prefix.
    ///
    /// # Errors
    /// One line that names the setting that is unknown or wrong.
    pub fn from_sources(
        flags: BTreeMap<String, String>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let (mut named, mut service_links) = (BTreeMap::new(), Vec::new());
        for (key, value) in environment {
            let Some(name) = key.to_str().and_then(|key| key.strip_prefix(PREFIX)) else { continue };
            let value = value.into_string().map_err(|_| ConfigError::new(name, "is not UTF-8"))?;
            if service_links::is_one(name, &value) {
                service_links.push(format!("{PREFIX}{name}"));
            } else {
                named.insert(name.to_owned(), value);
            }
        }
        let mut values = match named.remove("CONFIG").filter(|path| !path.is_empty()) {
            Some(path) => Values::from_file(SECTIONS, Path::new(&path))?,
            None => Values::new(SECTIONS),
        };
        for (name, value) in named.into_iter().chain(flags) {
            values.set(&name, value)?;
        }
        let config = Self::parse(&mut values).map_err(|error| values.explained(error))?;
        Ok(Config { service_links, ..config })
    }

    fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        Ok(Config {
            http: HttpConfig::parse(values)?,
            data: DataConfig::parse(values)?,
            messaging: MessagingConfig::parse(values)?,
            mail: MailConfig::parse(values)?,
            secrets: SecretsConfig::parse(values)?,
            passwords: PasswordConfig::parse(values)?,
            lifetimes: LifetimeConfig::parse(values)?,
            limits: LimitConfig::parse(values)?,
            log: LogConfig::parse(values)?,
            service_links: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
