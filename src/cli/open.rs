//! The parts of a service that does not run, for a command that works on them.

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;

/// Opens what the settings name, does `work` with it and closes it again.
pub(super) async fn with_app(config: Config, work: impl AsyncFnOnce(&App) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let app = App::build_for_command(config, Clock::default()).await?;
    let done = work(&app).await;
    app.close().await;
    done
}

/// As [`with_app`], for work in the database alone: the broker is not looked for.
pub(super) async fn with_database(
    mut config: Config,
    work: impl AsyncFnOnce(&App) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    config.messaging.broker_url = None;
    with_app(config, work).await
}
