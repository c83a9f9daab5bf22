//! Strangers who take connections and give nothing for them, thousands at once, against a Bellhop with its own limits.
//!
//! The times themselves are tried with shorter ones beside the server. Here it is the crowd that counts: every
//! connection of it ends by the server's doing, and meanwhile everybody else is served.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::support::app::{Guest, PASSWORD, within};
use crate::support::process::Bellhop;

/// A connection that is still open after this is one that the server has forgotten.
const FORGOTTEN: Duration = Duration::from_mins(2);

/// Started, with somebody who can sign in.
async fn inhabited() -> Bellhop {
    let mut app = Bellhop::new().await;
    app.start().await;
    app.resident("ann@example.org").await;
    app
}

fn address(app: &Bellhop) -> &str {
    app.url.trim_start_matches("http://")
}

async fn connect(app: &Bellhop) -> TcpStream {
    TcpStream::connect(address(app)).await.expect("the system keeps newcomers for the server")
}

/// Says this and then a byte a second, until the other side closes; what was answered.
async fn dribble(mut socket: TcpStream, head: &[u8]) -> String {
    let (mut read, mut write) = socket.split();
    let mut answer = Vec::new();
    let speak = async {
        let mut second = interval(Duration::from_secs(1));
        let mut said = write.write_all(head).await;
        while said.is_ok() {
            second.tick().await;
            said = write.write_all(b"x").await;
        }
        std::future::pending::<()>().await;
    };
    let closed = timeout(FORGOTTEN, async {
        tokio::select! {
            // a reset is an end as well
            end = read.read_to_end(&mut answer) => drop(end),
            () = speak => {}
        }
    });
    closed.await.expect("the server closes it");
    String::from_utf8_lossy(&answer).into_owned()
}

/// How long each of `count` logins takes, in order; every one succeeds.
async fn logins(guest: &Guest, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        assert_eq!(guest.login("ann@example.org", PASSWORD).await.status, 303);
        times.push(since.elapsed());
    }
    times.sort_unstable();
    times
}

/// Sockets that the process has open.
fn sockets(app: &Bellhop) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", app.pid())).expect("it runs");
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_who_say_nothing_or_next_to_nothing_are_closed_and_in_nobodys_way() {
    rlimit::increase_nofile_limit(u64::MAX).expect("room for the crowd's own ends");
    let app = inhabited().await;
    let guest = app.guest();
    logins(&guest, 5).await;
    let alone = logins(&guest, 100).await;
    let before = sockets(&app);

    let mut crowd = JoinSet::new();
    for number in 0..4_000 {
        let socket = connect(&app).await;
        let head: &[u8] = if number % 2 == 0 { b"" } else { b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " };
        crowd.spawn(async move {
            if head.is_empty() {
                let mut socket = socket;
                let mut nothing = [0];
                timeout(FORGOTTEN, socket.read(&mut nothing)).await.expect("the server closes it").unwrap_or(0)
            } else {
                dribble(socket, head).await.len()
            }
        });
    }
    let among_them = logins(&guest, 100).await;
    let there = sockets(&app) - before;
    assert!(there > 1_000, "the crowd was there meanwhile: {there}");
    while let Some(closed) = crowd.join_next().await {
        closed.expect("every one is closed");
    }
    within("their sockets are gone", async || sockets(&app) <= before).await;
    println!(
        "a login alone and among 4,000 slow connections, in ms: p50 {:.1} and {:.1}, p99 {:.1} and {:.1}",
        millis(alone[50]),
        millis(among_them[50]),
        millis(alone[99]),
        millis(among_them[99])
    );
    // a ratio of one run; of the median, because the slowest of a hundred is the machine's doing as often as ours
    assert!(among_them[50] < alone[50] * 2, "{:?} instead of {:?}", among_them[50], alone[50]);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_or_takes_a_byte_a_second_is_left() {
    let app = inhabited().await;
    let before = sockets(&app);
    let mut crowd = JoinSet::new();
    for _ in 0..50 {
        let socket = connect(&app).await;
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Sec-Fetch-Site: same-origin\r\nContent-Length: 4000\r\n\r\n",
            address(&app)
        );
        crowd.spawn(async move {
            let answer = dribble(socket, head.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        });
    }
    let mut readers = JoinSet::new();
    for _ in 0..50 {
        let mut socket = connect(&app).await;
        // far more than the system keeps for somebody who does not read
        let asked = format!("GET /api/openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", address(&app)).repeat(2_000);
        readers.spawn(async move {
            let (mut read, mut write) = socket.split();
            let ask = async {
                let _ = write.write_all(asked.as_bytes()).await;
                std::future::pending::<()>().await;
            };
            let take = async {
                let mut second = interval(Duration::from_secs(1));
                loop {
                    second.tick().await;
                    if read.read_u8().await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! { () = ask => {}, () = take => {} }
        });
    }
    while let Some(refused) = crowd.join_next().await {
        refused.expect("every one has its 408");
    }
    assert_eq!(app.guest().login("ann@example.org", PASSWORD).await.status, 303);
    // those who read would still do so for days: it is the server that leaves them
    within("their sockets are gone", async || sockets(&app) <= before).await;
    drop(readers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_with_256_open_files_neither_end_it_nor_keep_it_from_coming_back() {
    let mut app = inhabited().await;
    let pid = app.pid().try_into().expect("process ids fit");
    rlimit::prlimit(pid, rlimit::Resource::NOFILE, Some((256, 256)), None).expect("a child of ours");
    let mut crowd = Vec::new();
    for _ in 0..1_000 {
        crowd.push(connect(&app).await);
    }
    app.until_it_says("no connection can be accepted").await;
    assert!(app.runs());
    drop(crowd);
    let guest = app.guest();
    assert_eq!(guest.login("ann@example.org", PASSWORD).await.status, 303);
    assert_eq!(guest.get("/account").await.status, 200);
    app.until_it_says("connections are accepted again").await;
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0), "{}", app.log());
    // once each time it happens anew, not once for each connection
    assert!(app.log().matches("no connection can be accepted").count() < 20, "{}", app.log());
}
