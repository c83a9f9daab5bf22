//! Sessions: a random token in a cookie, its SHA-256 in the table.

pub mod cache;

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::token::{Token, TokenHash};
use crate::account::user::{self, User};
use crate::clock::Timestamp;
use crate::db::{self, Tx};
use crate::event::{Event, Origin};
use crate::messaging::outbox;

/// How stale `last_seen_at` may be: a write for every read would make reading as slow as writing.
const LAST_SEEN_GRANULARITY: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// A session that has not ended, and its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The session.
    pub session: Uuid,
    /// Who.
    pub user: User,
    /// When it ends unless it is used again.
    pub until: Timestamp,
    /// Whether it outlives the browser's.
    pub kept: bool,
}

/// The browser, or another program, that a session is for.
#[derive(Clone, Debug)]
pub struct Browser {
    /// From where.
    pub origin: Origin,
    /// The session that it has now: a browser has one at a time.
    pub replaces: Option<TokenHash>,
    /// Its device cookie.
    pub device: Option<String>,
    /// Whether the session is to outlive the browser's, without an idle limit.
    pub keep: bool,
}

/// A session that has just begun.
#[derive(Debug)]
pub struct NewSession {
    /// The session.
    pub session: Uuid,
    /// For the cookie.
    pub token: Token,
    /// Whether it outlives the browser's.
    pub kept: bool,
}

/// Begins a session of this user, and ends the one that it replaces in the same transaction. Pages that wait for it are told, on
/// every node.
///
/// # Errors
/// When the database refuses or is away.
pub(in crate::account) async fn begin(
    tx: &mut Tx,
    accounts: &Accounts,
    user: Uuid,
    browser: &Browser,
) -> anyhow::Result<NewSession> {
    let new = insert(tx, accounts, user, browser).await?;
    let begun = Event::SessionBegun { user, session: new.session, registration: None };
    outbox::append(tx, &accounts.clock, &begun).await?;
    Ok(new)
}

/// As [`begin`], for a user that a registration has just become.
pub(in crate::account) async fn begin_confirmed(
    tx: &mut Tx,
    accounts: &Accounts,
    (user, registration): (Uuid, Uuid),
    browser: &Browser,
) -> anyhow::Result<NewSession> {
    let new = insert(tx, accounts, user, browser).await?;
    let begun = Event::SessionBegun { user, session: new.session, registration: Some(registration) };
    outbox::append(tx, &accounts.clock, &begun).await?;
    Ok(new)
}

async fn insert(tx: &mut Tx, accounts: &Accounts, user: Uuid, browser: &Browser) -> anyhow::Result<NewSession> {
    let Browser { origin, replaces, keep, .. } = browser;
    if let Some(replaced) = *replaces {
        revoke_in(tx, accounts, replaced).await?;
    }
    let (session, token, now) = (accounts.clock.new_id(), Token::new()?, accounts.clock.now());
    tx.query(
        "insert into sessions (id, token_hash, user_id, created_at, last_seen_at, expires_at, ip, user_agent, kept)
         values ($1, $2, $3, $4, $4, $5, $6, $7, $8)",
    )
    .bind(session)
    .bind(token.hash().to_vec())
    .bind(user)
    .bind(now)
    .bind(now + accounts.lifetimes.session)
    .bind(origin.ip.to_string())
    .bind(origin.user_agent.clone())
    .bind(*keep)
    .execute_deferred()
    .await
    .context("cannot begin a session")?;
    Ok(NewSession { session, token, kept: *keep })
}

/// Gives a session whose person has just shown the password a new token; the old one opens nothing any more. On other nodes it
/// does for as long as they remember a session without asking, which is less than a second.
pub(in crate::account) async fn renew(
    tx: &mut Tx,
    accounts: &Accounts,
    signed_in: &SignedIn,
) -> anyhow::Result<NewSession> {
    let token = Token::new()?;
    tx.query("update sessions set token_hash = $2, proved_at = $3 where id = $1")
        .bind(signed_in.session)
        .bind(token.hash().to_vec())
        .bind(accounts.clock.now())
        .execute_deferred()
        .await
        .context("cannot renew the session")?;
    Ok(NewSession { session: signed_in.session, token, kept: signed_in.kept })
}

#[derive(FromRow)]
struct Found {
    session: Uuid,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    kept: bool,
    #[sqlx(flatten)]
    user: User,
}

