//! Where the servers are, and whether the connection to them leaves this machine.

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::config::{self, Config, ConfigError};
use crate::db::Location;
use crate::net::is_loopback_host;

/// The file of the default database, in the data directory.
const SQLITE_FILE: &str = "bellhop.sqlite";

/// What may stand in the URL's `sslmode`, and both spellings of that.
const SSLMODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
const SSLMODE_NAMES: [&str; 2] = ["sslmode", "ssl-mode"];

/// What is wrong with a word that is none of the modes. It is repeated only where it looks like one: anything may stand
/// there, a password too.
fn not_a_mode(word: &str) -> String {
    let near = SSLMODES.into_iter().map(|mode| (strsim::osa_distance(word, mode), mode)).min();
    match near.filter(|(distance, _)| *distance <= 2) {
        Some((_, mode)) => format!("there is no sslmode={word} (did you mean {mode}?)"),
        None => format!("sslmode is none of {}", SSLMODES.join(", ")),
    }
}

/// Whether the database's setting can be used.
///
/// # Errors
/// As [`database`].
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    database(config).map(drop)
}

/// Where the database is. Off this machine the certificate of `PostgreSQL` is verified with the host's name unless the URL
/// says otherwise (OWASP ASVS 12.3.2).
///
/// # Errors
/// When the setting is none of the forms we know; the URL, which holds a password, is not repeated.
pub(super) fn database(config: &Config) -> Result<Location, ConfigError> {
    let Some(url) = &config.data.database_url else {
        if config.data.database_direct_url.is_some() {
            return Err(ConfigError::new(
                "DATABASE_DIRECT_URL",
                "leads past a pooler: set BELLHOP_DATABASE_URL to the pooler",
            ));
        }
        return Ok(Location::Sqlite(config.data.data_dir.join(SQLITE_FILE)));
    };
    let url = url.expose_secret();
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//");
        if path.is_empty() || path == ":memory:" || path.contains('?') {
            return Err(ConfigError::new("DATABASE_URL", "is not sqlite:path/of/the/file"));
        }
        return Ok(Location::Sqlite(path.into()));
    }
    let options = Box::new(postgres("DATABASE_URL", url)?);
    let Some(direct) = &config.data.database_direct_url else { return Ok(Location::Postgres(options)) };
    let direct = Box::new(postgres("DATABASE_DIRECT_URL", direct.expose_secret())?);
    Ok(Location::Pooled { pooler: options, direct })
}

/// The options of a `postgres://` URL.
fn postgres(setting: &str, url: &str) -> Result<PgConnectOptions, ConfigError> {
    let wrong = |problem: &str| config::explained(ConfigError::value(setting, problem));
    let form = "is neither a postgres:// nor a sqlite: URL";
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(wrong(form));
    }
    let (_, query) = url.split_once('?').unwrap_or_default();
    let parameters = || form_urlencoded::parse(query.as_bytes());
    for (_, mode) in parameters().filter(|(key, _)| SSLMODE_NAMES.contains(&&**key)) {
        if !SSLMODES.contains(&&*mode.to_ascii_lowercase()) {
            return Err(ConfigError::new(setting, not_a_mode(&mode)));
        }
    }
    let options: PgConnectOptions = url.parse().map_err(|_| wrong(form))?;
    let has_mode = parameters().any(|(key, _)| SSLMODE_NAMES.contains(&&*key));
    let on_this_machine =
        options.get_socket().is_some() || options.get_host().starts_with('/') || is_loopback_host(options.get_host());
    Ok(if has_mode || on_this_machine { options } else { options.ssl_mode(PgSslMode::VerifyFull) })
}

/// The host of a broker off this machine that is reached without TLS.
pub(super) fn unencrypted_broker(config: &Config) -> Option<String> {
    let url = Url::parse(config.messaging.broker_url.as_ref()?.expose_secret()).ok()?;
    let host = url.host_str().filter(|host| url.scheme() == "amqp" && !is_loopback_host(host))?;
    Some(host.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    use super::*;

    fn config(name: &str, value: &str) -> Config {
        Config::from_sources(BTreeMap::new(), [(OsString::from(name), OsString::from(value))]).unwrap()
    }

    #[test]
    fn postgres_off_this_machine_is_verified_unless_the_url_says_otherwise() {
        for (url, verified) in [
            ("postgres://u:p@db.example/b", true),
            ("postgres://u:p@10.0.0.7/b?application_name=x", true),
            ("postgresql://u:p@db.example/b?sslmode=disable", false),
            ("postgres://u:p@db.example/b?ssl-mode=require", false),
            ("postgres://u:p@localhost/b", false),
            ("postgres://u:p@127.0.0.1:5432/b", false),
            ("postgres://u:p@[::1]/b", false),
            ("postgres://u:p@localhost/b?host=/run/postgresql", false),
        ] {
            let Ok(Location::Postgres(options)) = database(&config("BELLHOP_DATABASE_URL", url)) else {
                panic!("{url}")
            };
            assert_eq!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull), verified, "{url}");
        }
    }

    #[test]
    fn a_database_that_would_be_lost_or_misnamed_is_refused() {
        for url in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a.db?mode=rwc", "mysql://u:secret@h/b"] {
            let error = database(&config("BELLHOP_DATABASE_URL", url)).expect_err(url).to_string();
            assert!(error.contains("BELLHOP_DATABASE_URL") && !error.contains("secret"), "{error}");
        }
    }

    /// F64: the form of the URL was blamed.
    #[test]
    fn a_mode_of_tls_that_is_misspelled_is_named_with_the_nearest() {
        for (mode, said) in [("verify_full", "did you mean verify-full?"), ("on", "none of disable, allow, prefer")] {
            let url = format!("postgres://u:secret@db.example/b?sslmode={mode}");
            let error = database(&config("BELLHOP_DATABASE_URL", &url)).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_broker_that_is_reached_in_the_clear_is_named() {
        for (url, host) in [
            ("amqp://u:p@mq.example:5672/v", Some("mq.example")),
            ("amqps://u:p@mq.example", None),
            ("amqp://u:p@127.0.0.1:5672", None),
            ("amqp://localhost", None),
        ] {
            assert_eq!(unencrypted_broker(&config("BELLHOP_BROKER_URL", url)).as_deref(), host, "{url}");
        }
    }
}
