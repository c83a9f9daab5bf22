//! The program's parts, run in this process: what is due is rung for here, as it is in a program that does everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bellhop::app::{App, Parts, Sockets};
use bellhop::clock::Clock;
use bellhop::config::Config;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::{self, Written};

/// How long a round may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Builds the program with its default settings and these, on a data directory of its own.
pub async fn build(settings: &[(&str, &str)]) -> anyhow::Result<(TempDir, App)> {
    let dir = tempfile::tempdir()?;
    let mut flags: BTreeMap<String, String> =
        settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    flags.insert("DATA_DIR".to_owned(), dir.path().display().to_string());
    let app = App::build(Config::from_sources(flags, [])?, Clock::default()).await?;
    Ok((dir, app))
}

/// The relay and the listener of the login log, at work.
pub struct Stack {
    app: App,
    stop: CancellationToken,
    running: JoinSet<anyhow::Result<()>>,
    _dir: TempDir,
}

impl Stack {
    /// Starts them and waits until a first event has gone all the way.
    pub async fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (dir, app) = build(settings).await?;
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        running.spawn(app.clone().run(Parts::only(["relay", "listener:login-log"])?, Sockets::default(), stop.clone()));
        let stack = Stack { app, stop, running, _dir: dir };
        stack.rate(2_000).await?;
        Ok(stack)
    }

    /// Makes this many logins due at once; rows of the log a second, from the commit to the last row.
    pub async fn rate(&self, count: u32) -> anyhow::Result<f64> {
        let accounts = &self.app.accounts;
        let mut tx = accounts.db.begin().await?;
        let written: Written = events::write(&mut tx, &accounts.clock, count).await?;
        accounts.commit(tx).await?;
        let start = Instant::now();
        events::all_logged(&accounts.db, written, PATIENCE).await?;
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(done) = self.running.join_next().await {
            done??;
        }
        Ok(())
    }
}
