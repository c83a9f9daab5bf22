//! What is written to standard error.

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;

pub(super) const SECTION: Section = Section {
    title: "Log",
    settings: &[
        Setting::new(
            "LOG",
            Fallback::Described("info; warn for other commands than serve"),
            "tracing filter, beside the default; bellhop::request=info adds a line for each request",
        ),
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
        Ok(LogConfig { filter: values.take_optional("LOG")?, format: values.take_word("LOG_FORMAT", &FORMATS)? })
    }
}
