//! The program under measurement: the real one, in a process of its own, on a database with people in it.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bellhop::account::credentials::fair_queue::Client;
use bellhop::account::credentials::hasher::Cost;
use bellhop::account::credentials::hasher::Hasher;
use bellhop::account::credentials::policy::Password;
use bellhop::clock::Clock;
use bellhop::config::HashKernel;
use bellhop::db::{Db, Location};
use uuid::Uuid;

use crate::load::{self, Connection};

/// What the service hashes with unless it is told otherwise.
pub const COST: Cost = Cost { memory: 19_456, passes: 2 };
pub const PASSWORD: &str = "marble teapot kestrel orbit";

/// A running Bellhop; dropped, it is killed.
pub struct Node {
    child: Child,
    pub address: SocketAddr,
}

impl Node {
    /// Starts it on the data directory `dir` with these settings, and waits until it takes requests.
    pub async fn start(dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::fs::File::create(dir.join("log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_bellhop"))
            .env_clear()
            .env("BELLHOP_LISTEN", address.to_string())
            .env("BELLHOP_DATA_DIR", dir)
            .env("BELLHOP_LIMITS", "off")
            .envs(settings.iter().map(|(name, value)| (format!("BELLHOP_{name}"), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the program")?;
        let mut node = Node { child, address };
        let (start, ready) = (Instant::now(), load::get(address, "/readyz", None));
        loop {
            let asked = async { Connection::open(address).await?.send(&ready).await };
            if asked.await.is_ok_and(|answer| answer.status == 200) {
                return Ok(node);
            }
            ensure!(node.child.try_wait()?.is_none(), "the program ended; its log is {}", dir.join("log").display());
            ensure!(start.elapsed() < Duration::from_secs(30), "the program does not become ready");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A field of `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
    pub fn memory(&self, field: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).context("no such field")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Processor time that it has had, in seconds.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        cpu(&self.child.id().to_string())
    }

    /// Has the system forget the peak, so that the next `VmHWM` is that of what follows.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// Ends it as an operator would and waits.
    pub fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of a process in seconds; Linux counts it in hundredths.
pub fn cpu(process: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // the name may hold spaces: the fields are counted from behind it
    let (_, fields) = stat.rsplit_once(')').context("cannot read the process's times")?;
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(times.sum::<Result<f64, _>>()? / 100.0)
}

/// The pool alone, with a thread for each core as the service has it.
pub fn pool(kernel: HashKernel) -> anyhow::Result<Hasher> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Hasher::start(threads, 64 * threads.get(), COST, kernel)
}

pub fn password() -> anyhow::Result<Password> {
    Password::normalise(PASSWORD).map_err(|weakness| anyhow::anyhow!("{weakness:?}"))
}

/// Makes a database in `dir` with `people`, who all have [`PASSWORD`], and gives it back open.
pub async fn inhabit(dir: &Path, people: usize) -> anyhow::Result<(Db, Vec<Uuid>)> {
    let db = Db::open(&Location::Sqlite(dir.join("bellhop.sqlite")), 4).await?;
    let ids = populate(&db, people).await?;
    Ok((db, ids))
}

/// Brings the schema up to date and puts `people` in, who all have [`PASSWORD`].
pub async fn populate(db: &Db, people: usize) -> anyhow::Result<Vec<Uuid>> {
    db.migrate().await?;
    let hash = pool(HashKernel::Auto)?.hash(&Client::default(), password()?).await?;
    let clock = Clock::default();
    let mut tx = db.begin().await?;
    let mut ids = Vec::new();
    for number in 0..people {
        let (id, email) = (clock.new_id(), email(number));
        tx.query(
            "insert into users (id, email, email_canonical, name, password_hash, locale, created_at)
             values ($1, $2, $2, $3, $4, 'en', $5)",
        )
        .bind(id)
        .bind(email)
        .bind("Ann Example")
        .bind(hash.clone())
        .bind(clock.now())
        .execute()
        .await?;
        ids.push(id);
    }
    tx.commit().await?;
    Ok(ids)
}

/// The address of an inhabitant.
pub fn email(number: usize) -> String {
    format!("ann{number}@example.org")
}

/// The login of one of the inhabitants.
pub fn login(address: SocketAddr, number: usize) -> Vec<u8> {
    login_with(address, number, "")
}

/// As [`login`], with these lines of its head.
pub fn login_with(address: SocketAddr, number: usize, headers: &str) -> Vec<u8> {
    let person = serde_json::json!({ "email": email(number), "password": PASSWORD });
    load::post_with(address, "/api/v1/login", headers, &person)
}

/// Signs an inhabitant in and returns the cookie.
pub async fn cookie(address: SocketAddr, number: usize) -> anyhow::Result<String> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.send(&login(address, number)).await?;
    ensure!(answer.status == 200, "the login answered {}", answer.status);
    let cookie = connection.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    Ok(cookie.context("the login set no cookie")?.to_owned())
}

/// Waits until the listeners have done everything, so that it disturbs nothing that is measured next.
pub async fn settled(db: &Db) -> anyhow::Result<Duration> {
    let start = Instant::now();
    loop {
        let (left,): (i64,) = db
            .query(
                "select (select count(*) from outbox where published_at is null and due_at <= $1)
                      + (select count(*) from broker_message m join broker_queue q on q.name = m.queue
                         where q.kind in ('work', 'node'))",
            )
            .bind(Clock::default().now())
            .one()
            .await?;
        if left == 0 {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < Duration::from_mins(2), "{left} events are still not carried out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
