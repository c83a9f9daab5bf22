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
    /// A value that it may have, where the default is none.
    example: &'static str,
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
        Setting { name, meaning, default, example: "", secret: false, per_queue: false }
    }

    pub(super) const fn example(self, example: &'static str) -> Self {
        Setting { example, ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Setting { secret: true, ..self }
    }

    pub(super) const fn per_queue(self) -> Self {
        Setting { per_queue: true, ..self }
    }

    /// A value that it may have.
    #[must_use]
    pub const fn sample(&self) -> &'static str {
        if self.example.is_empty() { self.default.as_str() } else { self.example }
    }

    /// Whether this name is its own, or its own for one queue alone.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.name);
        rest.is_some_and(|rest| rest.is_empty() || self.per_queue && rest.len() > 1 && rest.starts_with('_'))
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
#[error("{text}")]
pub struct ConfigError {
    text: String,
    /// The setting whose value it is about; an example of a right one helps then.
    value_of: Option<String>,
}

impl ConfigError {
    /// `name` is wrong in the way that `problem` says.
    pub fn new(name: &str, problem: impl fmt::Display) -> Self {
        ConfigError { text: format!("{PREFIX}{name}: {problem}"), value_of: None }
    }

    /// The value of `name` is none that it can have, as `problem` says; whoever knows the settings adds an example of one.
    pub fn value(name: &str, problem: impl fmt::Display) -> Self {
        ConfigError { value_of: Some(name.to_owned()), ..Self::new(name, problem) }
    }

    /// The setting whose value it is about, once.
    pub(super) fn take_value_of(&mut self) -> Option<String> {
        self.value_of.take()
    }

    /// The same with an example of a right value.
    pub(super) fn with_example(self, example: &str) -> Self {
        ConfigError { text: format!("{}, for example {example}", self.text), ..self }
    }

    /// The same with the place in the settings file that it came from.
    pub(super) fn at(self, place: impl fmt::Display) -> Self {
        ConfigError { text: format!("{place}: {}", self.text), ..self }
    }

    /// Something that is not a setting's value is wrong.
    pub fn other(problem: impl fmt::Display) -> Self {
        ConfigError { text: problem.to_string(), value_of: None }
    }
}
