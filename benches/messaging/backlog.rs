//! What people who sign in notice of a backlog that is being carried out: hardly anything.

use std::num::TryFromIntError;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bellhop::clock::Clock;
use bellhop::db::{Db, Location};

use crate::events;
use crate::load;
use crate::node::{self, Node};
use crate::servers::Servers;
use crate::table::{Limit, Row};

const EVENTS: u32 = 100_000;
const CLIENTS: usize = 16;
const TIME: Duration = Duration::from_secs(4);
/// Such spans without a backlog, before it and after it.
const QUIET: usize = 6;
const PATIENCE: Duration = Duration::from_mins(15);

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let (db, _) = node::inhabit(dir.path(), CLIENTS).await?;
    let mut rows = vec![of("SQLite", dir.path(), db, &[]).await?];

    let servers = Servers::start(&["postgres", "rabbitmq"])?;
    let (database, broker) = (servers.database("bellhop").await?, servers.vhost("bellhop")?);
    let db = Db::open(&Location::Postgres(Box::new(database.parse()?)), 4).await?;
    node::populate(&db, CLIENTS).await?;
    let (dir, settings) = (tempfile::tempdir()?, [("DATABASE_URL", database.as_str()), ("BROKER_URL", &broker)]);
    rows.push(of("PostgreSQL + RabbitMQ", dir.path(), db, &settings).await?);
    Ok(rows)
}

async fn of(name: &str, dir: &Path, db: Db, settings: &[(&str, &str)]) -> anyhow::Result<Row> {
    let node = Node::start(dir, settings).await?;
    let requests: Vec<Vec<u8>> = (0..CLIENTS).map(|number| node::login(node.address, number)).collect();
    let logins = async || load::rate(node.address, &requests, 200, TIME).await;
    let quiet = async || {
        let mut rates = Vec::new();
        for _ in 0..QUIET {
            rates.push(logins().await?);
        }
        node::settled(&db).await?;
        anyhow::Ok(rates)
    };
    // warm
    logins().await?;
    node::settled(&db).await?;
    let mut without = quiet().await?;
    let mut tx = db.begin().await?;
    let written = events::write(&mut tx, &Clock::default(), EVENTS).await?;
    tx.commit().await?;
    let start = Instant::now();
    // on SQLite nobody hears another process: the relay looks once a second
    while events::logged(&db, written).await? == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut with = Vec::new();
    loop {
        let rate = logins().await?;
        // a span in which the backlog ended is neither with nor without
        if events::logged(&db, written).await? == EVENTS {
            break;
        }
        with.push(rate);
        ensure!(start.elapsed() < PATIENCE, "the backlog does not come to an end");
    }
    let drained = start.elapsed().as_secs_f64();
    ensure!(!with.is_empty(), "the backlog was gone before it could be noticed");
    node::settled(&db).await?;
    without.extend(quiet().await?);
    let mean =
        |rates: &[f64]| Ok::<_, TryFromIntError>(rates.iter().sum::<f64>() / f64::from(u32::try_from(rates.len())?));
    let (busy, idle) = (mean(&with)?, mean(&without)?);
    Ok(Row {
        what: format!("logins while a backlog is carried out ÷ without, {name}"),
        value: busy / idle,
        unit: "",
        limit: Limit::AtLeast(0.9),
        detail: format!(
            "{busy:.0}/s and {idle:.0}/s; {EVENTS} events beside them in {drained:.0} s; {CLIENTS} clients, {} and {} spans of 4 s",
            with.len(),
            without.len()
        ),
    })
}
