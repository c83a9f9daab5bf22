//! What a million events that are not due yet cost the relay: nothing, for it never looks at them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bellhop::app::App;
use bellhop::db::Sql;
use bellhop::messaging::outbox::OutboxEvent as _;
use sqlx::{Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

use crate::events;
use crate::load::median;
use crate::servers::Servers;
use crate::stack::build;
use crate::table::{Limit, Row};

const ROUNDS: usize = 7;
const EVENTS: u32 = 10_000;
/// So many statements of 50,000 rows, each due on another day.
const DAYS: u32 = 20;

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let servers = Servers::start(&["postgres"])?;
    let (empty, full) = (servers.database("few").await?, servers.database("many").await?);
    let mut rows = vec![of("SQLite", &[], &[]).await?];
    rows.push(of("PostgreSQL", &[("DATABASE_URL", &empty)], &[("DATABASE_URL", &full)]).await?);
    Ok(rows)
}

async fn of(name: &str, empty: &[(&str, &str)], full: &[(&str, &str)]) -> anyhow::Result<Row> {
    let ((_empty, without), (_full, with)) = (build(empty).await?, build(full).await?);
    fill(&with, full).await?;
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let base = rate(&without).await?;
        let rate = rate(&with).await?;
        // the first round warms up
        if round > 0 {
            ratios.push(rate / base);
            ours.push(rate);
            theirs.push(base);
        }
    }
    without.close().await;
    with.close().await;
    Ok(Row {
        what: format!("the relay with a million events of the future ÷ without, {name}"),
        value: median(&mut ratios),
        unit: "",
        limit: Limit::AtLeast(0.8),
        detail: format!(
            "{:.0}/s and {:.0}/s into a queue in the database; {ROUNDS} rounds of {EVENTS}",
            median(&mut ours),
            median(&mut theirs)
        ),
    })
}

/// Writes a million events of the future into the outbox of a program with these settings.
pub async fn fill(app: &App, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    schedule(app).await?;
    // a server tidies up in the background, so that is done before
    if let Some((_, url)) = settings.iter().find(|(name, _)| *name == "DATABASE_URL") {
        let mut connection = PgConnection::connect(url).await?;
        connection.execute("vacuum analyze outbox").await?;
        connection.execute("checkpoint").await?;
        connection.close().await?;
    }
    Ok(())
}

async fn schedule(app: &App) -> anyhow::Result<()> {
    let (db, now) = (&app.accounts.db, app.accounts.clock.now());
    let body = events::login()?.body(Uuid::nil(), now);
    for day in 1..=DAYS {
        let mut tx = db.begin().await?;
        tx.query(Sql {
            sqlite: "with recursive numbers (number) as (
                       select 1 union all select number + 1 from numbers where number < 50000)
                     insert into outbox (id, type, body, created_at, due_at, attempts)
                     select randomblob(16), 'login.succeeded', $1, $2, $3, 0 from numbers",
            postgres: "insert into outbox (id, type, body, created_at, due_at, attempts)
                       select gen_random_uuid(), 'login.succeeded', $1, $2, $3, 0 from generate_series(1, 50000)",
        })
        .bind(body.clone())
        .bind(now)
        .bind(now + Duration::from_hours(24) * day)
        .execute()
        .await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Events a second that the relay puts into their queue, with nobody behind it.
async fn rate(app: &App) -> anyhow::Result<f64> {
    let accounts = &app.accounts;
    let mut tx = accounts.db.begin().await?;
    events::write(&mut tx, &accounts.clock, EVENTS).await?;
    tx.commit().await?;
    let (relay, mut carried) = (app.relay(), 0);
    let start = Instant::now();
    while carried < EVENTS {
        let batch = relay.drain_batch().await?;
        ensure!(batch.published > 0, "the relay stopped after {carried} events");
        carried += u32::try_from(batch.published)?;
    }
    let rate = f64::from(EVENTS) / start.elapsed().as_secs_f64();
    // what nobody consumes is not to grow from round to round
    let mut tx = accounts.db.begin().await?;
    tx.query("delete from broker_message").execute().await?;
    tx.commit().await?;
    Ok(rate)
}
