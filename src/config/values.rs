//! Where values come from, by setting name and before they are parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use secrecy::SecretString;

use super::setting::{ConfigError, Fallback, PREFIX, Section, Setting};

/// Values by setting name.
#[derive(Clone, Debug)]
pub(super) struct Values {
    table: &'static [Section],
    given: BTreeMap<String, String>,
}

impl Values {
    /// None yet, for the settings of this table.
    pub(super) fn new(table: &'static [Section]) -> Self {
        Values { table, given: BTreeMap::new() }
    }

    pub(super) fn from_file(table: &'static [Section], path: &Path) -> Result<Self, ConfigError> {
        let wrong = |problem: String| ConfigError::new("CONFIG", format!("{}: {problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let keys: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        let mut values = Values::new(table);
        for (key, value) in keys {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Array(items) => {
                    items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(",")
                }
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                _ => {
                    return Err(wrong(format!(
                        "{key}: must be a text, a whole number, true, false or a list of texts"
                    )));
                }
            };
            values.set(&key.to_uppercase(), text).map_err(|error| wrong(error.to_string()))?;
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
        let is_named = |setting: &Setting| {
            let rest = name.strip_prefix(setting.name);
            rest.is_some_and(|rest| rest.is_empty() || setting.per_queue && rest.len() > 1 && rest.starts_with('_'))
        };
        if self.settings().any(is_named) {
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
    pub(super) fn take<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<T, ConfigError> {
        let text = self.take_text(name).or_else(|| self.default_of(name).map(str::to_owned));
        parse(name, &text.ok_or_else(|| ConfigError::new(name, "must be set"))?)
    }

    /// As [`Values::take`], within bounds.
    pub(super) fn take_in<T>(&mut self, name: &str, bounds: RangeInclusive<T>, unit: &str) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display> + PartialOrd + fmt::Display,
    {
        let value = self.take(name)?;
        if bounds.contains(&value) {
            return Ok(value);
        }
        Err(ConfigError::new(name, format!("must be from {} to {}{unit}", bounds.start(), bounds.end())))
    }

    /// One of a few words.
    pub(super) fn take_word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let value: String = self.take(name)?;
        words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            ConfigError::new(name, format!("{value:?} is not one of {}", words.join(", ")))
        })
    }

    /// What was given, if anything was.
    pub(super) fn take_optional<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, ConfigError> {
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

fn parse<T: FromStr<Err: fmt::Display>>(name: &str, text: &str) -> Result<T, ConfigError> {
    text.trim().parse().map_err(|error| ConfigError::new(name, format!("{text:?}: {error}")))
}
