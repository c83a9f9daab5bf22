//! `migrate`: brings the database's schema up to date.

use super::output::{self, with_progress};
use crate::app;
use crate::config::Config;
use crate::progress::Progress;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let db = app::open_database(&config).await?;
    let progress = Progress::default();
    let done = with_progress("migrating", &progress, db.migrate_with(&progress)).await;
    let kind = db.kind();
    db.close().await;
    done?;
    output::write(&format!("the schema of the {kind} database is up to date\n"))
}
