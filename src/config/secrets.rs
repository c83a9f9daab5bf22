//! What signs links.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret as _, SecretString};

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;

pub(super) const SECTION: Section = Section {
    title: "Secrets",
    settings: &[Setting::new(
        "SECRET_KEY",
        Fallback::Described("made once in the data directory"),
        "signs links, at least 32 characters",
    )
    .secret()
    .example("64 characters of: openssl rand -hex 32")],
};

/// What signs links.
#[derive(Clone, Debug)]
pub struct SecretsConfig {
    /// `BELLHOP_SECRET_KEY`; none is one made once in the data directory.
    pub key: Option<SecretString>,
}

impl SecretsConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        let key = values.take_secret("SECRET_KEY");
        if let Some(key) = &key {
            check_key(key.expose_secret()).map_err(|problem| ConfigError::new("SECRET_KEY", problem))?;
        }
        Ok(SecretsConfig { key })
    }
}

/// Refuses keys that a person could guess: short ones, those of few different characters, and placeholders.
///
/// # Errors
/// What is wrong with the key and how to make a good one; never the key.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    let distinct: BTreeSet<u8> = key.bytes().collect();
    let lower = key.to_lowercase();
    if key.len() < 32 {
        Err("is shorter than 32 characters; make one with: openssl rand -hex 32")
    } else if distinct.len() < 8 {
        Err("has too few different characters; make one with: openssl rand -hex 32")
    } else if ["example", "changeme", "change-me", "password", "insecure", "0123456789abcdef0123"]
        .iter()
        .any(|word| lower.contains(word))
    {
        Err("looks like a placeholder; make one with: openssl rand -hex 32")
    } else {
        Ok(())
    }
}
