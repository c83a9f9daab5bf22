//! The login log: successful and refused logins of an account, for its owner.

pub mod refusals;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::user::User;
use crate::clock::{Clock, Timestamp};
use crate::db::{BatchWrite, Db, Sql, WriteBatcher, timestamp_text};
use crate::event::{Event, Received};
use crate::failpoint;
use crate::health::Part;
use crate::messaging::consumer::inbox;
use crate::messaging::outbox::OutboxEvent as _;

/// For how long a session may be shown that the log does not have.
const UNLOGGED: Duration = Duration::from_hours(1);

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Entry {
    /// The event's id.
    pub id: Uuid,
    /// The event's type: `login.succeeded`, `login.failed`, `user.confirmed`, `password.changed`, `email.changed`,
    /// `user.deletion_scheduled`, `user.restored`.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// The client's address.
    pub ip: String,
    /// The client's `User-Agent`.
    pub user_agent: String,
    /// Why it was refused, if it was.
    pub reason: Option<String>,
    /// The session that began, if one did and the row is young enough to know.
    pub session_id: Option<Uuid>,
}

/// Writes the log. Rows that come at the same time share a transaction; each is written together with the inbox mark of its
/// event, so exactly once.
#[derive(Clone, Debug)]
pub struct LoginLog {
    rows: WriteBatcher<Rows>,
}

impl LoginLog {
    /// The log of `listener`, under whose name events are marked in the inbox; to be called inside a runtime.
    #[must_use]
    pub fn new(accounts: &Accounts, listener: &'static str) -> Self {
        let Accounts { db, clock, .. } = accounts.clone();
        LoginLog { rows: WriteBatcher::start("login-log rows", Rows { db, clock, listener }) }
    }

    /// The part that writes its rows.
    #[must_use]
    pub fn part(&self) -> &Part {
        self.rows.part()
    }

    /// Writes an event that began a session, or would have, or changed who may begin one, into the log, unless it is there already.
    /// Other events are ignored.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn record(&self, received: Received) -> anyhow::Result<()> {
        let refusals = match received.event {
            Event::LoginFailed { refusals, .. } => refusals,
            _ => 1,
        };
        let (user, session, reason, attempted, origin) = match received.event {
            Event::LoginSucceeded { user, session, ref origin } => (Some(user), Some(session), None, None, origin),
            Event::UserConfirmed { user, session, ref origin, .. }
            | Event::PasswordChanged { user, session, ref origin, .. } => (Some(user), session, None, None, origin),
            Event::EmailChanged { user, ref origin, .. }
            | Event::UserDeletionScheduled { user, ref origin, .. }
            | Event::UserRestored { user, ref origin } => (Some(user), None, None, None, origin),
            Event::LoginFailed { user, ref attempted, reason, ref origin, .. } => {
                let attempted = Some(attempted.clone()).filter(|attempted| !attempted.is_empty());
                (user, None, Some(reason.as_str()), attempted, origin)
            }
            _ => return Ok(()),
        };
        let row = Row {
            id: received.id,
            kind: received.event.kind(),
            user: user.map(|user| user.simple().to_string()),
            session: session.map(|session| session.simple().to_string()),
            at: timestamp_text(received.at),
            ip: origin.ip.to_string(),
            user_agent: origin.user_agent.clone(),
            reason,
            attempted,
            refusals,
        };
        self.rows.write(row, Duration::ZERO).await?;
        failpoint::reach("log.committed");
        Ok(())
    }
}

#[derive(Debug)]
struct Rows {
    db: Db,
    clock: Clock,
    listener: &'static str,
}

/// A row as JSON for the statement. Ids are hexadecimal without hyphens.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(with = "uuid::serde::simple")]
    id: Uuid,
    kind: &'static str,
    user: Option<String>,
    session: Option<String>,
    at: String,
    ip: String,
    user_agent: String,
    reason: Option<&'static str>,
    attempted: Option<String>,
    refusals: u32,
}

impl BatchWrite for Rows {
    type Item = Row;
    type Output = ();

    async fn write(&self, rows: &[Row]) -> anyhow::Result<Vec<()>> {
        let mut tx = self.db.begin().await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        // one batch may hold two copies of an event
        let mut fresh = inbox::mark_all(&mut tx, &self.clock, self.listener, &ids).await?;
        let rows_to_write: Vec<&Row> = rows.iter().filter(|row| fresh.remove(&row.id)).collect();
        let rows_to_write = serde_json::to_value(rows_to_write)?;
        // what comes after the deletion of its account does not bring back where from
        tx.query(Sql {
            sqlite: "insert into login_log (id, type, user_id, session_id, at, ip, user_agent, reason, attempted, refusals)
                     select unhex(value ->> 'id'), value ->> 'kind', user, unhex(value ->> 'session'), value ->> 'at',
                       case when gone then '' else value ->> 'ip' end, case when gone then '' else value ->> 'user_agent' end,
                       value ->> 'reason', case when gone then null else value ->> 'attempted' end, value ->> 'refusals'
                     from (select value, unhex(value ->> 'user') as user,
                             value ->> 'user' is not null
                               and not exists (select 1 from users where id = unhex(value ->> 'user')) as gone
                           from json_each($1))",
            postgres: "insert into login_log (id, type, user_id, session_id, at, ip, user_agent, reason, attempted, refusals)
                       select id, kind, \"user\", session, at,
                         case when gone then '' else ip end, case when gone then '' else user_agent end,
                         reason, case when gone then null else attempted end, refusals
                       from (select rows.*,
                               \"user\" is not null and not exists (select 1 from users where users.id = rows.\"user\") as gone
                             from jsonb_to_recordset($1) as rows (id uuid, kind text, \"user\" uuid, session uuid,
                               at timestamptz, ip text, user_agent text, reason text, attempted text, refusals bigint)) rows",
        })
        .bind(Json(rows_to_write))
        .execute_deferred()
        .await
        .context("cannot write the login log")?;
        failpoint::reach("log.before_commit");
        tx.commit().await?;
        Ok(vec![(); rows.len()])
    }
}

