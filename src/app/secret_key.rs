//! The root secret: configured, or created once in the data directory.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::config::{self, Config, ConfigError};

/// The configured key, or the one in the data directory, created there the first time.
pub(super) fn load_or_create(config: &Config) -> anyhow::Result<SecretString> {
    if let Some(key) = &config.secrets.key {
        return Ok(key.clone());
    }
    let path = config.data.data_dir.join("secret.key");
    if !path.exists() {
        write_new_key(&path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let key = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let key = key.trim_end();
    config::check_key(key).map_err(|problem| ConfigError::other(format!("{}: the key {problem}", path.display())))?;
    Ok(SecretString::from(key))
}

/// Writes a draft and links it to `path`: a crash leaves a whole key or none, and two processes that start at once both
/// end up with the first one's.
fn write_new_key(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let key = URL_SAFE_NO_PAD.encode(bytes);
    // named at random: in containers process ids repeat, and a process that died may have left its draft
    let draft = path.with_extension(format!("key.{}", uuid::Uuid::new_v4().simple()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(key.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}
