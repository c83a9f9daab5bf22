//! What four thousand idle and slow connections cost everybody else.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::kill::slow_clients::{FORGOTTEN, connect, dribble, sockets, started};
use crate::support::app::{HttpClient, PASSWORD, within};

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

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
