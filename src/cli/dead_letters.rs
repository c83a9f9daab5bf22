//! `dead-letters`: what was given up, and the way back for it.

use std::io::Write as _;

use anyhow::bail;
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::open::with_app;
use super::output::{self, Output, Table, instant, printable, with_progress};
use crate::account::user;
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::event::{self, Event, Received};
use crate::http::api::admin::DeadLetterDetails;
use crate::listeners::LISTENERS;
use crate::messaging::operator::{DeadLetter, DeadLetterFilter, Operator};
use crate::messaging::outbox;
use crate::progress::Progress;

const COLUMNS: [&str; 8] = ["id", "queue", "type", "attempts", "first failed", "last failed", "done since", "reason"];

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
    /// those that have been done since
    #[arg(long)]
    done: bool,
}

impl DeadLetters {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let work = with_app(config, async |app| {
            // RabbitMQ is connected to in the background
            app.depths().await?;
            match self {
                DeadLetters::List { of, json } => list(app, of, json).await,
                DeadLetters::Show { id, of } => show(app, id, of).await,
                DeadLetters::Redrive(which) => {
                    let redrive = async |operator: Operator, filter| operator.redrive(&filter).await;
                    Box::pin(decide(app, which, ["putting back", "put back"], redrive)).await
                }
                DeadLetters::Discard(which) => {
                    let discard = async |operator: Operator, filter| operator.discard(&filter).await;
                    Box::pin(decide(app, which, ["discarding", "discarded"], discard)).await
                }
            }
        });
        Box::pin(work).await
    }
}

async fn list(app: &App, of: Of, json: bool) -> anyhow::Result<()> {
    let letters =
        app.operator().dead_letters(&DeadLetterFilter { queue: of.queue, ..DeadLetterFilter::default() }).await?;
    let mut out = Output::new();
    if json {
        output::json(&mut out, letters.into_iter().map(DeadLetterDetails::from))?;
    } else {
        Table::new(COLUMNS).rows(&mut out, letters.iter().map(row).collect())?;
    }
    Ok(out.flush()?)
}

async fn show(app: &App, id: Uuid, of: Of) -> anyhow::Result<()> {
    let letters = app
        .operator()
        .dead_letters(&DeadLetterFilter { queue: of.queue, id: Some(id), ..DeadLetterFilter::default() })
        .await?;
    there_is_one(&letters)?;
    let mut out = Output::new();
    for letter in &letters {
        for (name, value) in COLUMNS.into_iter().zip(row(letter)) {
            writeln!(out, "{name:<13} {value}")?;
        }
        let whose = whose(app, letter).await?;
        writeln!(out, "{:<13} {}", "whose", whose.as_deref().map_or_else(|| "-".to_owned(), printable))?;
        let listener = LISTENERS.iter().find(|listener| listener.queue == letter.queue);
        writeln!(out, "{:<13} {}", "what", listener.map_or("-", |listener| listener.purpose))?;
        let trace = letter.message.traceparent.as_deref().map_or_else(|| "-".to_owned(), printable);
        writeln!(out, "{:<13} {trace}", "trace")?;
        writeln!(out, "{:<13} {}", "body", printable(&String::from_utf8_lossy(&letter.message.body)))?;
    }
    Ok(out.flush()?)
}

/// The address of whom it is about, if that can be told: of a registration that waits, of the user that it has become, or of a user.
async fn whose(app: &App, letter: &DeadLetter) -> anyhow::Result<Option<String>> {
    let db = &app.accounts.db;
    let received = event::decode(letter.message.id, &letter.message.body).ok();
    let Some(subject) = received.and_then(|received| received.event.subject()) else { return Ok(None) };
    if let Some(address) = user::address_of(db, subject).await? {
        return Ok(Some(address));
    }
    for (id, body) in outbox::naming(db, "user.confirmed", subject).await? {
        if let Ok(Received { event: Event::UserConfirmed { user, registration, .. }, .. }) =
            event::decode(id, body.as_bytes())
            && registration == subject
        {
            return Ok(user::address_of(db, user).await?);
        }
    }
    Ok(None)
}

async fn decide(
    app: &App,
    Which { one, of, json }: Which,
    [doing, done]: [&'static str; 2],
    work: impl AsyncFnOnce(Operator, DeadLetterFilter) -> anyhow::Result<Vec<DeadLetter>>,
) -> anyhow::Result<()> {
    let progress = Progress::default();
    let operator = Operator { progress: progress.clone(), ..app.operator() };
    let filter = DeadLetterFilter { queue: of.queue, id: one.id, done: one.done };
    let letters = with_progress(doing, &progress, work(operator, filter)).await?;
    if one.id.is_some() {
        there_is_one(&letters)?;
    }
    let mut out = Output::new();
    if json {
        output::json(&mut out, letters.into_iter().map(DeadLetterDetails::from))?;
    } else {
        for DeadLetter { queue, message, .. } in &letters {
            writeln!(out, "{done}: {} ({}) {queue}", message.id, printable(&message.kind))?;
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

fn row(DeadLetter { queue, message, done_at }: &DeadLetter) -> [String; 8] {
    let failure = message.failure.as_ref();
    let at = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), instant);
    [
        message.id.to_string(),
        queue.clone(),
        printable(&message.kind),
        message.attempt.to_string(),
        at(failure.map(|failure| failure.first_at)),
        at(failure.map(|failure| failure.last_at)),
        at(*done_at),
        failure.map_or_else(|| "-".to_owned(), |failure| printable(&failure.reason)),
    ]
}
