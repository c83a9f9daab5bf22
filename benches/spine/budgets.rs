//! What it costs a login that its budgets are looked up: two programs in turn, one of which counts nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bellhop::db::{Db, Location};
use tempfile::TempDir;

use crate::load::{self, median};
use crate::node::{self, Node};
use crate::servers::Servers;
use crate::table::{Limit, Row};

const CLIENTS: usize = 32;
/// Where each client signs in from, in turn: more than one, because a network may sign in once a second, whatever its
/// budgets.
const NETWORKS: usize = 24;
const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(3);
/// Messages that a database cannot count are given this time.
const PAUSE: Duration = Duration::from_secs(1);

/// Looked up, and never used up.
const WIDE: [(&str, &str); 5] = [
    ("LIMIT_LOGIN_PAIR", "1000000/1h"),
    ("LIMIT_LOGIN_ACCOUNT", "1000000/1h"),
    ("LIMIT_LOGIN_DEVICE", "1000000/1h"),
    ("LIMIT_LOGIN_NETWORK", "1000000/1h"),
    ("LIMIT_LOGIN_ALL", "1000000/1h"),
];

struct Program {
    node: Node,
    db: Db,
    _dir: TempDir,
}

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let mut programs = Vec::new();
    for limits in ["off", "on"] {
        let dir = tempfile::tempdir()?;
        let location = Location::Sqlite(dir.path().join("bellhop.sqlite"));
        programs.push(Program::start(dir, &location, limits, &[]).await?);
    }
    let mut rows = vec![compare("SQLite", &programs).await?];
    drop(programs);

    let servers = Servers::start(&["postgres", "rabbitmq"])?;
    let mut programs = Vec::new();
    for limits in ["off", "on"] {
        let name = format!("limits_{limits}");
        let (database, broker) = (servers.database(&name).await?, servers.vhost(&name)?);
        let location = Location::Postgres(Box::new(database.parse()?));
        let settings = [("DATABASE_URL", database.as_str()), ("BROKER_URL", &broker)];
        programs.push(Program::start(tempfile::tempdir()?, &location, limits, &settings).await?);
    }
    rows.push(compare("PostgreSQL + RabbitMQ", &programs).await?);
    Ok(rows)
}

/// The first is the one that counts nothing.
async fn compare(stack: &str, programs: &[Program]) -> anyhow::Result<Row> {
    let mut rates = vec![Vec::new(); programs.len()];
    for round in 0..=ROUNDS {
        let mut turns: Vec<_> = programs.iter().zip(&mut rates).collect();
        // there and back again: nobody is always behind the same neighbour
        if round % 2 == 1 {
            turns.reverse();
        }
        for (program, rates) in turns {
            let rate = program.rate().await?;
            // the first round warms up
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let [without, with] = rates.as_mut_slice() else { anyhow::bail!("there are two to compare") };
    let mut ratios: Vec<f64> = with.iter().zip(&*without).map(|(with, without)| with / without).collect();
    Ok(Row {
        what: format!("logins with budgets ÷ without, {CLIENTS} clients, {stack}"),
        value: median(&mut ratios),
        unit: "",
        limit: Limit::AtLeast(0.97),
        detail: format!(
            "{:.0}/s and {:.0}/s; all right; {ROUNDS} rounds of {} s",
            median(with),
            median(without),
            TIME.as_secs()
        ),
    })
}

impl Program {
    async fn start(
        dir: TempDir,
        location: &Location,
        limits: &'static str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let db = Db::open(location, 4).await?;
        node::populate(&db, CLIENTS).await?;
        let own = [("LIMITS", limits), ("TRUSTED_PROXIES", "127.0.0.1/32")];
        let settings: Vec<(&str, &str)> = [settings, own.as_slice(), WIDE.as_slice()].concat();
        let node = Node::start(dir.path(), &settings).await?;
        let program = Program { node, db, _dir: dir };
        program.know_everybody().await?;
        Ok(program)
    }

    /// Each signs in from everywhere once, so that nothing is unusual about it later.
    async fn know_everybody(&self) -> anyhow::Result<()> {
        for network in 0..NETWORKS {
            let requests: Vec<Vec<u8>> = (0..CLIENTS).map(|client| login(self.node.address, client, network)).collect();
            load::rate(self.node.address, &requests, 200, Duration::ZERO).await?;
        }
        self.settled().await
    }

    async fn rate(&self) -> anyhow::Result<f64> {
        let (address, turn) = (self.node.address, Arc::new(AtomicUsize::new(0)));
        let next = move |client| login(address, client, turn.fetch_add(1, Ordering::Relaxed) / CLIENTS % NETWORKS);
        let rate = load::rate_of(address, CLIENTS, next, 200, TIME).await?;
        self.settled().await?;
        Ok(rate)
    }

    async fn settled(&self) -> anyhow::Result<()> {
        node::settled(&self.db).await?;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

fn login(address: SocketAddr, client: usize, network: usize) -> Vec<u8> {
    node::login_with(address, client, &format!("X-Forwarded-For: 10.{client}.{network}.1\r\n"))
}
