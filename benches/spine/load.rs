//! A load generator that costs little: requests written out beforehand, connections kept alive, answers read as far as
//! their length. It runs on one thread and shares the cores with what it measures, as a client on the same machine does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A connection that is used again and again.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub status: u16,
    /// From the first byte sent to the last one received.
    pub took: Duration,
    /// Bytes of the body.
    pub length: usize,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, read: Vec::with_capacity(32 * 1_024) })
    }

    /// Sends a request and reads its answer.
    pub async fn send(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        let start = Instant::now();
        self.stream.write_all(request).await?;
        self.read.clear();
        let head = loop {
            ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server closed the connection");
            if let Some(at) = self.read.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let status = std::str::from_utf8(self.read.get(9..12).unwrap_or_default())?.parse()?;
        let length = self.header("content-length").map_or(Ok(0), str::parse)?;
        while self.read.len() < head + length {
            ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server closed the connection");
        }
        Ok(Answer { status, took: start.elapsed(), length })
    }

    /// A header of the last answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// Every value of a header of the last answer.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.read.split(|&byte| byte == b'\n').take_while(|line| line.len() > 1);
        lines.filter_map(|line| std::str::from_utf8(line).ok()).filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A GET, with a cookie if there is one.
pub fn get(address: SocketAddr, path: &str, cookie: Option<&str>) -> Vec<u8> {
    let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept-Language: en-GB,en;q=0.8\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\n{cookie}\r\n").into_bytes()
}

/// A POST of a JSON document.
pub fn post(address: SocketAddr, path: &str, json: &serde_json::Value) -> Vec<u8> {
    post_with(address, path, "", json)
}

/// As [`post`], with these lines of its head.
pub fn post_with(address: SocketAddr, path: &str, headers: &str, json: &serde_json::Value) -> Vec<u8> {
    let body = json.to_string();
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

/// Keeps one connection per request busy for `time`, and tells how many answers of `status` came a second.
pub async fn rate(address: SocketAddr, requests: &[Vec<u8>], status: u16, time: Duration) -> anyhow::Result<f64> {
    let requests: Arc<[Vec<u8>]> = requests.into();
    let clients = requests.len();
    rate_of(address, clients, move |client| requests.get(client).cloned().unwrap_or_default(), status, time).await
}

/// As [`rate`], with another request each time.
pub async fn rate_of(
    address: SocketAddr,
    clients: usize,
    request: impl Fn(usize) -> Vec<u8> + Clone + Send + 'static,
    status: u16,
    time: Duration,
) -> anyhow::Result<f64> {
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (request, mut connection) = (request.clone(), Connection::open(address).await?);
        tasks.spawn(async move {
            // the first answer warms the connection up and is not counted
            let first = connection.send(&request(client)).await?;
            ensure!(first.status == status, "answered {} instead of {status}", first.status);
            let (start, mut answers) = (Instant::now(), 0_u32);
            while start.elapsed() < time {
                let answer = connection.send(&request(client)).await?;
                ensure!(answer.status == status, "answered {} instead of {status}", answer.status);
                answers += 1;
            }
            Ok(f64::from(answers) / start.elapsed().as_secs_f64())
        });
    }
    // each client has a rate of its own, over its own time: together they are the rate
    let mut rate = 0.0;
    while let Some(client) = tasks.join_next().await {
        rate += client??;
    }
    Ok(rate)
}

/// The value that a share (0.5 is the median) of the samples does not pass.
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "few samples"
    )]
    let at = ((samples.len() as f64 * share).ceil() as usize).saturating_sub(1);
    samples.get(at).copied().unwrap_or(f64::NAN)
}

pub fn median(samples: &mut [f64]) -> f64 {
    percentile(samples, 0.5)
}

/// In milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
