//! Resident memory of the program, at rest and under a rush, and how soon it is there.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bellhop::account::credentials::fair_queue::Client;
use bellhop::db::Db;
use tokio::task::JoinSet;

use crate::load::{self, Connection, median, millis, percentile};
use crate::logins;
use crate::node::{self, Node};
use crate::table::{Limit, Row};

/// How many come at once.
const RUSH: usize = 1_000;
const RUSHES: usize = 5;
const STARTS: usize = 15;
/// The hash threads give their blocks back after a minute; this is a little more.
const QUIET: Duration = Duration::from_secs(65);

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let (db, _) = node::inhabit(dir.path(), 64).await?;
    let mut rows = vec![start(dir.path()).await?];
    let node = Node::start(dir.path(), &[]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let fresh = mebibytes(&node, "VmRSS")?;
    rows.push(at_most("resident memory after the start", fresh, 30.0, "2 s after the first 200".to_owned()));

    let requests: Vec<Vec<u8>> = (0..8).map(|number| node::login(node.address, number)).collect();
    load::rate(node.address, &requests, 200, Duration::from_secs(5)).await?;
    // brings the lists of common passwords into memory
    let person = serde_json::json!({ "email": "bob@example.org", "password": node::PASSWORD, "name": "Bob Example" });
    let sign_up = load::post(node.address, "/api/v1/register", &person);
    load::rate(node.address, &[sign_up], 202, Duration::from_secs(2)).await?;
    let busy = mebibytes(&node, "VmRSS")?;
    rest(&db).await?;
    let rested = mebibytes(&node, "VmRSS")?;
    let detail = format!("{busy:.1} MiB while hashing on all threads; {} s later", QUIET.as_secs());
    rows.push(at_most("resident memory after logins, sign-ups and a quiet minute", rested, 30.0, detail));
    rows.extend(rush(&node, &db, rested).await?);

    rest(&db).await?;
    let detail = format!("{} s after the last of {RUSHES} rushes", QUIET.as_secs());
    rows.push(at_most("resident memory after the rush and a quiet minute", mebibytes(&node, "VmRSS")?, 30.0, detail));
    Ok(rows)
}

async fn rest(db: &Db) -> anyhow::Result<()> {
    node::settled(db).await?;
    tokio::time::sleep(QUIET).await;
    Ok(())
}

/// A thousand connections that each send a login at the same moment.
async fn rush(node: &Node, db: &Db, rested: f64) -> anyhow::Result<[Row; 2]> {
    let (mut peaks, mut ratios, mut refusals, mut refused) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let hash = one_hash(db).await?;
    for _ in 0..RUSHES {
        let mut connections = Vec::new();
        for number in 0..RUSH {
            connections.push((Connection::open(node.address).await?, node::login(node.address, number % 64)));
        }
        node.forget_peak()?;
        let mut clients = JoinSet::new();
        for (mut connection, request) in connections {
            clients.spawn(async move {
                let answer = connection.send(&request).await?;
                let told = connection.header("retry-after").is_some();
                anyhow::Ok((answer, told))
            });
        }
        let mut times = Vec::new();
        while let Some(client) = clients.join_next().await {
            let (answer, told) = client??;
            match answer.status {
                200 => {}
                503 => {
                    ensure!(told, "a 503 came without Retry-After");
                    times.push(millis(answer.took));
                }
                status => anyhow::bail!("a login in the rush answered {status}"),
            }
        }
        peaks.push(mebibytes(node, "VmHWM")?);
        refused += times.len();
        let slowest = percentile(&mut times, 0.99);
        ratios.push(slowest / hash);
        refusals.push(slowest);
        node::settled(db).await?;
    }
    let (peak, slowest) = (percentile(&mut peaks, 1.0), median(&mut refusals));
    let detail = format!("peak {peak:.1} MiB, the highest of {RUSHES}; idle {rested:.1} MiB");
    let rush = at_most("peak under 1,000 concurrent logins − idle", peak - rested, 80.0, detail);
    let refused = Row {
        what: "p99 of the 503s in that rush ÷ one hash".to_owned(),
        value: median(&mut ratios),
        unit: "",
        limit: Limit::None,
        detail: format!(
            "{slowest:.0} ms from sending to the answer, with Retry-After, one hash {hash:.1} ms; {} of {RUSH} a time",
            refused / RUSHES
        ),
    };
    Ok([rush, refused])
}

async fn one_hash(db: &Db) -> anyhow::Result<f64> {
    let (pool, stored) = (node::pool(bellhop::config::HashKernel::Auto)?, logins::stored(db).await?);
    let mut hashes = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        pool.verify(&Client::default(), node::password()?, Some(&stored)).await?;
        hashes.push(millis(start.elapsed()));
    }
    Ok(median(&mut hashes))
}

/// From the start of the process to the first 200 on `/readyz`, on a database that is there.
async fn start(dir: &Path) -> anyhow::Result<Row> {
    let mut times = Vec::new();
    for round in 0..=STARTS {
        let start = Instant::now();
        let node = Node::start(dir, &[]).await?;
        // the first start makes the secret
        if round > 0 {
            times.push(millis(start.elapsed()));
        }
        node.stop()?;
    }
    let slowest = percentile(&mut times, 1.0);
    Ok(Row {
        what: "start to the first 200 on /readyz".to_owned(),
        value: median(&mut times),
        unit: " ms",
        limit: Limit::AtMost(150.0),
        detail: format!("median of {STARTS} starts, the slowest {slowest:.0} ms"),
    })
}

fn mebibytes(node: &Node, field: &str) -> anyhow::Result<f64> {
    Ok(node.memory(field).context("cannot read the memory")? / 1_024.0)
}

fn at_most(what: &str, value: f64, limit: f64, detail: String) -> Row {
    Row { what: what.to_owned(), value, unit: " MiB", limit: Limit::AtMost(limit), detail }
}
