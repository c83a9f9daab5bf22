//! What people who sign in notice of a backlog that is being carried out: hardly anything.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bellhop::clock::Clock;
use bellhop::db::{Db, Location};

use crate::events;
use crate::load::{self, median};
use crate::node::{self, Node};
use crate::servers::Servers;
use crate::table::{Limit, Row};

const ROUNDS: usize = 2;
const EVENTS: u32 = 100_000;
const CLIENTS: usize = 16;
const TIME: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_mins(4);

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
    // warm
    logins().await?;
    node::settled(&db).await?;
    let (mut ratios, mut with, mut without, mut drains) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = logins().await?;
        node::settled(&db).await?;
        let clock = Clock::default();
        let mut tx = db.begin().await?;
        let written = events::write(&mut tx, &clock, EVENTS).await?;
        tx.notify(bellhop::messaging::outbox::CHANNEL).await?;
        tx.commit().await?;
        let start = Instant::now();
        // on SQLite nobody hears another process: the relay looks once a second
        while events::logged(&db, written).await? == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut during = Vec::new();
        loop {
            let rate = logins().await?;
            // a span in which the backlog ended is neither with nor without
            if events::logged(&db, written).await? == EVENTS {
                break;
            }
            during.push(rate);
            ensure!(start.elapsed() < PATIENCE, "the backlog does not come to an end");
        }
        drains.push(start.elapsed().as_secs_f64());
        node::settled(&db).await?;
        let after = logins().await?;
        node::settled(&db).await?;
        ensure!(!during.is_empty(), "the backlog was gone before it could be noticed");
        let spans = u32::try_from(during.len())?;
        let (busy, quiet) = (during.iter().sum::<f64>() / f64::from(spans), f64::midpoint(before, after));
        ratios.push(busy / quiet);
        with.push(busy);
        without.push(quiet);
    }
    Ok(Row {
        what: format!("logins while a backlog is carried out ÷ without, {name}"),
        value: median(&mut ratios),
        unit: "",
        limit: Limit::AtLeast(0.9),
        detail: format!(
            "{:.0}/s and {:.0}/s; {EVENTS} events, gone in about {:.0} s; {CLIENTS} clients, {ROUNDS} rounds",
            median(&mut with),
            median(&mut without),
            median(&mut drains)
        ),
    })
}
