//! Deleting an account: asked for with the password, done after a time of grace, called off until then by a link or by signing in.
//!
//! What stays is the log of what happened at the door, without where from, and ids that lead to nobody.

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::keys::Purpose;
use crate::account::credentials::link::{LinkToken, link_token};
use crate::account::proof::{self, WrongPassword};
use crate::account::session::{self, SignedIn};
use crate::account::user::User;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::event::{Event, Origin};
use crate::failpoint;
use crate::messaging::consumer::inbox;
use crate::messaging::outbox;

/// Rows of the login log in one transaction.
const BATCH: i64 = 1_000;

/// A deletion that was asked for.
#[derive(Debug)]
pub struct Scheduled {
    /// When it happens.
    pub deletes_at: Timestamp,
    /// The sessions that ended: all but the one that asked.
    pub ended: Vec<Uuid>,
}

/// Asks for the deletion of an account. Asking again changes nothing.
///
/// # Errors
/// [`WrongPassword`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn schedule(
    accounts: &Accounts,
    signed_in: &SignedIn,
    current: &str,
    origin: Origin,
) -> anyhow::Result<Scheduled> {
    let user = signed_in.user.id;
    proof::verified(accounts, user, origin.ip, current).await?.ok_or(WrongPassword)?;
    let deletes_at: Timestamp = accounts.clock.now() + accounts.lifetimes.deletion_grace;
    let mut tx = accounts.db.begin().await.context("cannot schedule the deletion")?;
    let scheduled = tx
        .query("update users set deletes_at = $2 where id = $1 and deletes_at is null")
        .bind(user)
        .bind(deletes_at)
        .execute()
        .await
        .context("cannot schedule the deletion")?;
    if scheduled == 0 {
        drop(tx);
        let deletes_at = due(accounts, user).await?.context("the account is gone")?;
        return Ok(Scheduled { deletes_at, ended: Vec::new() });
    }
    let ended = session::end_all(&mut tx, accounts, user, Some(signed_in.session)).await?;
    outbox::append(&mut tx, &accounts.clock, &Event::UserDeletionScheduled { user, deletes_at, origin }).await?;
    outbox::append_at(&mut tx, &accounts.clock, &Event::UserDeletionDue { user }, deletes_at).await?;
    failpoint::reach("request.before_commit");
    accounts.commit(tx).await?;
    failpoint::reach("request.committed");
    Ok(Scheduled { deletes_at, ended })
}

/// When an account is deleted, if that was asked for.
///
/// # Errors
/// When the database is away.
pub async fn due(accounts: &Accounts, user: Uuid) -> sqlx::Result<Option<Timestamp>> {
    let found: Option<(Option<Timestamp>,)> =
        accounts.db.query("select deletes_at from users where id = $1").bind(user).optional().await?;
    Ok(found.and_then(|(due,)| due))
}

/// Calls a deletion off; false if none was asked for.
///
/// # Errors
/// When the database is away.
pub async fn call_off(accounts: &Accounts, user: Uuid, origin: Origin) -> anyhow::Result<bool> {
    let mut tx = accounts.db.begin().await.context("cannot call the deletion off")?;
    let called_off = call_off_in(&mut tx, accounts, user, origin).await?;
    accounts.commit(tx).await?;
    Ok(called_off)
}

/// As [`call_off`], in a transaction.
pub(in crate::account) async fn call_off_in(
    tx: &mut Tx,
    accounts: &Accounts,
    user: Uuid,
    origin: Origin,
) -> anyhow::Result<bool> {
    let called_off = tx
        .query("update users set deletes_at = null where id = $1 and deletes_at is not null")
        .bind(user)
        .execute()
        .await
        .context("cannot call the deletion off")?;
    if called_off == 1 {
        outbox::append(tx, &accounts.clock, &Event::UserRestored { user, origin }).await?;
    }
    Ok(called_off == 1)
}

/// What the mail about a deletion has.
#[derive(Clone, Debug)]
pub struct Told {
    /// Whose account it is.
    pub user: User,
    /// The token of the link that calls it off.
    pub token: String,
}

