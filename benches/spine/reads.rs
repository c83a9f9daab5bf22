//! What a signed-in read costs beside a bare axum handler.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use bellhop::clock::{Clock, Timestamp};
use bellhop::db::{Db, Location};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::load::{self, Connection, median};
use crate::node::{self, Node};
use crate::table::{Limit, Row};

const CLIENTS: usize = 16;
const ROUNDS: usize = 9;
const TIME: Duration = Duration::from_secs(2);
/// As many as the page shows.
const LOG_ROWS: u32 = 20;

pub async fn measure(servers: &Handle) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let (db, people) = node::inhabit(dir.path(), 1).await?;
    let user = people.first().copied().unwrap_or_default();
    fill_log(&db, user).await?;
    let node = Node::start(dir.path(), &[]).await?;
    let cookie = node::cookie(node.address, 0).await?;
    node::settled(&db).await?;

    let mut rows = Vec::new();
    for (path, what) in [
        ("/api/v1/me", "GET /api/v1/me ÷ empty axum handler"),
        ("/account", "GET /account ÷ bare axum handler with its query"),
    ] {
        let request = load::get(node.address, path, Some(&cookie));
        let answer = Connection::open(node.address).await?.send(&request).await?;
        ensure!(answer.status == 200, "{path} answered {}", answer.status);
        let body: Arc<str> = "x".repeat(answer.length).into();
        let bare = if path == "/account" {
            // a pool of its own, made as the service makes its own on the same file
            let db = servers.spawn(async_open(dir.path().join("bellhop.sqlite"))).await??;
            serve(servers, Router::new().route(path, get(with_query)).with_state((db, user, body)))?
        } else {
            serve(servers, Router::new().route(path, get(empty)).with_state(body))?
        };
        rows.push(compare(what, node.address, bare, path, &cookie, answer.length).await?);
    }
    Ok(rows)
}

async fn compare(
    what: &str,
    subject: SocketAddr,
    bare: SocketAddr,
    path: &str,
    cookie: &str,
    length: usize,
) -> anyhow::Result<Row> {
    let subject_requests = vec![load::get(subject, path, Some(cookie)); CLIENTS];
    let bare_requests = vec![load::get(bare, path, Some(cookie)); CLIENTS];
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let bare = load::rate(bare, &bare_requests, 200, TIME).await?;
        let subject = load::rate(subject, &subject_requests, 200, TIME).await?;
        // the first round warms up
        if round > 0 {
            ratios.push(subject / bare);
            ours.push(subject);
            theirs.push(bare);
        }
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    Ok(Row {
        what: what.to_owned(),
        value: median(&mut ratios),
        unit: "",
        limit: Limit::AtLeast(0.5),
        detail: format!(
            "{ours:.0}/s, bare {theirs:.0}/s; {CLIENTS} clients, body of {length} bytes, {ROUNDS} rounds of {} s",
            TIME.as_secs()
        ),
    })
}

async fn async_open(file: std::path::PathBuf) -> anyhow::Result<Db> {
    Db::open(&Location::Sqlite(file), 16).await
}

fn serve(servers: &Handle, router: Router) -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    servers.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, router).await
    });
    Ok(address)
}

async fn empty(State(body): State<Arc<str>>) -> String {
    body.to_string()
}

/// The columns of the login log as the page asks for them.
type Entry = (Uuid, String, Timestamp, String, String, Option<String>);

async fn with_query(State((db, user, body)): State<(Db, Uuid, Arc<str>)>) -> Result<String, StatusCode> {
    let entries: Result<Vec<Entry>, _> = db
        .query(
            "select id, type, at, ip, user_agent, reason from login_log
             where user_id = $1
             order by at desc, id desc
             limit $2",
        )
        .bind(user)
        .bind(i64::from(LOG_ROWS))
        .all()
        .await;
    match entries {
        Ok(entries) if !entries.is_empty() => Ok(body.to_string()),
        _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn fill_log(db: &Db, user: Uuid) -> anyhow::Result<()> {
    let clock = Clock::default();
    let mut tx = db.begin().await?;
    for number in 0..LOG_ROWS {
        tx.query(
            "insert into login_log (id, type, user_id, at, ip, user_agent, reason)
             values ($1, $2, $3, $4, '192.0.2.7', $5, $6)",
        )
        .bind(clock.new_id())
        .bind(if number % 5 == 0 { "login.failed" } else { "login.succeeded" })
        .bind(user)
        .bind(clock.now())
        .bind("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .bind((number % 5 == 0).then_some("wrong_password"))
        .execute()
        .await?;
    }
    tx.commit().await?;
    Ok(())
}
