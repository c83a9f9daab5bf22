//! Where its data is.

use std::path::PathBuf;

use secrecy::SecretString;

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;

pub(super) const SECTION: Section = Section {
    title: "Data",
    settings: &[
        Setting::new("DATA_DIR", Fallback::Value("./data"), "SQLite file, mailbox, generated secret"),
        Setting::new(
            "DATABASE_URL",
            Fallback::Described("SQLite in the data directory"),
            "postgres://…; off this machine ?sslmode=verify-full unless the URL says otherwise",
        )
        .secret()
        .example("postgres://user:password@localhost:5432/bellhop"),
        Setting::new(
            "DATABASE_DIRECT_URL",
            Fallback::Described("DATABASE_URL"),
            "where DATABASE_URL leads to a pooler (PgBouncer, transaction mode): PostgreSQL itself, for migrations and LISTEN",
        )
        .secret()
        .example("postgres://user:password@localhost:5432/bellhop"),
        Setting::new("MIGRATE", Fallback::Value("true"), "whether serve brings the schema up to date: true or false"),
    ],
};

/// Where its data is.
#[derive(Clone, Debug)]
pub struct DataConfig {
    /// `BELLHOP_DATA_DIR`
    pub data_dir: PathBuf,
    /// `BELLHOP_DATABASE_URL`; none is `SQLite` in the data directory.
    pub database_url: Option<SecretString>,
    /// `BELLHOP_DATABASE_DIRECT_URL`; where there is one, the other leads to a pooler.
    pub database_direct_url: Option<SecretString>,
    /// `BELLHOP_MIGRATE`
    pub migrate: bool,
}

impl DataConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        Ok(DataConfig {
            data_dir: values.take("DATA_DIR")?,
            database_url: values.take_secret("DATABASE_URL"),
            database_direct_url: values.take_secret("DATABASE_DIRECT_URL"),
            migrate: values.take("MIGRATE")?,
        })
    }
}
