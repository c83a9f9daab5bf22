//! Slow clients and idle connections (slowloris), hundreds at once, against a Bellhop with its own limits: the server ends
//! every connection, and meanwhile everybody else is served. `timing::slow_clients` has thousands, and measures.
//!
//! The limits of time themselves are tried with shorter ones beside the server.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::support::app::{PASSWORD, within};
use crate::support::process::Bellhop;

/// A connection that is still open after this is one that the server has forgotten.
pub const FORGOTTEN: Duration = Duration::from_mins(2);

/// Started, with somebody who can sign in, and room for the clients' own ends.
pub async fn started() -> Bellhop {
    rlimit::increase_nofile_limit(u64::MAX).expect("up to what the system allows");
    let mut app = Bellhop::new().await;
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    app
}

fn address(app: &Bellhop) -> &str {
    app.url.trim_start_matches("http://")
}

pub async fn connect(app: &Bellhop) -> TcpStream {
    TcpStream::connect(address(app)).await.expect("the system keeps new connections for the server")
}

/// Says this and then a byte a second, until the other side closes; what was answered.
pub async fn dribble(mut socket: TcpStream, head: &[u8]) -> String {
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

/// Sockets that the process has open.
pub fn sockets(app: &Bellhop) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", app.pid())).expect("it runs");
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_or_takes_a_byte_a_second_is_left() {
    let app = started().await;
    let before = sockets(&app);
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let socket = connect(&app).await;
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Sec-Fetch-Site: same-origin\r\nContent-Length: 4000\r\n\r\n",
            address(&app)
        );
        clients.spawn(async move {
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
    while let Some(refused) = clients.join_next().await {
        refused.expect("every one has its 408");
    }
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    // those who read would still do so for days: it is the server that leaves them
    within("their sockets are gone", async || sockets(&app) <= before).await;
    drop(readers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_with_256_open_files_neither_end_it_nor_keep_it_from_coming_back() {
    let mut app = started().await;
    let pid = app.pid().try_into().expect("process ids fit");
    rlimit::prlimit(pid, rlimit::Resource::NOFILE, Some((256, 256)), None).expect("a child of ours");
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        clients.push(connect(&app).await);
    }
    app.until_it_says("no connection can be accepted").await;
    assert!(app.runs());
    drop(clients);
    let client = app.client();
    assert_eq!(client.login("ann@example.org", PASSWORD).await.status, 303);
    assert_eq!(client.get("/account").await.status, 200);
    app.until_it_says("connections are accepted again").await;
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0), "{}", app.log());
    // once each time it happens anew, not once for each connection
    assert!(app.log().matches("no connection can be accepted").count() < 20, "{}", app.log());
}
