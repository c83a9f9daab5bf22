//! The data directory.

use std::os::unix::fs::DirBuilderExt as _;

use crate::config::{Config, ConfigError};

/// Hashes of passwords and the root key lie in it: nobody else on this machine may read it. It is made only where something
/// is kept in it: the database, the mails, or the key.
pub(super) fn create(config: &Config) -> Result<(), ConfigError> {
    let path = &config.data.data_dir;
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| ConfigError::new("DATA_DIR", format!("{}: {error}", path.display())))
}
