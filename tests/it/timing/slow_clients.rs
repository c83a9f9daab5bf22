//! What four thousand idle and slow connections cost everybody else.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::kill::slow_clients::{FORGOTTEN, connect, dribble, sockets, started};
use crate::support::app::{HttpClient, PASSWORD, within};
use crate::support::process::Bellhop;

/// How long each of `count` logins takes, in order; every one succeeds.
async fn logins(client: &HttpClient, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        assert_eq!(client.login("ann@example.org", PASSWORD).await.status, 303);
        times.push(since.elapsed());
    }
    times.sort_unstable();
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_who_say_nothing_or_next_to_nothing_are_closed_and_in_nobodys_way() {
    let app = started().await;
    let client = app.client();
    logins(&client, 5).await;
    let alone = logins(&client, 100).await;
    let before = sockets(&app);

    let mut clients = JoinSet::new();
    for number in 0..4_000 {
        let socket = connect(&app).await;
        let head: &[u8] = if number % 2 == 0 { b"" } else { b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " };
        clients.spawn(async move {
            if head.is_empty() {
                let mut socket = socket;
                let mut nothing = [0];
                timeout(FORGOTTEN, socket.read(&mut nothing)).await.expect("the server closes it").unwrap_or(0)
            } else {
                dribble(socket, head).await.len()
            }
        });
    }
    let beside_them = logins(&client, 100).await;
    let there = sockets(&app) - before;
    assert!(there > 1_000, "they were there meanwhile: {there}");
    while let Some(closed) = clients.join_next().await {
        closed.expect("every one is closed");
    }
    within("their sockets are gone", async || sockets(&app) <= before).await;
    println!(
        "a login alone and beside 4,000 slow connections, in ms: p50 {:.1} and {:.1}, p99 {:.1} and {:.1}",
        millis(alone[50]),
        millis(beside_them[50]),
        millis(alone[99]),
        millis(beside_them[99])
    );
    // a ratio of one run; of the median, because the slowest of a hundred is the machine's doing as often as ours
    assert!(beside_them[50] < alone[50] * 2, "{:?} instead of {:?}", beside_them[50], alone[50]);
}

/// F74: through a proxy, or from this machine, they held as much as they were many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_thousand_halves_of_requests_hold_little_memory_and_nobody_up() {
    let app = started().await;
    let client = app.client();
    logins(&client, 5).await;
    let (before, sockets_before) = (memory(&app, "VmRSS"), sockets(&app));
    let mut halves = JoinSet::new();
    for _ in 0..6_000 {
        let mut socket = connect(&app).await;
        halves.spawn(async move {
            let half = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: {}", "x".repeat(15_000));
            // it may be closed before it has said all
            let _ = socket.write_all(half.as_bytes()).await;
            let mut nothing = [0];
            timeout(FORGOTTEN, socket.read(&mut nothing)).await.expect("the server closes it").unwrap_or(0)
        });
    }
    let newcomer = Instant::now();
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    let newcomer = newcomer.elapsed();
    while let Some(closed) = halves.join_next().await {
        closed.expect("every one is closed");
    }
    within("their sockets are gone", async || sockets(&app) <= sockets_before).await;
    let (peak, after) = (memory(&app, "VmHWM"), memory(&app, "VmRSS"));
    println!(
        "6,000 halves of requests: {before} MiB before, {peak} MiB at most, {after} MiB after; a newcomer's login took {:.1} ms",
        millis(newcomer)
    );
    assert!(peak < before + 100, "{before} MiB, {peak} MiB");
    assert!(newcomer < Duration::from_secs(4), "{newcomer:?}");
    within("the memory to be given back", async || memory(&app, "VmRSS") < before + 50).await;
}

/// A line of the process's status, in MiB.
fn memory(app: &Bellhop, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect(name);
    line.trim().strip_suffix(" kB").expect("in KiB").parse::<usize>().expect("a number") / 1_024
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
