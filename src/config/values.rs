//! Where values come from, by setting name and before they are parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use secrecy::SecretString;

use super::{ConfigError, PerQueue, SETTINGS};

/// Values by setting name.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(BTreeMap<String, String>);

impl Values {
    pub(super) fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |problem: String| ConfigError::new("CONFIG", format!("{}: {problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        let mut values = Values::default();
        for (key, value) in table {
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
        // for the tests that kill; not in SETTINGS, because a release has no such setting
        #[cfg(debug_assertions)]
        if name == "FAILPOINT" {
            return crate::failpoint::arm(&value).map_err(|problem| ConfigError::new(name, problem));
        }
        let known = |name: &str| {
            SETTINGS.iter().any(|setting| {
                setting.name == name
                    || setting.per_queue
                        && name.strip_prefix(setting.name).is_some_and(|rest| rest.len() > 1 && rest.starts_with('_'))
            })
        };
        if known(name) {
            if value.is_empty() {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value);
            }
            return Ok(());
        }
        let of_file = name.strip_suffix("_FILE").filter(|name| SETTINGS.iter().any(|s| s.secret && s.name == *name));
        let Some(of_file) = of_file else {
            return Err(ConfigError::new(name, format!("there is no such setting{}", nearest(name))));
        };
        if self.0.contains_key(of_file) {
            return Err(ConfigError::new(name, format!("BELLHOP_{of_file} is set too; keep one of them")));
        }
        let text =
            std::fs::read_to_string(&value).map_err(|error| ConfigError::new(name, format!("{value}: {error}")))?;
        self.0.insert(of_file.to_owned(), text.trim_end_matches(['\r', '\n']).to_owned());
        Ok(())
    }

    pub(super) fn take<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<Option<T>, ConfigError> {
        let parse =
            |value: String| value.trim().parse().map_err(|error| ConfigError::new(name, format!("{value:?}: {error}")));
        self.0.remove(name).map(parse).transpose()
    }

    /// As it was given.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(super) fn take_secret(&mut self, name: &str) -> Option<SecretString> {
        self.0.remove(name).map(SecretString::from)
    }

    /// One of a few words.
    pub(super) fn take_word<T: Copy>(&mut self, name: &str, words: &[(&str, T)], default: T) -> Result<T, ConfigError> {
        let Some(value) = self.0.remove(name) else { return Ok(default) };
        words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            ConfigError::new(name, format!("{value:?} is not one of {}", words.join(", ")))
        })
    }

    pub(super) fn take_per_queue(&mut self, name: &str) -> Result<PerQueue, ConfigError> {
        let at_least_one = |name: &str, number: u16| {
            if number == 0 { Err(ConfigError::new(name, "must be at least 1")) } else { Ok(number) }
        };
        let all = self.take(name)?.map(|number| at_least_one(name, number)).transpose()?;
        let prefix = format!("{name}_");
        let of_queue = |key: &String| Some((key.clone(), key.strip_prefix(&prefix)?.to_lowercase().replace('_', "-")));
        let names: Vec<(String, String)> = self.0.keys().filter_map(of_queue).collect();
        let mut queues = BTreeMap::new();
        for (name, queue) in names {
            if let Some(number) = self.take(&name)? {
                queues.insert(queue, at_least_one(&name, number)?);
            }
        }
        Ok(PerQueue { all, queues })
    }
}

/// " (did you mean …?)" when a setting's name is within two letters.
fn nearest(name: &str) -> String {
    let distance = |a: &str, b: &str| {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = i;
            let mut left = i + 1;
            for (slot, y) in row.iter_mut().skip(1).zip(&b) {
                let here = (diagonal + usize::from(x != y)).min(left + 1).min(*slot + 1);
                diagonal = std::mem::replace(slot, here);
                left = here;
            }
            if let Some(first) = row.first_mut() {
                *first = i + 1;
            }
        }
        row.last().copied().unwrap_or_default()
    };
    SETTINGS
        .iter()
        .map(|setting| (distance(name, setting.name), setting.name))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| format!(" (did you mean BELLHOP_{name}?)"))
        .unwrap_or_default()
}
