//! How much of the hash pool's speed is left when every hash is a whole login, and of logins when it is a whole sign-up.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use bellhop::account::credentials::fair_queue::Client;
use bellhop::account::credentials::hasher::Hasher;
use bellhop::config::HashKernel;
use bellhop::db::{Db, Location};

use crate::hashes;
use crate::load::{self, Connection, median, millis};
use crate::node::{self, Node};
use crate::servers::Servers;
use crate::table::{Limit, Row};

const CLIENTS: [usize; 3] = [8, 32, 64];
const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(3);
/// Logins of one client, each beside a bare hash.
const PAIRS: usize = 300;

/// A Bellhop with its database, and what a hash alone does beside it.
struct Stack {
    name: &'static str,
    /// What logins must reach of bare hashes.
    floor: f64,
    node: Node,
    db: Db,
    pool: Hasher,
    stored: String,
    requests: Vec<Vec<u8>>,
    signed_up: Arc<AtomicU32>,
    /// Messages that a database cannot count are given this time.
    pause: Duration,
    /// The names of the processes that serve it, beside the program's.
    servers: &'static [&'static str],
}

/// Some seconds of logins, right after as many of bare hashes.
struct Round {
    /// A second.
    hashes: f64,
    /// Logins a second.
    rate: f64,
    /// Milliseconds until all that follows is done.
    lag: f64,
    /// Milliseconds of the processor for one login, as [`Stack::processes`].
    costs: Vec<f64>,
}

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let (db, _) = node::inhabit(dir.path(), 64).await?;
    let sqlite = Stack::start("SQLite", 0.9, dir.path(), db, &[], &[]).await?;
    let mut rows = sqlite.logins().await?;
    rows.push(sqlite.latency().await?);
    rows.push(sqlite.sign_ups().await?);
    drop(sqlite);

    let (dir, servers) = (tempfile::tempdir()?, Servers::start(&["postgres", "rabbitmq"])?);
    let (database, broker) = (servers.database("logins").await?, servers.vhost("logins")?);
    let db = Db::open(&Location::Postgres(Box::new(database.parse()?)), 4).await?;
    node::populate(&db, 64).await?;
    let settings = [("DATABASE_URL", database.as_str()), ("BROKER_URL", &broker)];
    let beside = &["postgres", "beam.smp"];
    let postgres = Stack::start("PostgreSQL + RabbitMQ", 0.85, dir.path(), db, &settings, beside).await?;
    rows.extend(postgres.logins().await?);
    rows.push(postgres.sign_ups().await?);
    Ok(rows)
}