/// Who is signed in with this token, if its session exists and has not expired. It is used by that.
///
/// # Errors
/// When the database is away, which does not mean nobody.
pub async fn find(accounts: &Accounts, token: TokenHash) -> anyhow::Result<Option<SignedIn>> {
    let Some(found) = look_up(accounts, token).await? else { return Ok(None) };
    let now = accounts.clock.now();
    let mut seen = found.last_seen_at;
    if now - seen > LAST_SEEN_GRANULARITY {
        match touch(accounts, found.session, now).await {
            Ok(()) => seen = now,
            // a database that takes no writes is no reason to show nothing: the next request tries again
            Err(error) if db::outage(&error).is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(found.signed_in(accounts, seen)))
}

/// As [`find`], for a page that stays open: that is no use of the session, which ends by itself all the same.
///
/// # Errors
/// As [`find`].
pub async fn peek(accounts: &Accounts, token: TokenHash) -> anyhow::Result<Option<SignedIn>> {
    let found = look_up(accounts, token).await?;
    Ok(found.map(|found| {
        let seen = found.last_seen_at;
        found.signed_in(accounts, seen)
    }))
}

/// Until when a session lives unless it is used again, if it has not ended: for a page that was opened with it and stays open.
///
/// # Errors
/// When the database is away.
pub async fn until(accounts: &Accounts, session: Uuid) -> anyhow::Result<Option<Timestamp>> {
    let now = accounts.clock.now();
    let idle = accounts.lifetimes.session_idle;
    let found: Option<(Timestamp, Timestamp, bool)> = accounts
        .db
        .query(
            "select s.expires_at, s.last_seen_at, s.kept
             from sessions s join users u on u.id = s.user_id
             where s.id = $1 and s.expires_at > $2 and (s.kept or s.last_seen_at > $3) and u.disabled_at is null",
        )
        .bind(session)
        .bind(now)
        .bind(now - idle)
        .optional()
        .await
        .context("cannot look the session up")?;
    Ok(found.map(|(expires_at, seen, kept)| lives_until(accounts, expires_at, seen, kept)))
}

fn lives_until(accounts: &Accounts, expires_at: Timestamp, seen: Timestamp, kept: bool) -> Timestamp {
    if kept { expires_at } else { expires_at.min(seen + accounts.lifetimes.session_idle) }
}

impl Found {
    fn signed_in(self, accounts: &Accounts, seen: Timestamp) -> SignedIn {
        let until = lives_until(accounts, self.expires_at, seen, self.kept);
        SignedIn { session: self.session, user: self.user, until, kept: self.kept }
    }
}

async fn look_up(accounts: &Accounts, token: TokenHash) -> anyhow::Result<Option<Found>> {
    let now = accounts.clock.now();
    accounts
        .db
        .query(
            "select s.id as session, s.last_seen_at, s.expires_at, s.kept, u.id, u.email, u.name, u.locale, u.created_at
             from sessions s join users u on u.id = s.user_id
             where s.token_hash = $1 and s.expires_at > $2 and (s.kept or s.last_seen_at > $3) and u.disabled_at is null",
        )
        .bind(token.to_vec())
        .bind(now)
        .bind(now - accounts.lifetimes.session_idle)
        .optional()
        .await
        .context("cannot look the session up")
}

async fn touch(accounts: &Accounts, session: Uuid, now: Timestamp) -> sqlx::Result<()> {
    let mut tx = accounts.db.begin().await?;
    tx.query("update sessions set last_seen_at = $2 where id = $1").bind(session).bind(now).execute_deferred().await?;
    tx.commit().await
}

/// A session as its person sees it.
#[derive(Clone, Debug, FromRow)]
pub struct SessionSummary {
    /// The session.
    pub id: Uuid,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen_at: Timestamp,
    /// The client's address when it began.
    pub ip: String,
    /// The client's `User-Agent` then.
    pub user_agent: String,
}

/// The sessions of a user that have not ended, the last one used first.
///
/// # Errors
/// When the database is away.
pub async fn of_user(accounts: &Accounts, user: Uuid) -> sqlx::Result<Vec<SessionSummary>> {
    let now = accounts.clock.now();
    accounts
        .db
        .query(
            "select id, created_at, last_seen_at, ip, user_agent from sessions
             where user_id = $1 and expires_at > $2 and (kept or last_seen_at > $3)
             order by last_seen_at desc, id desc limit 200",
        )
        .bind(user)
        .bind(now)
        .bind(now - accounts.lifetimes.session_idle)
        .all()
        .await
}

/// The sessions of a user that began after `since` and have not ended, the oldest first; of many the last fifty.
///
/// # Errors
/// When the database is away.
pub async fn begun_since(accounts: &Accounts, user: Uuid, since: Timestamp) -> sqlx::Result<Vec<SessionSummary>> {
    let mut begun: Vec<SessionSummary> = accounts
        .db
        .query(
            "select id, created_at, last_seen_at, ip, user_agent from sessions
             where user_id = $1 and created_at > $2
             order by created_at desc, id desc limit 50",
        )
        .bind(user)
        .bind(since)
        .all()
        .await?;
    begun.reverse();
    Ok(begun)
}

/// Ends a session of this user; false if they have no such session.
///
/// # Errors
/// When the database is away.
pub async fn end(accounts: &Accounts, user: Uuid, session: Uuid) -> anyhow::Result<bool> {
    let mut tx = accounts.db.begin().await?;
    let ended = end_in(&mut tx, accounts, user, session).await?;
    if ended {
        accounts.commit(tx).await?;
    }
    Ok(ended)
}

/// As [`end`], in a transaction.
pub(in crate::account) async fn end_in(
    tx: &mut Tx,
    accounts: &Accounts,
    user: Uuid,
    session: Uuid,
) -> anyhow::Result<bool> {
    let ended = tx
        .query("delete from sessions where id = $1 and user_id = $2")
        .bind(session)
        .bind(user)
        .execute()
        .await
        .context("cannot end the session")?;
    if ended == 1 {
        outbox::append(tx, &accounts.clock, &Event::SessionRevoked { user, session }).await?;
    }
    Ok(ended == 1)
}

/// Ends a session and what has begun since then, in a transaction, and has every node forget it; these are returned.
pub(in crate::account) async fn end_since(
    tx: &mut Tx,
    accounts: &Accounts,
    user: Uuid,
    (first, since): (Uuid, Timestamp),
) -> anyhow::Result<Vec<Uuid>> {
    let ended: Vec<(Uuid,)> = tx
        .query("delete from sessions where user_id = $1 and (id = $2 or created_at >= $3) returning id")
        .bind(user)
        .bind(first)
        .bind(since)
        .all()
        .await
        .context("cannot end the sessions")?;
    revoked(tx, accounts, user, ended).await
}

/// Ends every session of this user but one; these are returned.
///
/// # Errors
/// When the database is away.
pub async fn end_others(accounts: &Accounts, user: Uuid, but: Uuid) -> anyhow::Result<Vec<Uuid>> {
    let mut tx = accounts.db.begin().await?;
    let ended = end_all(&mut tx, accounts, user, Some(but)).await?;
    accounts.commit(tx).await?;
    Ok(ended)
}

/// Ends every session of the user of a canonical address, and returns how many; none if nobody has it.
///
/// # Errors
/// When the database is away.
pub async fn end_every(accounts: &Accounts, canonical: &str) -> anyhow::Result<Option<usize>> {
    let Some(user) = user::by_canonical(&accounts.db, canonical).await? else { return Ok(None) };
    let mut tx = accounts.db.begin().await?;
    let ended = end_all(&mut tx, accounts, user.id, None).await?;
    accounts.commit(tx).await?;
    Ok(Some(ended.len()))
}

/// Ends the sessions of a user in a transaction, but for one if it is named, and has every node forget them; these are returned.
pub(in crate::account) async fn end_all(
    tx: &mut Tx,
    accounts: &Accounts,
    user: Uuid,
    but: Option<Uuid>,
) -> anyhow::Result<Vec<Uuid>> {
    let ended: Vec<(Uuid,)> = tx
        .query("delete from sessions where user_id = $1 and id <> $2 returning id")
        .bind(user)
        .bind(but.unwrap_or_default())
        .all()
        .await
        .context("cannot end the sessions")?;
    revoked(tx, accounts, user, ended).await
}

/// Has every node forget sessions that have ended; these are returned.
async fn revoked(tx: &mut Tx, accounts: &Accounts, user: Uuid, ended: Vec<(Uuid,)>) -> anyhow::Result<Vec<Uuid>> {
    let ended: Vec<Uuid> = ended.into_iter().map(|(session,)| session).collect();
    for session in &ended {
        outbox::append(tx, &accounts.clock, &Event::SessionRevoked { user, session: *session }).await?;
    }
    Ok(ended)
}

/// Ends a session, if it still exists, and has every node forget it.
///
/// # Errors
/// When the database is away.
pub async fn revoke(accounts: &Accounts, token: TokenHash) -> anyhow::Result<()> {
    let exists: Option<(i32,)> = accounts
        .db
        .query("select 1 from sessions where token_hash = $1")
        .bind(token.to_vec())
        .optional()
        .await
        .context("cannot look the session up")?;
    if exists.is_none() {
        // a stranger's endless cookies take no lock
        return Ok(());
    }
    let mut tx = accounts.db.begin().await?;
    revoke_in(&mut tx, accounts, token).await?;
    accounts.commit(tx).await
}

async fn revoke_in(tx: &mut Tx, accounts: &Accounts, token: TokenHash) -> anyhow::Result<()> {
    let revoked: Option<(Uuid, Uuid)> = tx
        .query("delete from sessions where token_hash = $1 returning id, user_id")
        .bind(token.to_vec())
        .optional()
        .await
        .context("cannot end the session")?;
    if let Some((session, user)) = revoked {
        outbox::append(tx, &accounts.clock, &Event::SessionRevoked { user, session }).await?;
    }
    Ok(())
}
