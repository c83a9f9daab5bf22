//! `queues`: how each queue fares.

use std::io::Write as _;

use anyhow::bail;
use clap::Args;

use super::open::with_app;
use super::output::{self, Output, Table, age};
use crate::app::App;
use crate::config::Config;
use crate::http::api::admin::QueueStats;
use crate::messaging::broker::BrokerHealth;
use crate::messaging::operator::QueueState;

pub(super) const AFTER_HELP: &str = "Exit codes: 0 the broker is well; 1 it is away, or degraded.";

/// How each queue fares.
#[derive(Clone, Debug, Args)]
pub(super) struct Queues {
    /// as a JSON array
    #[arg(long)]
    json: bool,
}

impl Queues {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        with_app(config, async |app| self.show(app).await).await
    }

    async fn show(self, app: &App) -> anyhow::Result<()> {
        app.depths().await?;
        let queues = app.operator().queues().await?;
        let mut out = Output::new();
        if self.json {
            output::json(&mut out, queues.into_iter().map(QueueStats::from))?;
        } else {
            let head = ["queue", "depth", "unacked", "waiting", "dead", "oldest", "consumers", "rate"];
            let now = app.accounts.clock.now();
            let rows = queues.into_iter().map(|state| {
                let QueueState { queue, depth, unacked, waiting, dead, oldest, consumers, rate } = state;
                let oldest = oldest.map_or_else(|| "-".to_owned(), |at| age(now - at));
                let [depth, unacked, waiting, dead, consumers] =
                    [depth, unacked, waiting, dead, consumers].map(|number| number.to_string());
                [queue, depth, unacked, waiting, dead, oldest, consumers, format!("{rate}/min")]
            });
            Table::new(head).rows(&mut out, rows.collect())?;
        }
        out.flush()?;
        // as a step of a set-up it must not pass for done
        match app.broker.health().await {
            BrokerHealth::Up => Ok(()),
            BrokerHealth::Degraded(reason) => bail!("{reason}"),
        }
    }
}
