//! `queues`: how each queue fares, what is on its way to them, and no more waiting for what failed.

use std::io::Write as _;

use anyhow::bail;
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::open::with_app;
use super::output::{self, Output, Table, age, printable, with_progress};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::http::api::admin::{OutboxStats, QueueStats};
use crate::messaging::broker::BrokerHealth;
use crate::messaging::operator::{Operator, OutboxState, QueueState};
use crate::progress::Progress;

pub(super) const AFTER_HELP: &str = "\
With queues in the database, consumers are those that gave a sign of life within the last two minutes: one whose process was
killed counts until then.

Exit codes: 0 the broker is well; 1 it is away, or degraded.";

const COLUMNS: [&str; 9] = ["queue", "depth", "unacked", "waiting", "until", "dead", "oldest", "consumers", "rate"];

/// How each queue fares.
#[derive(Clone, Debug, Args)]
pub(super) struct Queues {
    #[command(subcommand)]
    command: Option<Command>,
    /// as a JSON array
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// what waits for another attempt goes back to its queue at once, and waits as long again if it fails; safe to repeat
    RetryNow(RetryNow),
}

#[derive(Clone, Debug, Args)]
struct RetryNow {
    /// of this queue alone [all]
    #[arg(value_name = "QUEUE")]
    queue: Option<String>,
}

/// A row of the list as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Queue(QueueStats),
    Outbox {
        queue: &'static str,
        #[serde(flatten)]
        stats: OutboxStats,
    },
}

/// How many messages of a queue wait no longer.
#[derive(Serialize)]
struct Hurried {
    queue: String,
    messages: usize,
}

impl Queues {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let work = with_app(config, async |app| match self.command {
            None => show(app, self.json).await,
            Some(Command::RetryNow(RetryNow { queue })) => Box::pin(retry_now(app, queue, self.json)).await,
        });
        Box::pin(work).await
    }
}

async fn show(app: &App, json: bool) -> anyhow::Result<()> {
    app.broker_is_known().await;
    let operator = app.operator();
    let (queues, outbox) = (operator.queues().await?, operator.outbox().await?);
    let mut out = Output::new();
    if json {
        let queues = queues.into_iter().map(|state| Row::Queue(state.into()));
        let outbox = Row::Outbox { queue: "outbox", stats: outbox.into() };
        output::json(&mut out, queues.chain([outbox]))?;
    } else {
        let now = app.accounts.clock.now();
        let rows = queues.into_iter().map(|state| queue_row(state, now)).chain([outbox_row(&outbox, now)]);
        Table::new(COLUMNS).rows(&mut out, rows.collect())?;
    }
    out.flush()?;
    // as a step of a set-up it must not pass for done
    match app.broker.health().await {
        BrokerHealth::Up => Ok(()),
        BrokerHealth::Degraded(reason) => bail!("{reason}"),
    }
}

/// What there is nothing to say about.
fn none() -> String {
    "-".to_owned()
}

fn queue_row(state: QueueState, now: Timestamp) -> [String; 9] {
    let QueueState { queue, depth, unacked, waiting, next_retry, last_retry, dead, oldest, consumers, rate } = state;
    let [depth, unacked, consumers] =
        [depth, unacked, consumers].map(|known| known.map_or_else(none, |number| number.to_string()));
    let until = next_retry.zip(last_retry).map_or_else(none, |(next, last)| span(next - now, last - now));
    let oldest = oldest.map_or_else(none, |at| age(now - at));
    [queue, depth, unacked, waiting.to_string(), until, dead.to_string(), oldest, consumers, format!("{rate}/min")]
}

/// The outbox has as depth what waits for the broker, and as waiting what is to happen later.
fn outbox_row(outbox: &OutboxState, now: Timestamp) -> [String; 9] {
    let until = outbox.next.map_or_else(none, |next| age(next - now));
    let oldest = outbox.oldest.map_or_else(none, |at| age(now - at));
    let [depth, later] = [outbox.waiting, outbox.later].map(|number| number.to_string());
    ["outbox".to_owned(), depth, none(), later, until, none(), oldest, none(), none()]
}

/// From the first to the last of what comes again.
fn span(next: TimeDelta, last: TimeDelta) -> String {
    let (next, last) = (age(next), age(last));
    if next == last { next } else { format!("{next}-{last}") }
}

async fn retry_now(app: &App, queue: Option<String>, json: bool) -> anyhow::Result<()> {
    app.depths().await?;
    let progress = Progress::default();
    let operator = Operator { progress: progress.clone(), ..app.operator() };
    let hurried = with_progress("back in their queues:", &progress, Box::pin(operator.retry_now(queue))).await?;
    let mut out = Output::new();
    if json {
        output::json(&mut out, hurried.into_iter().map(|(queue, messages)| Hurried { queue, messages }))?;
    } else {
        for (queue, messages) in hurried {
            writeln!(out, "{}: {messages} back in their queue", printable(&queue))?;
        }
    }
    Ok(out.flush()?)
}
