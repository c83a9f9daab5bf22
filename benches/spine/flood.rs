//! How much longer a login takes from elsewhere while a flood comes from one network, in hashes: the time of one while
//! every core hashes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bellhop::config::HashKernel;
use tokio::task::JoinSet;

use crate::load::{self, Connection, median, millis, percentile};
use crate::node::{self, Node};
use crate::table::{Limit, Row};
use crate::{hashes, logins};

const ROUNDS: usize = 5;
/// Logins of each person in a round, without the flood and in it.
const LOGINS: usize = 100;
/// Twice as many as have a place on two cores. Who is sent away comes again after a pause, without the second that is
/// asked for: that is four times what two cores hash.
const CLIENTS: u32 = 256;
const PAUSE: Duration = Duration::from_millis(100);
/// /64s of one /48.
const NETWORKS: u32 = 10_000;

/// Who signs in.
struct Person {
    what: &'static str,
    request: Vec<u8>,
    /// One per round, in milliseconds.
    quiet: Vec<f64>,
    flooded: Vec<f64>,
}

#[derive(Default)]
struct Flood {
    ends: AtomicBool,
    tries: AtomicU32,
    compared: AtomicU32,
    sent_away: AtomicU32,
}

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let (db, _) = node::inhabit(dir.path(), 3).await?;
    let (node, pool) =
        (Node::start(dir.path(), &[("TRUSTED_PROXIES", "127.0.0.1/32")]).await?, node::pool(HashKernel::Auto)?);
    let mut people = [
        Person::new(node.address, 0, "from elsewhere", "198.51.100.7", false).await?,
        Person::new(node.address, 1, "from elsewhere, with a device cookie", "203.0.113.7", true).await?,
        Person::new(node.address, 2, "from the same network, with a device cookie", "2001:db8:7:1::7", true).await?,
    ];
    let stored = logins::stored(&db).await?;
    let mut rates = Vec::new();
    let (mut compared, mut sent_away, mut lasted) = (0, 0, Duration::ZERO);
    for round in 0..=ROUNDS {
        rates.push(hashes::rate(&pool, &stored, Duration::from_secs(2)).await?);
        for person in &mut people {
            let p99 = person.sign_in(node.address).await?;
            person.quiet.push(p99);
        }
        node::settled(&db).await?;
        let flood = Arc::new(Flood::default());
        let start = Instant::now();
        let mut clients = flood.begin(node.address).await?;
        for person in &mut people {
            let p99 = person.sign_in(node.address).await?;
            person.flooded.push(p99);
        }
        flood.ends.store(true, Ordering::Relaxed);
        while let Some(client) = clients.join_next().await {
            client??;
        }
        compared += flood.compared.load(Ordering::Relaxed);
        sent_away += flood.sent_away.load(Ordering::Relaxed);
        lasted += start.elapsed();
        node::settled(&db).await?;
        // the first round warms up
        if round == 0 {
            for person in &mut people {
                (person.quiet, person.flooded) = Default::default();
            }
        }
    }
    let cores = f64::from(u32::try_from(available_parallelism()?.get())?);
    let hash = 1_000.0 * cores / median(&mut rates);
    let tries = f64::from(compared + sent_away);
    let share = f64::from(sent_away) / tries;
    let mut rows: Vec<Row> = people.into_iter().map(|person| person.row(hash)).collect();
    rows.push(Row {
        what: "share of that flood that is sent away".to_owned(),
        value: share,
        unit: "",
        limit: Limit::None,
        detail: format!("{:.0} tries/s of {CLIENTS} clients, 503 with Retry-After", tries / lasted.as_secs_f64()),
    });
    Ok(rows)
}

impl Person {
    /// Signs in once, so that nothing about it is unusual later.
    async fn new(
        address: SocketAddr,
        number: usize,
        what: &'static str,
        ip: &str,
        is_known: bool,
    ) -> anyhow::Result<Self> {
        let mut headers = format!("X-Forwarded-For: {ip}\r\n");
        let mut connection = Connection::open(address).await?;
        let answer = connection.send(&node::login_with(address, number, &headers)).await?;
        ensure!(answer.status == 200, "the login answered {}", answer.status);
        if is_known {
            let cookies = connection.headers("set-cookie").filter_map(|cookie| cookie.split(';').next());
            let device = cookies.last().filter(|cookie| cookie.contains("device")).context("no device cookie")?;
            headers = format!("{headers}Cookie: {device}\r\n");
        }
        Ok(Person {
            what,
            request: node::login_with(address, number, &headers),
            quiet: Vec::new(),
            flooded: Vec::new(),
        })
    }

    /// The p99 of some logins, one after the other.
    async fn sign_in(&self, address: SocketAddr) -> anyhow::Result<f64> {
        let mut connection = Connection::open(address).await?;
        let mut times = Vec::new();
        for _ in 0..LOGINS {
            let answer = connection.send(&self.request).await?;
            ensure!(answer.status == 200, "a login {} answered {}", self.what, answer.status);
            times.push(millis(answer.took));
        }
        Ok(percentile(&mut times, 0.99))
    }

    fn row(mut self, hash: f64) -> Row {
        let mut delays: Vec<f64> =
            self.flooded.iter().zip(&self.quiet).map(|(with, without)| (with - without) / hash).collect();
        Row {
            what: format!("p99 of a login in a flood from one /48 − without, {}", self.what),
            value: median(&mut delays),
            unit: " hashes",
            limit: Limit::AtMost(2.0),
            detail: format!(
                "{:.1} ms and {:.1} ms, a hash on all cores {hash:.1} ms; {ROUNDS} rounds of {LOGINS}",
                median(&mut self.flooded),
                median(&mut self.quiet)
            ),
        }
    }
}

impl Flood {
    /// Returns when the first are sent away.
    async fn begin(self: &Arc<Self>, address: SocketAddr) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (flood, connection) = (Arc::clone(self), Connection::open(address).await?);
            clients.spawn(async move { flood.come(address, connection).await });
        }
        while self.sent_away.load(Ordering::Relaxed) < CLIENTS / 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(clients)
    }

    async fn come(&self, address: SocketAddr, mut connection: Connection) -> anyhow::Result<()> {
        while !self.ends.load(Ordering::Relaxed) {
            let try_ = self.tries.fetch_add(1, Ordering::Relaxed);
            let headers = format!("X-Forwarded-For: 2001:db8:7:{:x}::1\r\n", try_ % NETWORKS);
            let nobody =
                serde_json::json!({ "email": format!("nobody{try_}@example.org"), "password": node::PASSWORD });
            match connection.send(&load::post_with(address, "/api/v1/login", &headers, &nobody)).await?.status {
                401 => _ = self.compared.fetch_add(1, Ordering::Relaxed),
                503 => {
                    ensure!(connection.header("retry-after").is_some(), "a 503 came without Retry-After");
                    self.sent_away.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
                status => anyhow::bail!("the flood was answered {status}"),
            }
        }
        Ok(())
    }
}
