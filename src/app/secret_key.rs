//! The root secret: configured, or created once in the data directory; and the database that it belongs to.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use super::data_dir;
use crate::account::credentials::key_claim;
use crate::account::credentials::keys::Keys;
use crate::config::{self, Config, ConfigError};
use crate::db::Db;

/// How often the file is looked for again when others create and remove it meanwhile.
const ATTEMPTS: usize = 10;

/// The key of this process, held against the one that the database belongs to: with two, the links that one process
/// writes are refused by another.
pub(super) async fn load_for(config: &Config, db: &Db) -> anyhow::Result<Keys> {
    let keys = match configured(config)? {
        Some(key) => Keys::new(&key),
        // a new one would not be the one that it belongs to
        None if key_claim::is_claimed(db).await? => return Err(foreign(config).into()),
        None => Keys::new(&create(config)?),
    };
    if key_claim::claim(db, &keys).await? { Ok(keys) } else { Err(foreign(config).into()) }
}

/// Whether the key that is there is one, before anything is created.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    configured(config).map(drop)
}

/// The key of a command that signs nothing: a file that is missing is not created for it.
pub(super) fn load_for_command(config: &Config) -> anyhow::Result<Keys> {
    let key = configured(config)?.map_or_else(new_key, Ok)?;
    Ok(Keys::new(&key))
}

/// Makes the configured key the database's.
pub(super) async fn adopt(config: &Config, db: &Db) -> anyhow::Result<()> {
    let key = configured(config)?.map_or_else(|| create(config), Ok)?;
    key_claim::replace(db, &Keys::new(&key)).await
}

fn foreign(config: &Config) -> ConfigError {
    let ours = match &config.secrets.key {
        Some(_) => "this is another".to_owned(),
        None => format!("{} is missing or holds another", path(config).display()),
    };
    ConfigError::new(
        "SECRET_KEY",
        format!(
            "must be the key that this database belongs to, and {ours}: give every process the same one, that of the \
             first process or its secret.key; to change it on purpose, once: bellhop secrets adopt (the links in mails \
             that are under way stop working)"
        ),
    )
}

fn path(config: &Config) -> PathBuf {
    config.data.data_dir.join("secret.key")
}

/// The key in the settings, or in the file.
fn configured(config: &Config) -> anyhow::Result<Option<SecretString>> {
    match &config.secrets.key {
        Some(key) => Ok(Some(key.clone())),
        None => read(&path(config)),
    }
}

fn create(config: &Config) -> anyhow::Result<SecretString> {
    data_dir::create(config)?;
    create_at(&path(config))
}

/// The key in this file; none if there is none, or if whoever created it has not written it.
fn read(path: &Path) -> anyhow::Result<Option<SecretString>> {
    let key = match std::fs::read_to_string(path) {
        Ok(key) if key.is_empty() => return Ok(None),
        Ok(key) => key,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let key = key.trim_end();
    config::check_key(key).map_err(|problem| ConfigError::other(format!("{}: the key {problem}", path.display())))?;
    Ok(Some(SecretString::from(key)))
}

/// Creates the file, in one step that only one of several processes can take, and without a second name, which not every
/// file system allows. All end up with the same key.
fn create_at(path: &Path) -> anyhow::Result<SecretString> {
    for _ in 0..ATTEMPTS {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let done = match created {
            Ok(file) => write_key(&file).inspect_err(|_| {
                let _ = std::fs::remove_file(path);
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => remove_leftover(path),
            Err(error) => Err(error.into()),
        };
        done.with_context(|| format!("cannot write {}", path.display()))?;
    }
    bail!("cannot write {}: others remove it again and again", path.display())
}

/// What is written is read again by its path: somebody may have taken it for a leftover.
fn write_key(mut file: &File) -> anyhow::Result<()> {
    // where files cannot be locked, nobody but a process that starts at the very same moment is to be kept out
    let _ = file.lock();
    file.write_all(new_key()?.expose_secret().as_bytes())?;
    Ok(file.sync_all()?)
}

/// Waits for whoever is writing the file. One that is empty even so was left by a process that died over it.
fn remove_leftover(path: &Path) -> anyhow::Result<()> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    let _ = file.lock();
    if file.metadata()?.len() == 0 && read(path)?.is_none() {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn new_key() -> anyhow::Result<SecretString> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// F61, F63: it was made by a hard link, which not every file system knows, from a draft that a full disk left behind.
    #[test]
    fn all_who_create_it_at_once_have_the_same_and_nothing_else_is_left() {
        for round in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("secret.key");
            if round % 2 == 1 {
                // what a process leaves that is killed at the worst moment
                File::create(&path).unwrap();
            }
            let keys: BTreeSet<String> = std::thread::scope(|scope| {
                let creating: Vec<_> = (0..8).map(|_| scope.spawn(|| create_at(&path).unwrap())).collect();
                creating.into_iter().map(|one| one.join().unwrap().expose_secret().to_owned()).collect()
            });
            assert_eq!(keys.len(), 1);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
            assert_eq!(read(&path).unwrap().unwrap().expose_secret(), keys.first().unwrap());
        }
    }

    #[test]
    fn a_file_of_somebody_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        std::fs::write(&path, "short").unwrap();
        assert!(create_at(&path).unwrap_err().to_string().contains("32 characters"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short");
    }
}
