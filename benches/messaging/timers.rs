//! How late timers are of which a hundred a second are due, while a million wait for another day.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bellhop::app::App;
use bellhop::messaging::outbox;
use uuid::Uuid;

use crate::events;
use crate::latency::Listening;
use crate::load::{median, millis, percentile};
use crate::scheduled;
use crate::servers::Servers;
use crate::stack::build;
use crate::table::{Limit, Row};

const DUE: u32 = 2_000;
/// A hundred a second.
const STEP: Duration = Duration::from_millis(10);
/// The first is due when all are written and everything is connected.
const AHEAD: Duration = Duration::from_secs(5);
/// For those that are late.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let servers = Servers::start(&["postgres", "rabbitmq"])?;
    let mut rows = vec![of("SQLite", [&[], &[]]).await?];
    let (few, many) = (servers.database("few").await?, servers.database("many").await?);
    let brokers = [servers.vhost("few")?, servers.vhost("many")?];
    let settings = [
        [("DATABASE_URL", few.as_str()), ("BROKER_URL", &brokers[0])],
        [("DATABASE_URL", &many), ("BROKER_URL", &brokers[1])],
    ];
    rows.push(of("PostgreSQL + RabbitMQ", [&settings[0], &settings[1]]).await?);
    Ok(rows)
}

/// The second one has the million.
async fn of(name: &str, [few, many]: [&[(&str, &str)]; 2]) -> anyhow::Result<Row> {
    let (_few, without) = build(few).await?;
    let mut alone = late(&without).await?;
    without.close().await;
    let (_many, with) = build(many).await?;
    scheduled::fill(&with, many).await?;
    let mut among = late(&with).await?;
    with.close().await;
    let alone_p99 = percentile(&mut alone, 0.99);
    Ok(Row {
        what: format!("due → listener, p99, a hundred a second due of a million timers, {name}"),
        value: percentile(&mut among, 0.99),
        unit: " ms",
        limit: Limit::AtMost(250.0),
        detail: format!(
            "p50 {:.1} ms, the longest {:.1} ms of {DUE}; without the million p50 {:.1} ms, p99 {alone_p99:.1} ms",
            median(&mut among),
            percentile(&mut among, 1.0),
            median(&mut alone),
        ),
    })
}

/// How long after each was due its listener began, in milliseconds.
async fn late(app: &App) -> anyhow::Result<Vec<f64>> {
    let accounts = &app.accounts;
    let mut listening = Listening::start(app)?;
    let (start, now) = (Instant::now(), accounts.clock.now());
    let mut due: HashMap<Uuid, Instant> = HashMap::new();
    let mut tx = accounts.db.begin().await?;
    for number in 0..DUE {
        let after = AHEAD + STEP * number;
        let id = outbox::append_at(&mut tx, &accounts.clock, &events::login()?, now + after).await?;
        due.insert(id, start + after);
    }
    accounts.commit(tx).await?;
    ensure!(start.elapsed() < AHEAD, "the first was due before all were written");
    let mut times = Vec::new();
    let patience = AHEAD + STEP * DUE + PATIENCE;
    while !due.is_empty() {
        let next = tokio::time::timeout(patience.saturating_sub(start.elapsed()), listening.heard.recv()).await;
        ensure!(next.is_ok(), "{} of {DUE} did not come", due.len());
        let (id, began) = next?.context("nobody listens any more")?;
        times.extend(due.remove(&id).map(|due| millis(began.saturating_duration_since(due))));
    }
    listening.stop().await?;
    Ok(times)
}
