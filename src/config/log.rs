//! What is written to standard error.

use tracing_subscriber::EnvFilter;

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;
use crate::text::loggable;

pub(super) const SECTION: Section = Section {
    title: "Log",
    settings: &[
        Setting::new(
            "LOG",
            Fallback::Described("info; warn for other commands than serve"),
            "tracing filter, beside the default; bellhop::request=info adds a line for each request",
        )
        .example("info,bellhop::request=info"),
        Setting::new("LOG_FORMAT", Fallback::Value("text"), "text or json"),
    ],
};

/// What is written to standard error.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `BELLHOP_LOG`; none is as much as the command says by itself.
    pub filter: Option<String>,
    /// `BELLHOP_LOG_FORMAT`
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The words for the forms.
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

impl LogFormat {
    /// The form that a word names.
    pub(super) fn named(word: &str) -> Option<Self> {
        FORMATS.iter().find(|(name, _)| *name == word.trim()).map(|(_, format)| *format)
    }
}

impl LogConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        let filter: Option<String> = values.take_optional("LOG")?;
        if let Some(wrong) = filter.as_deref().and_then(malformed_directive) {
            let problem = format!("{:?} is neither a level ({}) nor TARGET=LEVEL", loggable(wrong), LEVELS.join(", "));
            return Err(ConfigError::value("LOG", problem));
        }
        Ok(LogConfig { filter, format: values.take_word("LOG_FORMAT", &FORMATS)? })
    }
}

/// The words for the levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The first part of a filter that means nothing. A name alone would mean everything that it says, so that a level which is
/// misspelled would be silence.
fn malformed_directive(filter: &str) -> Option<&str> {
    // the parts of one for a span's fields are not looked at here
    let directives = filter.split(',').map(str::trim).filter(|part| !part.is_empty());
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    if filter.contains('[') {
        return filter.parse::<EnvFilter>().is_err().then_some(filter);
    }
    directives.into_iter().find(|directive| match directive.split_once('=') {
        Some((target, level)) => target.is_empty() || !is_level(level),
        None => !is_level(directive),
    })
}
