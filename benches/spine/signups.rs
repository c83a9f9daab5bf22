//! What a slow or absent mail server, or an absent broker, costs a person who signs up or asks for a new password: nothing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bellhop::db::{Db, Location};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::load::{self, Connection, median, millis, percentile};
use crate::node::{self, Node};
use crate::servers::Servers;
use crate::sink;
use crate::table::{Limit, Row};

const CLIENTS: u32 = 2;
const ROUNDS: usize = 6;
/// Of one condition in one round. They come in blocks, the conditions in turn.
const SAMPLES: u32 = 320;
const BLOCK: u32 = 40;
/// Between the blocks.
const PAUSE: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_secs(2);
/// Those who forget their passwords.
const FORGETFUL: usize = 2_000;

/// What people do, of which a mail comes.
struct Deed {
    what: &'static str,
    /// Who has an account before.
    people: usize,
    /// By the next of them.
    request: fn(SocketAddr, u32) -> Vec<u8>,
}

/// A Bellhop under one condition.
struct Case {
    name: &'static str,
    request: fn(SocketAddr, u32) -> Vec<u8>,
    node: Node,
    _dir: TempDir,
    done: u32,
    /// One per round, in milliseconds.
    p99: Vec<f64>,
    p50: Vec<f64>,
}

pub async fn sign_ups(servers: &Handle) -> anyhow::Result<Vec<Row>> {
    let request = |address, number| {
        let email = format!("bob{number}@example.org");
        let person = serde_json::json!({ "email": email, "password": node::PASSWORD, "name": "Bob Example" });
        load::post(address, "/api/v1/register", &person)
    };
    measure(servers, Deed { what: "sign-up", people: 0, request }).await
}

pub async fn resets(servers: &Handle) -> anyhow::Result<Vec<Row>> {
    let request = |address, number: u32| {
        let email = node::email(number as usize % FORGETFUL);
        load::post(address, "/api/v1/forgot", &serde_json::json!({ "email": email }))
    };
    measure(servers, Deed { what: "reset", people: FORGETFUL, request }).await
}

async fn measure(servers: &Handle, deed: Deed) -> anyhow::Result<Vec<Row>> {
    let fast = format!("smtp://{}?tls=none", sink::start(servers, Duration::ZERO)?);
    let slow = format!("smtp://{}?tls=none", sink::start(servers, SLOW)?);
    let refusing = format!("smtp://{}?tls=none", sink::nobody()?);
    let mails = [("fast mail", fast.as_str()), ("mail server takes 2 s", &slow), ("mail server refuses", &refusing)];

    let mut cases = Vec::new();
    for (name, url) in mails {
        cases.push(deed.under(name, &[("SMTP_URL", url)]).await?);
    }
    let mut rows = compare(deed.what, "SQLite", cases).await?;

    let servers = Servers::start(&["postgres", "rabbitmq"])?;
    let mut cases = Vec::new();
    for (place, (name, url)) in ["a", "b", "c"].into_iter().zip(mails) {
        let (database, broker) = (servers.database(place).await?, servers.vhost(place)?);
        cases.push(deed.under(name, &[("SMTP_URL", url), ("DATABASE_URL", &database), ("BROKER_URL", &broker)]).await?);
    }
    let (database, broker) = (servers.database("d").await?, format!("amqp://guest:guest@{}", sink::nobody()?));
    cases.push(
        deed.under("RabbitMQ down", &[("SMTP_URL", &fast), ("DATABASE_URL", &database), ("BROKER_URL", &broker)])
            .await?,
    );
    rows.extend(compare(deed.what, "PostgreSQL + RabbitMQ", cases).await?);
    Ok(rows)
}

impl Deed {
    async fn under(&self, name: &'static str, settings: &[(&str, &str)]) -> anyhow::Result<Case> {
        let dir = tempfile::tempdir()?;
        if self.people > 0 {
            let database = settings.iter().find(|(name, _)| *name == "DATABASE_URL");
            let location = match database {
                Some((_, url)) => Location::Postgres(Box::new(url.parse()?)),
                None => Location::Sqlite(dir.path().join("bellhop.sqlite")),
            };
            node::populate(&Db::open(&location, 4).await?, self.people).await?;
        }
        let node = Node::start(dir.path(), settings).await?;
        Ok(Case { name, request: self.request, node, _dir: dir, done: 0, p99: Vec::new(), p50: Vec::new() })
    }
}

/// The first case is the one that the others are held against.
async fn compare(what: &str, stack: &str, mut cases: Vec<Case>) -> anyhow::Result<Vec<Row>> {
    for case in &mut cases {
        case.block(BLOCK).await?;
    }
    for _ in 0..ROUNDS {
        let mut times = vec![Vec::new(); cases.len()];
        for block in 0..SAMPLES / BLOCK {
            let mut turns: Vec<_> = cases.iter_mut().zip(&mut times).collect();
            // there and back again: nobody is always behind the same neighbour
            if block % 2 == 1 {
                turns.reverse();
            }
            for (case, times) in turns {
                times.extend(case.block(BLOCK).await?);
                // what this block left to be done in the background is not the next one's
                tokio::time::sleep(PAUSE).await;
            }
        }
        for (case, mut times) in cases.iter_mut().zip(times) {
            case.p99.push(percentile(&mut times, 0.99));
            case.p50.push(median(&mut times));
        }
    }
    let mut cases = cases.into_iter();
    let base = cases.next().context("there is nothing to compare")?;
    let mut rows = Vec::new();
    for mut case in cases {
        let mut ratios: Vec<f64> = case.p99.iter().zip(&base.p99).map(|(ours, base)| ours / base).collect();
        let (p50, p99) = (median(&mut case.p50), median(&mut case.p99));
        let (base50, base99) = (median(&mut base.p50.clone()), median(&mut base.p99.clone()));
        rows.push(Row {
            what: format!("{what} p99, {} ÷ {}, {stack}", case.name, base.name),
            value: median(&mut ratios),
            unit: "",
            limit: Limit::AtMost(1.1),
            detail: format!(
                "p99 {p99:.1} ÷ {base99:.1} ms, p50 {p50:.1} and {base50:.1} ms; {ROUNDS} rounds of {SAMPLES}, {CLIENTS} clients"
            ),
        });
    }
    Ok(rows)
}

impl Case {
    /// So many do it; how long each waited for the answer, in milliseconds.
    async fn block(&mut self, people: u32) -> anyhow::Result<Vec<f64>> {
        let first = self.done;
        self.done += people;
        let (address, request) = (self.node.address, self.request);
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut times = Vec::new();
                for number in (first + client..first + people).step_by(CLIENTS as usize) {
                    let answer = connection.send(&request(address, number)).await?;
                    ensure!(answer.status == 202, "one was answered {}", answer.status);
                    times.push(millis(answer.took));
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(client) = clients.join_next().await {
            times.extend(client??);
        }
        Ok(times)
    }
}
