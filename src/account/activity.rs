//! The login log: what happened at the door of an account, for the person whose account it is.

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::clock::Timestamp;
use crate::event::{Event, Received};
use crate::messaging::inbox;
use crate::messaging::outbox::Happening as _;

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Entry {
    /// The event's id.
    pub id: Uuid,
    /// The event's type: `login.succeeded`, `login.failed`.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// From which address.
    pub ip: String,
    /// With which program.
    pub user_agent: String,
    /// Why it was refused, if it was.
    pub reason: Option<String>,
}

/// Writes an event of the door into the log, in one transaction with the mark that it was written: exactly once. An
/// event that is none of the door's is let pass.
///
/// # Errors
/// When the database refuses or is away.
pub async fn record(accounts: &Accounts, listener: &'static str, received: &Received) -> anyhow::Result<()> {
    let (user, reason, attempted, origin) = match &received.event {
        Event::LoginSucceeded { user, origin, .. } => (Some(*user), None, None, origin),
        Event::LoginFailed { user, attempted, reason, origin } => {
            (*user, Some(reason.word()), Some(attempted.clone()), origin)
        }
        _ => return Ok(()),
    };
    let mut tx = accounts.db.begin().await?;
    if !inbox::mark(&mut tx, &accounts.clock, listener, received.id).await? {
        return Ok(());
    }
    tx.query(
        "insert into login_log (id, type, user_id, at, ip, user_agent, reason, attempted)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(received.id)
    .bind(received.event.kind())
    .bind(user)
    .bind(received.at)
    .bind(origin.ip.to_string())
    .bind(origin.user_agent.clone())
    .bind(reason)
    .bind(attempted)
    .execute()
    .await
    .context("cannot write the login log")?;
    Ok(tx.commit().await?)
}

/// The newest entries of a user, at most `limit`, older than the entry `before` if one is named.
///
/// # Errors
/// When the database is away.
pub async fn of_user(accounts: &Accounts, user: Uuid, before: Option<Uuid>, limit: u8) -> sqlx::Result<Vec<Entry>> {
    let columns_of_user = match before {
        None => accounts
            .db
            .query(
                "select id, type, at, ip, user_agent, reason from login_log
                 where user_id = $1
                 order by at desc, id desc
                 limit $2",
            )
            .bind(user)
            .bind(i64::from(limit)),
        Some(before) => accounts
            .db
            .query(
                "select id, type, at, ip, user_agent, reason from login_log
                 where user_id = $1
                   and (at, id) < (select at, id from login_log where user_id = $1 and id = $3)
                 order by at desc, id desc
                 limit $2",
            )
            .bind(user)
            .bind(i64::from(limit))
            .bind(before),
    };
    columns_of_user.all().await
}
