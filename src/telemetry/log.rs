//! How the log is started: its filter, its form, and what never gets into it.

use std::io::IsTerminal as _;

use chrono::SecondsFormat;
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::guarded;
use super::writer;
use crate::clock::Clock;
use crate::config::{ConfigError, LogConfig, LogFormat};
use crate::text::one_line;

/// The target of the lines about every request, which are written only where `BELLHOP_LOG` names it.
pub const REQUESTS: &str = "bellhop::request";

/// The target of the lines about requests that were refused.
pub const REFUSED: &str = "bellhop::refused";

/// What is not said by itself, unless the settings ask for it: lapin says everything that goes wrong, twice and before we do, the
/// pool of a database that is away does so for each of its connections, and
/// `PostgreSQL` that a table which is made if it is missing is there.
const QUIET: &str =
    "lapin=off,lapin::returned_messages=off,sqlx_core::pool=off,sqlx::postgres::notice=warn,bellhop::request=off";

/// Crates that have the login to the broker in their hands, and write whole frames at their finest level.
const SEES_LOGINS: [&str; 4] = ["lapin", "amq_protocol", "async_rs", "tcp_stream"];

/// Writes the parts of a database's URL that it does not know, with their values.
const SEES_URLS: &str = "sqlx_postgres::options::parse";

/// The longest message of a panic in a log, in characters.
const MAX_PANIC_CHARS: usize = 1_000;

/// What is written: the `default` level, and what the settings say instead or beside it. Of two directives for one target the later
/// one counts.
fn filter(asked: Option<&str>, default: &str) -> Result<EnvFilter, ConfigError> {
    let asked = asked.map(|asked| format!(",{asked}")).unwrap_or_default();
    EnvFilter::try_new(format!("{default},{QUIET}{asked}")).map_err(|_| ConfigError::value("LOG", "is no filter"))
}

/// Starts the log on standard error, at the level `default` where the settings do not say otherwise.
///
/// # Errors
/// When `BELLHOP_LOG` is not a filter.
pub fn start(config: &LogConfig, default: &str) -> Result<(), ConfigError> {
    let filter = filter(config.filter.as_deref(), default)?;
    let never = |error: &dyn std::fmt::Display| ConfigError::other(format!("cannot start the log: {error}"));
    let lines = writer::start().map_err(|error| never(&error))?;
    // whoever asks for everything asks for no secret
    let harmless = filter_fn(|metadata| {
        let target = metadata.target();
        let sees_logins = SEES_LOGINS.iter().any(|name| target.starts_with(name));
        !(target.starts_with(SEES_URLS) || sees_logins && *metadata.level() > LevelFilter::DEBUG)
    });
    let log = tracing_subscriber::registry().with(filter).with(harmless);
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false).with_writer(lines);
    let started = match config.format {
        LogFormat::Text => log
            .with(
                layer
                    .with_ansi(std::io::stderr().is_terminal())
                    .map_fmt_fields(guarded::text)
                    .map_event_format(guarded::text),
            )
            .try_init(),
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true);
            log.with(layer.map_fmt_fields(guarded::json).map_event_format(guarded::json)).try_init()
        }
    };
    started.map_err(|error| never(&error))?;
    log_panics();
    Ok(())
}

/// A panic is a line like any other, and cannot fail for the want of a place to write it to.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = one_line(panic.payload_as_str().unwrap_or("no message"), MAX_PANIC_CHARS);
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(message, place, thread = thread.name(), "panicked");
    }));
}

/// What is printed at the start, on standard output, in the form of the log.
#[must_use]
pub fn start_lines(format: LogFormat, title: &str, lines: &[String]) -> String {
    match format {
        LogFormat::Text => {
            let lines: Vec<String> =
                std::iter::once(title.to_owned()).chain(lines.iter().map(|line| format!("  {line}"))).collect();
            lines.join("\n") + "\n"
        }
        LogFormat::Json => {
            let lines = std::iter::once(title).chain(lines.iter().map(String::as_str));
            lines.map(|line| json_line("INFO", &one_line(line, usize::MAX))).collect()
        }
    }
}

/// Says why the process ends, in the form of the log and after all that was logged. Where it cannot be said nothing else happens.
pub fn last_line(format: LogFormat, text: &str) {
    writer::write_last(match format {
        LogFormat::Text => format!("bellhop: {text}\n"),
        LogFormat::Json => json_line("ERROR", text),
    });
}

fn json_line(level: &str, message: &str) -> String {
    let now = Clock::default().now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let line = json!({ "timestamp": now, "level": level, "message": message, "target": "bellhop" });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// F36: a line for each request is had by naming it, and costs nothing else that is said.
    #[test]
    fn what_is_named_is_said_beside_the_rest_and_a_bare_level_is_said_instead() {
        for (asked, expected) in [
            (None, [true, false, false, false]),
            (Some("bellhop::request=info"), [true, true, false, false]),
            (Some("warn"), [false, false, false, false]),
            (Some("warn,bellhop::request=info"), [false, true, false, false]),
            (Some("off,bellhop::request=info"), [false, true, false, false]),
            (Some("debug"), [true, false, true, false]),
            (Some("lapin=info"), [true, false, false, true]),
        ] {
            let subscriber = tracing_subscriber::registry().with(filter(asked, "info").unwrap());
            let said = tracing::subscriber::with_default(subscriber, || {
                [
                    tracing::enabled!(target: REFUSED, Level::INFO),
                    tracing::enabled!(target: REQUESTS, Level::INFO),
                    tracing::enabled!(target: "bellhop::http", Level::DEBUG),
                    tracing::enabled!(target: "lapin::x", Level::INFO),
                ]
            });
            assert_eq!(said, expected, "{asked:?}");
        }
        assert!(filter(Some("info,=,["), "info").is_err());
    }
}
