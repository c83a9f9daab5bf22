//! Pages that stay open: what one costs, and how soon it is told.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bellhop::account::credentials::token::Token;
use bellhop::clock::Clock;
use bellhop::db::Db;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::{self, Connection, median, percentile};
use crate::node::{self, Node};
use crate::table::{Limit, Row};

/// Pages that wait at a time.
const PAGES: usize = 1_000;
/// Opened and closed before.
const WARM: usize = 20;
/// Mails are asked for at this pace, one for each page.
const PAUSE: Duration = Duration::from_millis(20);

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let (db, _) = node::inhabit(dir.path(), 1).await?;
    let cookies = register(&db).await?;
    // the mailbox takes each mail at once
    let node = Node::start(dir.path(), &[]).await?;
    // what comes into memory with the first few is not what one costs
    drop(open_all(&node, cookies.get(..WARM).unwrap_or_default()).await?);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = node.memory("VmRSS")?;
    let pages = open_all(&node, &cookies).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = node.memory("VmRSS")?;
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let each = (after - before) / PAGES as f64;
    let memory = Row {
        what: "resident memory per waiting browser".to_owned(),
        value: each,
        unit: " KiB",
        limit: Limit::AtMost(24.0),
        detail: format!(
            "{PAGES} open streams; {:.1} MiB before them, {:.1} with them",
            before / 1_024.0,
            after / 1_024.0
        ),
    };
    Ok(vec![memory, told(&node, &cookies, pages).await?])
}

/// Registrations whose mail is queued for good: nobody was told of them. The cookies of their browsers.
async fn register(db: &Db) -> anyhow::Result<Vec<String>> {
    let clock = Clock::default();
    let (mut tx, mut cookies) = (db.begin().await?, Vec::new());
    for number in 0..PAGES {
        let token = Token::new()?;
        tx.query(
            "insert into registrations
               (id, email, email_canonical, name, password_hash, locale, browser_hash, created_at, expires_at, delivery)
             values ($1, $2, $2, 'Ann Example', '', 'en', $3, $4, $5, 'queued')",
        )
        .bind(Uuid::new_v4())
        .bind(format!("waiting{number}@example.org"))
        .bind(token.hash().to_vec())
        .bind(clock.now())
        .bind(clock.now() + Duration::from_hours(72))
        .execute()
        .await?;
        cookies.push(format!("bellhop-reg={}", token.reveal()));
    }
    tx.commit().await?;
    Ok(cookies)
}

/// A page that waits, as its browser sees it.
struct Page {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Page {
    async fn open(node: &Node, cookie: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(node.address).await?;
        let mut page = Page { stream, read: Vec::with_capacity(2_048) };
        page.stream.write_all(&load::get(node.address, "/register/sent/events", Some(cookie))).await?;
        page.state("queued").await?;
        Ok(page)
    }

    /// Waits for a status: what it says.
    async fn state(&mut self, state: &str) -> anyhow::Result<Value> {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
                if let Ok(said) = serde_json::from_str::<Value>(line)
                    && said.get("state").is_some_and(|told| told == state)
                {
                    self.read.clear();
                    return Ok(said);
                }
            }
            ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the stream ended: {text}");
        }
    }
}

async fn open_all(node: &Node, cookies: &[String]) -> anyhow::Result<Vec<Page>> {
    let mut pages = Vec::new();
    for cookie in cookies {
        pages.push(Page::open(node, cookie).await?);
    }
    Ok(pages)
}

/// From when a mail was handed over, by its row, to when its page has it.
async fn told(node: &Node, cookies: &[String], pages: Vec<Page>) -> anyhow::Result<Row> {
    let (clock, mut waiting) = (Clock::default(), JoinSet::new());
    for mut page in pages {
        let clock = clock.clone();
        waiting.spawn(async move {
            let said = page.state("sent").await?;
            let now = clock.now();
            let at = said.get("at").and_then(Value::as_str).context("a time")?.parse::<bellhop::clock::Timestamp>()?;
            anyhow::Ok((now - at).to_std().unwrap_or_default())
        });
    }
    let mut connection = Connection::open(node.address).await?;
    let since = Instant::now();
    for cookie in cookies {
        let body = "{}";
        let request = format!(
            "POST /api/v1/register/resend HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            node.address,
            body.len()
        );
        let answer = connection.send(request.as_bytes()).await?;
        ensure!(answer.status == 202, "asking for a mail answered {}", answer.status);
        tokio::time::sleep(PAUSE).await;
    }
    let took = since.elapsed();
    let mut times = Vec::new();
    while let Some(page) = waiting.join_next().await {
        times.push(load::millis(page??));
    }
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let rate = times.len() as f64 / took.as_secs_f64();
    let half = median(&mut times);
    Ok(Row {
        what: "from mail.sent to the page, p99".to_owned(),
        value: percentile(&mut times, 0.99),
        unit: " ms",
        limit: Limit::AtMost(1_000.0),
        detail: format!("median {half:.1} ms; {rate:.0} mails a second to {PAGES} open pages"),
    })
}
