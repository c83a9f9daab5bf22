//! How long after the commit the listener begins.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bellhop::app::{App, Parts};
use bellhop::listeners::login_log;
use bellhop::messaging::broker::Broker;
use bellhop::messaging::consumer::layers::transactional;
use bellhop::messaging::message::{Message, Outcome};
use bellhop::messaging::outbox;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::BoxError;
use uuid::Uuid;

use crate::events;
use crate::load::{millis, percentile};
use crate::servers::Servers;
use crate::stack::build;
use crate::table::{Limit, Row};

/// Longer than the relay's pace: each finds everybody asleep.
const LULL: Duration = Duration::from_millis(180);
const LONELY: u32 = 200;
/// Fifty a second.
const STEP: Duration = Duration::from_millis(20);
const STEADY: u32 = 750;
/// For what is still under way at the end.
const LATE: Duration = Duration::from_secs(10);

/// Which event, and when.
type Heard = (Uuid, Instant);

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let servers = Servers::start(&["postgres", "rabbitmq"])?;
    let (database, broker) = (servers.database("bellhop").await?, servers.vhost("bellhop")?);
    let mut rows = of("SQLite", &[]).await?;
    rows.extend(of("PostgreSQL + RabbitMQ", &[("DATABASE_URL", &database), ("BROKER_URL", &broker)]).await?);
    Ok(rows)
}

async fn of(name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Vec<Row>> {
    let (_dir, app) = build(settings).await?;
    let mut listening = Listening::start(&app)?;
    // the first goes when everything is connected
    send(&app, &mut listening.heard, 5, LULL).await?;
    let lonely = send(&app, &mut listening.heard, LONELY, LULL).await?;
    let steady = send(&app, &mut listening.heard, STEADY, STEP).await?;
    listening.stop().await?;
    app.close().await;
    let mut rows = tell(name, "after a lull", lonely);
    rows.extend(tell(name, "50 a second", steady));
    Ok(rows)
}

/// The relay at work, and a listener that only looks at the time.
pub struct Listening {
    pub heard: UnboundedReceiver<Heard>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Listening {
    pub fn start(app: &App) -> anyhow::Result<Self> {
        let (stop, (began, heard)) = (CancellationToken::new(), unbounded_channel());
        let mut running = JoinSet::new();
        let (db, notifier) = (app.accounts.db.clone(), app.accounts.notifier.clone());
        running.spawn({
            let stop = stop.clone();
            async move { notifier.exchange(db, stop).await }
        });
        if let Broker::Embedded(embedded) = &app.broker {
            running.spawn(embedded.clone().run(stop.clone()));
        }
        running.spawn(app.relay().run(stop.clone()));
        for mut consumer in app.consumers(&Parts::only(["listener:login-log"])?) {
            // the program's consumer and layers around it
            let began = began.clone();
            let listener = move |message: Arc<Message>| ready(note(&began, &message));
            consumer.listener = transactional(login_log::QUEUE, Duration::from_secs(30), listener);
            running.spawn(consumer.run(stop.clone()));
        }
        Ok(Listening { heard, stop, running })
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(done) = self.running.join_next().await {
            done?;
        }
        Ok(())
    }
}

fn note(began: &UnboundedSender<Heard>, message: &Message) -> Result<Outcome, BoxError> {
    began.send((message.id, Instant::now()))?;
    Ok(Outcome::Ack)
}

/// Writes logins down one at a time, one every `step`; how long after the commit of each its listener began, in milliseconds.
async fn send(app: &App, heard: &mut UnboundedReceiver<Heard>, count: u32, step: Duration) -> anyhow::Result<Vec<f64>> {
    let accounts = &app.accounts;
    let mut committed = HashMap::new();
    let mut ticks = tokio::time::interval(step);
    for _ in 0..count {
        ticks.tick().await;
        let mut tx = accounts.db.begin().await?;
        let id = outbox::append(&mut tx, &accounts.clock, &events::login()?).await?;
        // as Accounts::commit does it, but for the look at the time
        tx.commit().await?;
        committed.insert(id, Instant::now());
        accounts.notifier.signal_outbox();
    }
    let mut times = Vec::new();
    while !committed.is_empty() {
        let next = tokio::time::timeout(LATE, heard.recv()).await;
        ensure!(next.is_ok(), "{} of {count} did not come", committed.len());
        let (id, began) = next?.context("nobody listens any more")?;
        // PostgreSQL may tell others before it tells us
        times.extend(committed.remove(&id).map(|committed| millis(began.saturating_duration_since(committed))));
    }
    Ok(times)
}

fn tell(name: &str, when: &str, mut times: Vec<f64>) -> Vec<Row> {
    let longest = percentile(&mut times, 1.0);
    [(0.5, "p50", 5.0), (0.99, "p99", 50.0)]
        .into_iter()
        .map(|(share, title, aim)| Row {
            what: format!("commit → listener, {title}, {when}, {name}"),
            value: percentile(&mut times, share),
            unit: " ms",
            limit: Limit::AtMost(aim),
            detail: format!("{} events, the longest {longest:.1} ms", times.len()),
        })
        .collect()
}
