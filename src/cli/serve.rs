//! `serve`: the service, or parts of it, until a signal ends it.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output;
use super::settings::ShownFlags;
use crate::app::{App, Parts, Sockets};
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;

/// What is run.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Only {
    /// run only web, relay, listeners or listener:<queue>; repeatable [everything]
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
}

impl Only {
    pub(super) fn is_given(&self) -> bool {
        !self.only.is_empty()
    }
}

/// The service.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    _shown: ShownFlags,
}

impl Serve {
    pub(super) fn only(only: Only) -> Self {
        Serve { only, ..Serve::default() }
    }

    /// With what was named before the command too.
    pub(super) fn and(mut self, before: Only) -> Self {
        self.only.only.extend(before.only);
        self
    }

    pub(super) async fn run(self, mut config: Config) -> anyhow::Result<()> {
        let parts = Parts::only(self.only.only.iter().map(String::as_str))?;
        let stop = stop_on_signal()?;
        // the usual 1,024 are kept low for programs that cannot handle more; with fewer than it would like it works as well
        if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
        // before anything is opened or printed
        let sockets = Sockets::bind(&mut config, &parts)?;
        let app = App::build(config, Clock::default()).await?;
        let title = format!("Bellhop {}", env!("CARGO_PKG_VERSION"));
        let lines = telemetry::start_lines(app.config.log.format, &title, &app.describe(&parts));
        // nobody is served the better by a service that does not start because these lines cannot be read
        if let Err(error) = output::write(&lines) {
            tracing::debug!(%error, "cannot say on standard output what has started");
        }
        app.run(parts, sockets, stop).await
    }
}

/// Stops at the first SIGTERM or SIGINT; the second ends the process at once.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // a limit of the size of files (SIGXFSZ) is an error of the write and not the end; once asked for, a signal stays ours
    drop(signal(SignalKind::from_raw(25))?);
    let told = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the process, there is nothing to wait for")]
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
        next().await;
        told.cancel();
        next().await;
        std::process::exit(130);
    });
    Ok(stop)
}
