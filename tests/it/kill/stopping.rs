//! SIGTERM: nothing new, what is in hand is finished, and it ends in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::fresh;
use crate::support::app::{PASSWORD, Stack};
use crate::support::chance::Chance;
use crate::support::ledger::Ledger;
use crate::support::process::Bellhop;
use crate::support::smtp::{Phase, Script, Sink, Step};
use crate::support::{postgres, rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_loses_nothing_on_sqlite() {
    stopping_under_load(Stack::Small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_loses_nothing_on_postgres_and_rabbit() {
    stopping_under_load(Stack::Large).await;
}

async fn stopping_under_load(stack: Stack) {
    const STOPS: usize = 3;
    let chance = Chance::new();
    let mut app = fresh(stack).await;
    app.start().await;
    let mut ledger = Ledger::open(&app, 3, Duration::from_millis(5)).await;
    let mut started = Instant::now();
    for _ in 0..STOPS {
        ledger.until_more(10).await;
        let told = Instant::now();
        app.terminate();
        let status = app.end().await;
        assert_eq!(status.code(), Some(0), "{status}: {}", app.log());
        assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());
        app.spawn();
        started = Instant::now();
    }
    ledger.until_more(5).await;
    ledger.close().await;
    let audit = ledger.audit(&app, started).await;
    audit.pass(chance.seed, &format!("{stack:?}-stopped").to_lowercase(), STOPS);
    assert_eq!(audit.duplicates, 0, "what was in hand was finished");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_signal_ends_it_at_once() {
    let mut app = Bellhop::new().await;
    app.start().await;
    // a request that does not end keeps the first signal busy
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.expect("it listens");
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\nemail=",
        app.url.trim_start_matches("http://")
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    // another one, answered, shows that the first has been taken up
    app.until_it_answers("/livez").await;

    app.terminate();
    app.until_it_says("stopping").await;
    assert!(app.runs(), "it waits for what is in hand");
    app.terminate();
    // the first signal alone would end it with 0
    assert_eq!(app.end().await.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_hangs_does_not_keep_it_from_stopping() {
    let sink = Arc::new(Sink::start().await);
    sink.set(Script::default().on(Phase::Dot, Step::hang().times(1)));
    let mut app = Bellhop::on(&postgres::database().await, &rabbit::vhost().await, Arc::clone(&sink)).await;
    app.start().await;
    assert_eq!(app.client().register("ann@example.org", PASSWORD, "Ann").await.status, 303);
    sink.wait_for_attempts(1).await;
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0), "{}", app.log());
    app.start().await;
    assert!(!app.token("ann@example.org").await.is_empty(), "the mail goes after the next start");
}
