//! What a row of the settings table is, and what is said of one that is wrong.

use std::fmt;

/// The start of every variable's name.
pub const PREFIX: &str = "BELLHOP_";

/// A row of the settings table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Without the prefix: `LISTEN` for `BELLHOP_LISTEN`, `--listen` and `listen =`.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What holds when it is not set.
    pub default: Fallback,
    /// Whether it holds a secret.
    pub secret: bool,
    /// Whether it may be set for one queue alone by putting the queue's name behind it.
    pub per_queue: bool,
}

/// What holds when a setting is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value, read as if it had been given.
    Value(&'static str),
    /// What these words say.
    Described(&'static str),
}

impl Fallback {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Fallback::Value(text) | Fallback::Described(text) => text,
        }
    }
}

impl Setting {
    pub(super) const fn new(name: &'static str, default: Fallback, meaning: &'static str) -> Self {
        Setting { name, meaning, default, secret: false, per_queue: false }
    }

    pub(super) const fn secret(self) -> Self {
        Setting { secret: true, ..self }
    }

    pub(super) const fn per_queue(self) -> Self {
        Setting { per_queue: true, ..self }
    }

    /// Its variable in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Its flag without the dashes. A secret's names a file: a value would be there for every process to read.
    #[must_use]
    pub fn flag(&self) -> String {
        let name = self.name.to_lowercase().replace('_', "-");
        if self.secret { format!("{name}-file") } else { name }
    }
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// Its rows.
    pub settings: &'static [Setting],
}

/// A setting that stops the start: one line that names it and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// `name` is wrong in the way that `problem` says.
    pub fn new(name: &str, problem: impl fmt::Display) -> Self {
        ConfigError(format!("{PREFIX}{name}: {problem}"))
    }

    /// Something that is not a setting's value is wrong.
    pub fn other(problem: impl fmt::Display) -> Self {
        ConfigError(problem.to_string())
    }
}
