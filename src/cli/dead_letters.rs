//! `dead-letters`: what was given up, and the way back for it.

use std::io::Write as _;

use anyhow::bail;
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::open::with_app;
use super::output::{self, Output, Table, instant, printable, with_progress};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::http::api::admin::DeadLetterDetails;
use crate::messaging::operator::{DeadLetter, DeadLetterFilter, Operator};
use crate::progress::Progress;

const COLUMNS: [&str; 7] = ["id", "queue", "type", "attempts", "first failed", "last failed", "reason"];

/// Messages that were given up.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// one line each, the latest first
    List {
        #[command(flatten)]
        of: Of,
        /// as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// all that is known of one
    Show {
        /// the event's id, as listed
        #[arg(long, value_name = "ID")]
        id: Uuid,
        #[command(flatten)]
        of: Of,
    },
    /// put them back into the queues they failed in; safe to repeat
    Redrive(Which),
    /// give them up for good; nothing brings them back
    Discard(Which),
}

#[derive(Clone, Debug, Args)]
pub(super) struct Of {
    /// only those of this queue
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    one: OneOrAll,
    #[command(flatten)]
    of: Of,
    /// those it was done to as a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct OneOrAll {
    /// the event's id, as listed
    #[arg(long, value_name = "ID")]
    id: Option<Uuid>,
    /// every one
    #[arg(long)]
    all: bool,
}

impl DeadLetters {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        with_app(config, async |app| {
            // RabbitMQ is connected to in the background
            app.depths().await?;
            match self {
                DeadLetters::List { of, json } => list(app, of, json).await,
                DeadLetters::Show { id, of } => show(app, id, of).await,
                DeadLetters::Redrive(which) => {
                    let redrive = async |operator: Operator, filter| operator.redrive(&filter).await;
                    decide(app, which, ["putting back", "put back"], redrive).await
                }
                DeadLetters::Discard(which) => {
                    let discard = async |operator: Operator, filter| operator.discard(&filter).await;
                    decide(app, which, ["discarding", "discarded"], discard).await
                }
            }
        })
        .await
    }
}

async fn list(app: &App, of: Of, json: bool) -> anyhow::Result<()> {
    let letters = app.operator().dead_letters(&DeadLetterFilter { queue: of.queue, id: None }).await?;
    let mut out = Output::new();
    if json {
        output::json(&mut out, letters.into_iter().map(DeadLetterDetails::from))?;
    } else {
        Table::new(COLUMNS).rows(&mut out, letters.iter().map(row).collect())?;
    }
    Ok(out.flush()?)
}

async fn show(app: &App, id: Uuid, of: Of) -> anyhow::Result<()> {
    let letters = app.operator().dead_letters(&DeadLetterFilter { queue: of.queue, id: Some(id) }).await?;
    there_is_one(&letters)?;
    let mut out = Output::new();
    for letter in &letters {
        for (name, value) in COLUMNS.into_iter().zip(row(letter)) {
            writeln!(out, "{name:<13} {value}")?;
        }
        let trace = letter.message.traceparent.as_deref().map_or_else(|| "-".to_owned(), printable);
        writeln!(out, "{:<13} {trace}", "trace")?;
        writeln!(out, "{:<13} {}", "body", printable(&String::from_utf8_lossy(&letter.message.body)))?;
    }
    Ok(out.flush()?)
}

async fn decide(
    app: &App,
    Which { one, of, json }: Which,
    [doing, done]: [&'static str; 2],
    work: impl AsyncFnOnce(Operator, DeadLetterFilter) -> anyhow::Result<Vec<DeadLetter>>,
) -> anyhow::Result<()> {
    let progress = Progress::default();
    let operator = Operator { progress: progress.clone(), ..app.operator() };
    let filter = DeadLetterFilter { queue: of.queue, id: one.id };
    let letters = with_progress(doing, &progress, work(operator, filter)).await?;
    if one.id.is_some() {
        there_is_one(&letters)?;
    }
    let mut out = Output::new();
    if json {
        output::json(&mut out, letters.into_iter().map(DeadLetterDetails::from))?;
    } else {
        for DeadLetter { queue, message } in &letters {
            writeln!(out, "{done}: {} ({}) {queue}", message.id, message.kind)?;
        }
        writeln!(out, "{} {done}", letters.len())?;
    }
    Ok(out.flush()?)
}

fn there_is_one(letters: &[DeadLetter]) -> anyhow::Result<()> {
    if letters.is_empty() {
        bail!("there is no such dead letter");
    }
    Ok(())
}

fn row(DeadLetter { queue, message }: &DeadLetter) -> [String; 7] {
    let failure = message.failure.as_ref();
    let at = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), instant);
    [
        message.id.to_string(),
        queue.clone(),
        printable(&message.kind),
        message.attempt.to_string(),
        at(failure.map(|failure| failure.first_at)),
        at(failure.map(|failure| failure.last_at)),
        failure.map_or_else(|| "-".to_owned(), |failure| printable(&failure.reason)),
    ]
}