/// Which entries of the log are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Only those older than this one.
    pub before: Option<Uuid>,
    /// Only what was refused.
    pub refused: bool,
}

/// The newest entries of a user that are meant, at most `limit`.
///
/// # Errors
/// When the database is away.
pub async fn of_user(accounts: &Accounts, user: Uuid, filter: Filter, limit: u8) -> sqlx::Result<Vec<Entry>> {
    let query = match filter.before {
        None => accounts.db.query(
            "select id, type, at, ip, user_agent, reason, session_id from login_log
             where user_id = $1 and (not $2 or reason is not null)
             order by at desc, id desc
             limit $3",
        ),
        Some(_) => accounts.db.query(
            "select id, type, at, ip, user_agent, reason, session_id from login_log
             where user_id = $1 and (not $2 or reason is not null)
               and (at, id) < (select at, id from login_log where user_id = $1 and id = $4)
             order by at desc, id desc
             limit $3",
        ),
    };
    let query = query.bind(user).bind(filter.refused).bind(i64::from(limit));
    match filter.before {
        None => query.all().await,
        Some(before) => query.bind(before).all().await,
    }
}

/// The newest entries of a user, at most `limit`, with the sessions that began a moment ago and are not in the log yet: whoever has just
/// signed in sees it all the same.
///
/// # Errors
/// When the database is away.
pub async fn latest(accounts: &Accounts, user: &User, limit: u8) -> sqlx::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = accounts
        .db
        .query(
            "select * from (
               select id, type, at, ip, user_agent, reason, session_id from login_log
               where user_id = $1
               order by at desc, id desc
               limit $2) logged
             union all
             select id, 'login.succeeded', created_at, ip, user_agent, null, id from sessions
             where user_id = $1 and created_at > $3",
        )
        .bind(user.id)
        .bind(i64::from(limit))
        .bind(accounts.clock.now() - UNLOGGED)
        .all()
        .await?;
    let logged: HashSet<Uuid> = entries
        .iter()
        .filter(|entry| entry.session_id != Some(entry.id))
        .filter_map(|entry| entry.session_id)
        .collect();
    // an entry of the log has an id of its own, a session without one is its own
    entries.retain(|entry| entry.session_id != Some(entry.id) || !logged.contains(&entry.id));
    // confirming makes the account and its first session in one transaction
    for entry in entries.iter_mut().filter(|entry| entry.session_id == Some(entry.id)) {
        if entry.at - user.created_at < TimeDelta::seconds(1) {
            "user.confirmed".clone_into(&mut entry.kind);
        }
    }
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.at, entry.id)));
    entries.truncate(usize::from(limit));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Location;

    fn row(id: Uuid) -> Row {
        let (user, session, reason, attempted) = (None, None, None, None);
        let (ip, user_agent) = ("192.0.2.7".to_owned(), String::new());
        Row {
            id,
            kind: "login.failed",
            user,
            session,
            at: timestamp_text(Clock::default().now()),
            ip,
            user_agent,
            reason,
            attempted,
            refusals: 1,
        }
    }

    #[tokio::test]
    async fn a_row_and_the_mark_of_its_event_are_written_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let (clock, [one, two, three]) = (Clock::default(), [1, 2, 3].map(Uuid::from_u128));
        let rows = Rows { db: db.clone(), clock: clock.clone(), listener: "log" };
        let ids = async |sql: &'static str| -> Vec<Uuid> {
            let ids: Vec<(Uuid,)> = db.query(sql).all().await.unwrap();
            ids.into_iter().map(|(id,)| id).collect()
        };
        let (log, marks) = ("select id from login_log order by id", "select event_id from inbox order by event_id");

        // a row that cannot be written: its id is taken by one that was written without a mark
        rows.write(&[row(one)]).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.query("delete from inbox").execute().await.unwrap();
        tx.commit().await.unwrap();
        assert!(rows.write(&[row(two), row(one)]).await.is_err());
        assert_eq!((ids(log).await, ids(marks).await), (vec![one], vec![]), "no mark without its row");

        // a mark that cannot be written, for the table is gone
        let rename = async |sql: &'static str| {
            let mut tx = db.begin().await.unwrap();
            tx.query(sql).execute().await.unwrap();
            tx.commit().await.unwrap();
        };
        rename("alter table inbox rename to elsewhere").await;
        assert!(rows.write(&[row(two)]).await.is_err());
        rename("alter table elsewhere rename to inbox").await;
        assert_eq!((ids(log).await, ids(marks).await), (vec![one], vec![]), "no row without its mark");

        rows.write(&[row(two), row(three), row(two)]).await.unwrap();
        rows.write(&[row(three)]).await.unwrap();
        assert_eq!((ids(log).await, ids(marks).await), (vec![one, two, three], vec![two, three]), "once");
    }
}