impl Stack {
    async fn start(
        name: &'static str,
        floor: f64,
        dir: &Path,
        db: Db,
        settings: &[(&str, &str)],
        servers: &'static [&'static str],
    ) -> anyhow::Result<Self> {
        let pause = if servers.is_empty() { Duration::ZERO } else { Duration::from_secs(1) };
        let (node, pool) = (Node::start(dir, settings).await?, node::pool(HashKernel::Auto)?);
        let (stored, address) = (stored(&db).await?, node.address);
        let requests = (0..64).map(|number| node::login(address, number)).collect();
        let stack = Stack { name, floor, node, db, pool, stored, requests, signed_up: Arc::default(), pause, servers };
        // both warm: the threads have their memory, the connections their statements
        hashes::rate(&stack.pool, &stack.stored, Duration::from_secs(1)).await?;
        load::rate(address, &stack.requests, 200, Duration::from_secs(1)).await?;
        stack.settled().await?;
        Ok(stack)
    }

    async fn settled(&self) -> anyhow::Result<Duration> {
        let lag = node::settled(&self.db).await?;
        tokio::time::sleep(self.pause).await;
        Ok(lag)
    }

    async fn logins(&self) -> anyhow::Result<Vec<Row>> {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        let (mut bare, mut bare_costs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (clients, rounds) in CLIENTS.into_iter().zip(&mut rounds) {
                // the baseline right before each: the machine may be shared
                let before = node::cpu("self")?;
                let hashes = hashes::rate(&self.pool, &self.stored, TIME).await?;
                bare_costs.push(1_000.0 * (node::cpu("self")? - before) / (hashes * TIME.as_secs_f64()));
                rounds.push(self.round(clients, hashes).await?);
                bare.push(hashes);
            }
        }
        let (bare, bare_cost) = (median(&mut bare), median(&mut bare_costs));
        let row = |(clients, rounds): (usize, Vec<Round>)| {
            let all = |of: &dyn Fn(&Round) -> f64| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
            let others = self.processes().enumerate().skip(1).fold(String::new(), |text, (at, name)| {
                let cost = all(&|round| round.costs.get(at).copied().unwrap_or_default());
                text + &format!(", {name} {cost:.2} ms")
            });
            Row {
                what: format!("logins ÷ bare hashes, {clients} clients, {}", self.name),
                value: all(&|round| round.rate / round.hashes),
                unit: "",
                limit: Limit::AtLeast(self.floor),
                detail: format!(
                    "{:.0}/s, pool {bare:.0}/s; processor {:.2} ms a login with all that follows from it{others}; \
                     {bare_cost:.2} ms a bare hash; outbox empty {:.0} ms after the last; {ROUNDS} rounds of {} s",
                    all(&|round| round.rate),
                    all(&|round| round.costs.first().copied().unwrap_or_default()),
                    all(&|round| round.lag),
                    TIME.as_secs()
                ),
            }
        };
        Ok(CLIENTS.into_iter().zip(rounds).map(row).collect())
    }

    /// Who works for a login, the program first.
    fn processes(&self) -> impl Iterator<Item = &'static str> {
        ["the program", "the load"].into_iter().chain(self.servers.iter().copied())
    }

    /// Processor time that each of them has had, in seconds.
    fn cpu(&self) -> anyhow::Result<Vec<f64>> {
        let beside = self.servers.iter().map(|name| cpu_of(name));
        [self.node.cpu(), node::cpu("self")].into_iter().chain(beside).collect()
    }

    async fn round(&self, clients: usize, hashes: f64) -> anyhow::Result<Round> {
        let before = self.cpu()?;
        let requests = self.requests.get(..clients).unwrap_or_default();
        let rate = load::rate(self.node.address, requests, 200, TIME).await?;
        let lag = millis(self.settled().await?);
        // each connection's first login is not in the rate, but it is in the processor's time
        #[expect(clippy::cast_precision_loss, reason = "at most 64")]
        let logins = rate.mul_add(TIME.as_secs_f64(), clients as f64);
        let costs = self.cpu()?.iter().zip(before).map(|(now, before)| 1_000.0 * (now - before) / logins).collect();
        Ok(Round { hashes, rate, lag, costs })
    }

    async fn latency(&self) -> anyhow::Result<Row> {
        let mut connection = Connection::open(self.node.address).await?;
        let (mut logins, mut hashes) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            let answer = connection.send(self.requests.first().map_or(&[], Vec::as_slice)).await?;
            ensure!(answer.status == 200, "the login answered {}", answer.status);
            logins.push(millis(answer.took));
            let start = Instant::now();
            self.pool.verify(&Client::default(), node::password()?, Some(&self.stored)).await?;
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

    /// Both have one hash. Each sign-up is of somebody else.
    async fn sign_ups(&self) -> anyhow::Result<Row> {
        let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let logins = load::rate(self.node.address, self.requests.get(..8).unwrap_or_default(), 200, TIME).await?;
            self.settled().await?;
            let (address, signed_up) = (self.node.address, Arc::clone(&self.signed_up));
            let next = move |_| sign_up(address, signed_up.fetch_add(1, Ordering::Relaxed));
            let sign_ups = load::rate_of(address, 8, next, 202, TIME).await?;
            self.settled().await?;
            // the first round brings the lists of common passwords into memory
            if round > 0 {
                ratios.push(sign_ups / logins);
                ours.push(sign_ups);
                theirs.push(logins);
            }
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        Ok(Row {
            what: format!("sign-ups ÷ logins, 8 clients, {}", self.name),
            value: median(&mut ratios),
            unit: "",
            limit: Limit::AtLeast(0.85),
            detail: format!(
                "{ours:.0}/s, logins {theirs:.0}/s; mails into the mailbox; {ROUNDS} rounds of {} s",
                TIME.as_secs()
            ),
        })
    }
}

fn sign_up(address: SocketAddr, number: u32) -> Vec<u8> {
    let email = format!("bob{number}@example.org");
    let person = serde_json::json!({ "email": email, "password": node::PASSWORD, "name": "Bob Example" });
    load::post(address, "/api/v1/register", &person)
}

pub async fn stored(db: &Db) -> anyhow::Result<String> {
    let (stored,): (String,) = db.query("select password_hash from users limit 1").one().await?;
    Ok(stored)
}

/// Processor time in seconds that every process of this name has had; nobody else runs such on a machine that is measured on.
fn cpu_of(name: &str) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir("/proc")? {
        let process = entry?.file_name().to_string_lossy().into_owned();
        let is_named = |comm: String| comm.trim_end() == name;
        if std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(is_named) {
            // one that has ended since is none of those that serve
            sum += node::cpu(&process).unwrap_or_default();
        }
    }
    Ok(sum)
}