/// What is told about a deletion that was scheduled for this moment; none if it was called off since.
///
/// # Errors
/// When the database is away.
pub async fn told(accounts: &Accounts, user: Uuid, deletes_at: Timestamp) -> anyhow::Result<Option<Told>> {
    let found = find(accounts, user).await?.filter(|found| found.deletes_at == Some(deletes_at));
    Ok(found.map(|found| Told {
        token: link_token(&accounts.keys, Purpose::RestoreLink, user, &[&found.moment()]),
        user: found.user,
    }))
}

#[derive(FromRow)]
struct Found {
    #[sqlx(flatten)]
    user: User,
    deletes_at: Option<Timestamp>,
}

impl Found {
    /// In the link: one deletion's link calls no other off.
    fn moment(&self) -> [u8; 8] {
        self.deletes_at.map_or(0, |at| at.timestamp_micros()).to_be_bytes()
    }
}

async fn find(accounts: &Accounts, user: Uuid) -> anyhow::Result<Option<Found>> {
    accounts
        .db
        .query("select id, email, name, locale, created_at, deletes_at from users where id = $1")
        .bind(user)
        .optional()
        .await
        .context("cannot look the user up")
}

/// Whose deletion a link calls off, with the moment at which it would happen; none for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn look(accounts: &Accounts, token: &str) -> anyhow::Result<Option<(User, Timestamp)>> {
    let token = LinkToken::parse(token);
    let found = find(accounts, token.id()).await?;
    let moment = found.as_ref().map_or([0; 8], Found::moment);
    let genuine = token.is_genuine(&accounts.keys, Purpose::RestoreLink, &[&moment]);
    Ok(found.filter(|_| genuine).and_then(|found| Some((found.user, found.deletes_at?))))
}

/// Deletes an account whose time has come, unless that was called off, and marks the event, which has its id and that time, as done
/// by `listener`, in one transaction.
///
/// # Errors
/// When the database refuses or is away.
pub async fn delete(accounts: &Accounts, listener: &str, event: (Uuid, Timestamp), user: Uuid) -> anyhow::Result<()> {
    let Accounts { db, clock, .. } = accounts;
    // not by this process's clock, which may be behind that of the relay
    let (event, now) = event;
    if due(accounts, user).await?.is_some_and(|due| due <= now) {
        // a part at a time: of somebody whose account was attacked there may be a million
        while hide_origins(accounts, user).await? > 0 {}
    }
    let mut tx = db.begin().await.context("cannot delete the account")?;
    if !inbox::mark(&mut tx, clock, listener, event).await? {
        return Ok(());
    }
    let gone: Option<(String,)> = tx
        .query("delete from users where id = $1 and deletes_at <= $2 returning email_canonical")
        .bind(user)
        .bind(now)
        .optional()
        .await
        .context("cannot delete the account")?;
    if let Some((canonical,)) = gone {
        for statement in
            ["delete from registrations where email_canonical = $1", "delete from resets where email_canonical = $1"]
        {
            tx.query(statement).bind(canonical.clone()).execute_deferred().await.context("cannot delete the rest")?;
        }
        outbox::append(&mut tx, clock, &Event::UserDeleted { user }).await?;
    }
    failpoint::reach("log.before_commit");
    accounts.commit(tx).await
}

/// Hides from where somebody came whose account was deleted, once more: a row of the log may have been written at that very moment.
/// The event is marked as done by `listener`.
///
/// # Errors
/// When the database refuses or is away.
pub async fn finish(accounts: &Accounts, listener: &str, event: Uuid, user: Uuid) -> anyhow::Result<()> {
    while hide_origins(accounts, user).await? > 0 {}
    let mut tx = accounts.db.begin().await?;
    inbox::mark(&mut tx, &accounts.clock, listener, event).await?;
    accounts.commit(tx).await
}

/// Takes out of the login log from where a user came; the number of rows.
async fn hide_origins(accounts: &Accounts, user: Uuid) -> anyhow::Result<u64> {
    let mut tx = accounts.db.begin().await?;
    let hidden = tx
        .query(
            "update login_log set ip = '', user_agent = '', attempted = null
             where id in (select id from login_log
                          where user_id = $1 and (ip <> '' or user_agent <> '' or attempted is not null)
                          limit $2)",
        )
        .bind(user)
        .bind(BATCH)
        .execute()
        .await
        .context("cannot clear the login log")?;
    tx.commit().await?;
    Ok(hidden)
}
