//! Logins in the outbox by the thousand, and the rows that come of them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bellhop::clock::Clock;
use bellhop::db::{Db, Sql, Tx};
use bellhop::event::{Event, Origin};
use bellhop::messaging::outbox::OutboxEvent as _;
use sqlx::types::Json;
use uuid::Uuid;

/// How many go in one statement.
const CHUNK: u32 = 1_000;
/// As long as those of the program.
pub const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Events that were written together. Their ids sort by time, and nothing is between them.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    first: Uuid,
    last: Uuid,
    pub count: u32,
}

/// Somebody signed in.
pub fn login() -> anyhow::Result<Event> {
    let user_agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned();
    let origin = Origin { ip: "192.0.2.7".parse()?, user_agent };
    Ok(Event::LoginSucceeded { user: Uuid::new_v4(), session: Uuid::new_v4(), origin })
}

/// Writes `count` logins into the outbox, in a transaction that the caller commits.
pub async fn write(tx: &mut Tx, clock: &Clock, count: u32) -> anyhow::Result<Written> {
    let now = clock.now();
    let (mut first, mut last) = (None, Uuid::nil());
    for start in (0..count).step_by(CHUNK as usize) {
        let mut rows = Vec::new();
        for _ in start..count.min(start + CHUNK) {
            last = clock.new_id();
            first.get_or_insert(last);
            let body = login()?.body(last, now);
            rows.push([last.simple().to_string(), body, TRACE.to_owned()]);
        }
        tx.query(Sql {
            sqlite: "insert into outbox (id, type, body, traceparent, created_at, due_at, attempts)
                     select unhex(value ->> 0), 'login.succeeded', value ->> 1, value ->> 2, $2, $2, 0
                     from json_each($1)",
            postgres: "insert into outbox (id, type, body, traceparent, created_at, due_at, attempts)
                       select (value ->> 0)::uuid, 'login.succeeded', value ->> 1, value ->> 2, $2, $2, 0
                       from jsonb_array_elements($1)",
        })
        .bind(Json(rows))
        .bind(now)
        .execute()
        .await?;
    }
    Ok(Written { first: first.unwrap_or_default(), last, count })
}

/// How many of them are in the login log.
pub async fn logged(db: &Db, written: Written) -> anyhow::Result<u32> {
    let (rows,): (i64,) = db
        .query("select count(*) from login_log where id between $1 and $2")
        .bind(written.first)
        .bind(written.last)
        .one()
        .await?;
    Ok(u32::try_from(rows)?)
}

/// Waits until all of them are in the login log.
pub async fn all_logged(db: &Db, written: Written, patience: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        // the last is about the last to come, and cheaper to ask for than the number
        let last: Option<(Uuid,)> =
            db.query("select id from login_log where id = $1").bind(written.last).optional().await?;
        if last.is_some() && logged(db, written).await? == written.count {
            return Ok(());
        }
        if start.elapsed() > patience {
            let rows = logged(db, written).await?;
            ensure!(rows == written.count, "only {rows} of {} are in the login log", written.count);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
