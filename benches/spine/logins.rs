//! How much of the hash pool's speed is left when every hash is a whole login.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bellhop::account::credentials::hasher::Hasher;
use tokio::task::JoinSet;

use crate::load::{self, Connection, median, millis};
use crate::node::{self, Node};
use crate::table::{Limit, Row};

const CLIENTS: [usize; 3] = [8, 32, 64];
const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(3);
/// Logins of one client, each beside a bare hash.
const PAIRS: usize = 300;

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let (db, _) = node::inhabit(dir.path(), 64).await?;
    let stored = stored(&db).await?;
    let (node, pool) = (Node::start(dir.path(), &[]).await?, node::pool(bellhop::config::HashKernel::Auto)?);
    let requests: Vec<Vec<u8>> = (0..64).map(|number| node::login(node.address, number)).collect();

    // both warm: the threads have their blocks, the connections their statements
    hashes(&pool, &stored, Duration::from_secs(1)).await?;
    load::rate(node.address, &requests, 200, Duration::from_secs(1)).await?;
    node::settled(&db).await?;

    let (mut ratios, mut rates, mut lags) = (vec![Vec::new(); 3], vec![Vec::new(); 3], vec![Vec::new(); 3]);
    let (mut costs, mut bare, mut bare_costs) = (vec![Vec::new(); 3], Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (at, clients) in CLIENTS.into_iter().enumerate() {
            // the baseline right before each: the machine may be shared
            let before = node::cpu("self")?;
            let hashes = hashes(&pool, &stored, TIME).await?;
            bare_costs.push(1_000.0 * (node::cpu("self")? - before) / (hashes * TIME.as_secs_f64()));
            let before = node.cpu()?;
            let logins = load::rate(node.address, requests.get(..clients).unwrap_or_default(), 200, TIME).await?;
            let lag = millis(node::settled(&db).await?);
            // each connection's first login is not in the rate, but it is in the processor's time
            #[expect(clippy::cast_precision_loss, reason = "at most 64")]
            let cost = 1_000.0 * (node.cpu()? - before) / logins.mul_add(TIME.as_secs_f64(), clients as f64);
            bare.push(hashes);
            for (all, one) in
                [(&mut ratios, logins / hashes), (&mut rates, logins), (&mut lags, lag), (&mut costs, cost)]
            {
                all.get_mut(at).into_iter().for_each(|all| all.push(one));
            }
        }
    }
    let mut rows = Vec::new();
    let (bare, bare_cost) = (median(&mut bare), median(&mut bare_costs));
    let figures = ratios.into_iter().zip(rates).zip(lags.into_iter().zip(costs));
    for (clients, ((mut ratios, mut rates), (mut lags, mut costs))) in CLIENTS.into_iter().zip(figures) {
        let (logins, lag, cost) = (median(&mut rates), median(&mut lags), median(&mut costs));
        rows.push(Row {
            what: format!("logins ÷ bare hashes, {clients} clients"),
            value: median(&mut ratios),
            unit: "",
            limit: Limit::AtLeast(0.9),
            detail: format!(
                "{logins:.0}/s, pool {bare:.0}/s; processor {cost:.1} ms a login with all that follows from it, \
                 {bare_cost:.1} ms a bare hash; log written {lag:.0} ms after the last; {ROUNDS} rounds of {} s",
                TIME.as_secs()
            ),
        });
    }
    rows.push(latency(&node, &pool, &stored, requests.first().map_or(&[][..], Vec::as_slice)).await?);
    Ok(rows)
}

async fn latency(node: &Node, pool: &Hasher, stored: &str, request: &[u8]) -> anyhow::Result<Row> {
    let mut connection = Connection::open(node.address).await?;
    let (mut logins, mut hashes) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let answer = connection.send(request).await?;
        ensure!(answer.status == 200, "the login answered {}", answer.status);
        logins.push(millis(answer.took));
        let start = Instant::now();
        pool.verify(node::password()?, Some(stored)).await?;
        hashes.push(millis(start.elapsed()));
    }
    let (login, hash) = (median(&mut logins), median(&mut hashes));
    Ok(Row {
        what: "p50 of a login − one hash".to_owned(),
        value: login - hash,
        unit: " ms",
        limit: Limit::AtMost(3.0),
        detail: format!("{login:.2} ms − {hash:.2} ms; {PAIRS} pairs, one client"),
    })
}

/// Hashes a second of the pool alone, with always somebody waiting.
async fn hashes(pool: &Hasher, stored: &str, time: Duration) -> anyhow::Result<f64> {
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (pool, stored) = (pool.clone(), stored.to_owned());
        clients.spawn(async move {
            let (start, mut hashes) = (Instant::now(), 0_u32);
            while start.elapsed() < time {
                let (verdict, _) = pool.verify(node::password()?, Some(&stored)).await?;
                ensure!(verdict.right, "the pool says that the password is wrong");
                hashes += 1;
            }
            Ok(f64::from(hashes) / start.elapsed().as_secs_f64())
        });
    }
    let mut rate = 0.0;
    while let Some(client) = clients.join_next().await {
        rate += client??;
    }
    Ok(rate)
}

pub async fn stored(db: &bellhop::db::Db) -> anyhow::Result<String> {
    let (stored,): (String,) = db.query("select password_hash from users limit 1").one().await?;
    Ok(stored)
}
