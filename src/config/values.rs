//! Where values come from, by setting name and before they are parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::SecretString;
use toml::de::DeTable;

use super::setting::{ConfigError, Fallback, PREFIX, Section, Setting};
use crate::text::loggable;

/// Values by setting name.
#[derive(Clone, Debug)]
pub(super) struct Values {
    table: &'static [Section],
    given: BTreeMap<String, String>,
    /// Where in the settings file those stand that came from it.
    places: BTreeMap<String, Place>,
}

/// A line of the settings file.
#[derive(Clone, Debug)]
struct Place {
    file: PathBuf,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file.display(), self.line)
    }
}

/// What a value can be read as, and what is said of one that cannot.
pub(super) trait Readable: FromStr {
    /// What it is not.
    const FORM: &str;
}

macro_rules! readable {
    ($($form:literal: $($type:ty),+;)+) => { $($(impl Readable for $type { const FORM: &str = $form; })+)+ };
}

readable! {
    "an address and a port": SocketAddr;
    "a whole number": u16, u32, usize;
    "a whole number from 1": NonZeroU32, NonZeroUsize;
    "true or false": bool;
    "a text": String, PathBuf;
}

impl Values {
    /// None yet, for the settings of this table.
    pub(super) fn new(table: &'static [Section]) -> Self {
        Values { table, given: BTreeMap::new(), places: BTreeMap::new() }
    }

    pub(super) fn from_file(table: &'static [Section], path: &Path) -> Result<Self, ConfigError> {
        let wrong = |problem: String| ConfigError::new("CONFIG", format!("{}{problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(format!(": {error}")))?;
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let malformed = |error: toml::de::Error| {
            let line = error.span().map(|span| format!(", line {}", line(span.start))).unwrap_or_default();
            wrong(format!("{line}: {}", error.message().replace('\n', ", ")))
        };
        let lines: BTreeMap<String, usize> = DeTable::parse(&text)
            .map_err(malformed)?
            .get_ref()
            .keys()
            .map(|key| (key.get_ref().to_string(), line(key.span().start)))
            .collect();
        let keys: toml::Table = text.parse().map_err(malformed)?;
        let mut values = Values::new(table);
        for (key, value) in keys {
            let place = Place { file: path.to_owned(), line: lines.get(&key).copied().unwrap_or(1) };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
                    items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                }
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                _ => {
                    let problem = "must be a text, a whole number, true, false or a list of texts";
                    return Err(ConfigError::new(&key.to_uppercase(), problem).at(place));
                }
            };
            let name = key.to_uppercase();
            values.set(&name, text).map_err(|error| error.at(&place))?;
            values.places.insert(name, place);
        }
        Ok(values)
    }

    /// Takes a value under its name, or what a secret's file holds. An empty value is no value.
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<(), ConfigError> {
        // for the tests that kill; not in the table, because a release has no such setting
        #[cfg(debug_assertions)]
        if name == "FAILPOINT" {
            return crate::failpoint::arm(&value).map_err(|problem| ConfigError::new(name, problem));
        }
        // a stronger source than the file's
        self.places.remove(name);
        if self.settings().any(|setting| setting.is_named(name)) {
            if value.is_empty() {
                self.given.remove(name);
            } else {
                self.given.insert(name.to_owned(), value);
            }
            return Ok(());
        }
        let of_file = name
            .strip_suffix("_FILE")
            .filter(|name| self.settings().any(|setting| setting.secret && setting.name == *name));
        let Some(of_file) = of_file else {
            return Err(ConfigError::new(name, format!("there is no such setting{}", self.nearest(name))));
        };
        if self.given.contains_key(of_file) {
            return Err(ConfigError::new(name, format!("{PREFIX}{of_file} is set too; keep one of them")));
        }
        let text =
            std::fs::read_to_string(&value).map_err(|error| ConfigError::new(name, format!("{value}: {error}")))?;
        self.given.insert(of_file.to_owned(), text.trim_end_matches(['\r', '\n']).to_owned());
        Ok(())
    }

    /// What was given, or the default of its row.
    pub(super) fn take<T: Readable>(&mut self, name: &str) -> Result<T, ConfigError> {
        let text = self.take_text(name).or_else(|| self.default_of(name).map(str::to_owned));
        parse(name, &text.ok_or_else(|| ConfigError::new(name, "must be set"))?)
    }

    /// As [`Values::take`], within bounds.
    pub(super) fn take_in<T>(&mut self, name: &str, bounds: RangeInclusive<T>, unit: &str) -> Result<T, ConfigError>
    where
        T: Readable + PartialOrd + fmt::Display,
    {
        let value = self.take(name)?;
        if bounds.contains(&value) {
            return Ok(value);
        }
        Err(ConfigError::value(name, format!("{value} is not from {} to {}{unit}", bounds.start(), bounds.end())))
    }

    /// One of a few words.
    pub(super) fn take_word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let value: String = self.take(name)?;
        words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            ConfigError::value(name, format!("{value:?} is not one of {}", words.join(", ")))
        })
    }

    /// What was given, if anything was.
    pub(super) fn take_optional<T: Readable>(&mut self, name: &str) -> Result<Option<T>, ConfigError> {
        self.take_text(name).map(|text| parse(name, &text)).transpose()
    }

    /// As it was given.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.given.remove(name)
    }

    pub(super) fn take_secret(&mut self, name: &str) -> Option<SecretString> {
        self.take_text(name).map(SecretString::from)
    }

    /// What was given for one queue alone: the names of the settings and the queues' short names.
    pub(super) fn queues_of(&self, name: &str) -> Vec<(String, String)> {
        let of_queue = |key: &String| {
            let queue = key.strip_prefix(name)?.strip_prefix('_')?;
            Some((key.clone(), queue.to_lowercase().replace('_', "-")))
        };
        self.given.keys().filter_map(of_queue).collect()
    }

    /// The error with an example of a right value, and with the place in the settings file of the wrong one.
    pub(super) fn explained(&self, mut error: ConfigError) -> ConfigError {
        let Some(name) = error.take_value_of() else { return error };
        if let Some(setting) = self.settings().find(|setting| setting.is_named(&name)) {
            error = error.with_example(setting.sample());
        }
        match self.places.get(&name) {
            Some(place) => error.at(place),
            None => error,
        }
    }

    /// What nobody has taken.
    #[cfg(test)]
    pub(super) fn left(&self) -> Vec<&str> {
        self.given.keys().map(String::as_str).collect()
    }

    fn settings(&self) -> impl Iterator<Item = &'static Setting> {
        self.table.iter().flat_map(|section| section.settings)
    }

    /// The value of a row's default, where it is one.
    fn default_of(&self, name: &str) -> Option<&'static str> {
        match self.settings().find(|setting| setting.name == name)?.default {
            Fallback::Value(text) => Some(text),
            Fallback::Described(_) => None,
        }
    }

    /// " (did you mean …?)" when a setting's name is within two letters.
    fn nearest(&self, name: &str) -> String {
        self.settings()
            .map(|setting| (strsim::osa_distance(name, setting.name), setting.name))
            .min()
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, name)| format!(" (did you mean {PREFIX}{name}?)"))
            .unwrap_or_default()
    }
}

fn parse<T: Readable>(name: &str, text: &str) -> Result<T, ConfigError> {
    let wrong = |_| ConfigError::value(name, format!("{:?} is not {}", loggable(text), T::FORM));
    text.trim().parse().map_err(wrong)
}
