//! A sign-in that its person is warned of, and the link to say that it was somebody else.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::budget::Budget;
use crate::account::credentials::keys::Purpose;
use crate::account::credentials::link::{LinkToken, link_token};
use crate::account::credentials::token::Token;
use crate::account::devices::{self, Unusual};
use crate::account::reset::{self, ResetRequest};
use crate::account::session;
use crate::account::waiting_email;
use crate::clock::Timestamp;
use crate::config::Rate;
use crate::db::Tx;
use crate::db::purge::Purge;
use crate::event::{Event, Origin};
use crate::messaging::outbox;

/// How long the link works.
const LINK_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// Warnings of one person: somebody who knows the password must not fill the mailbox.
const WARNINGS: Budget =
    Budget { name: "warnings of sign-ins", rate: Rate { number: 10, span: Duration::from_hours(24) } };

/// Sign-ins whose link works no more.
pub(super) const PURGE: Purge = Purge {
    name: "warned sign-ins past their time",
    statement: "delete from warned_sign_ins
                where session_id in (select session_id from warned_sign_ins where created_at <= $1 limit $2)",
    keep: LINK_LIFETIME,
};

/// Has a person warned of a sign-in, in its own transaction: once, whatever becomes of it later.
///
/// # Errors
/// When the database is away.
pub(in crate::account) async fn warn(
    tx: &mut Tx,
    accounts: &Accounts,
    (user, session): (Uuid, Uuid),
    unusual: Unusual,
    origin: &Origin,
) -> anyhow::Result<()> {
    if !WARNINGS.take(tx, accounts, &user.to_string()).await? {
        return Ok(());
    }
    tx.query("insert into warned_sign_ins (session_id, user_id, created_at) values ($1, $2, $3)")
        .bind(session)
        .bind(user)
        .bind(accounts.clock.now())
        .execute_deferred()
        .await
        .context("cannot write the warning")?;
    let origin = origin.clone();
    let event = match unusual {
        Unusual::NewDevice => Event::LoginNewDevice { user, session, origin },
        Unusual::AfterFailures => Event::LoginAfterFailures { user, session, origin },
    };
    outbox::append(tx, &accounts.clock, &event).await?;
    Ok(())
}

/// The token of the link in the warning of a sign-in.
#[must_use]
pub fn token(accounts: &Accounts, user: Uuid, session: Uuid) -> String {
    link_token(&accounts.keys, Purpose::DisownLink, session, &[user.as_bytes()])
}

/// The link does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this link does not work (any more)")]
pub struct DisownRefused;

#[derive(FromRow)]
struct Warned {
    user_id: Uuid,
    email: String,
    created_at: Timestamp,
}

/// The sign-ins that somebody was warned of, and can still disown.
///
/// # Errors
/// When the database is away.
pub(in crate::account) async fn of_user(accounts: &Accounts, user: Uuid) -> sqlx::Result<Vec<(Uuid, Timestamp)>> {
    accounts
        .db
        .query("select session_id, created_at from warned_sign_ins where user_id = $1 order by created_at, session_id")
        .bind(user)
        .all()
        .await
}

async fn find(accounts: &Accounts, token: &str) -> anyhow::Result<Option<(Warned, Uuid)>> {
    let token = LinkToken::parse(token);
    let found: Option<Warned> = accounts
        .db
        .query(
            "select w.user_id, u.email, w.created_at
             from warned_sign_ins w join users u on u.id = w.user_id
             where w.session_id = $1",
        )
        .bind(token.id())
        .optional()
        .await
        .context("cannot look the sign-in up")?;
    // computed for nobody too: found and not found take the same time
    let user = found.as_ref().map_or(Uuid::nil(), |found| found.user_id);
    let genuine = token.is_genuine(&accounts.keys, Purpose::DisownLink, &[user.as_bytes()]);
    let now = accounts.clock.now();
    Ok(found.filter(|found| genuine && now < found.created_at + LINK_LIFETIME).map(|found| (found, token.id())))
}

/// Whether a link works. Changes nothing: mail scanners send GET too.
///
/// # Errors
/// When the database is away.
pub async fn is_open(accounts: &Accounts, token: &str) -> anyhow::Result<bool> {
    Ok(find(accounts, token).await?.is_some())
}

/// A sign-in that was ended by its person.
#[derive(Debug)]
pub struct Disowned {
    /// The sessions that ended.
    pub ended: Vec<Uuid>,
    /// For the cookie of the browser, which waits for the mail with the link to a new password.
    pub browser: Token,
}

/// Ends the session of a sign-in that was somebody else's, and every one that has begun since (one device may have several, and who knows
/// the password several devices), drops a change of the address that waits, and asks for the mail with the link to a new password, in
/// `locale` where nobody has the address any more. Safe to repeat: a mail is asked for once, and again when its link has expired.
///
/// # Errors
/// [`DisownRefused`]; otherwise the database's.
pub async fn disown(
    accounts: &Accounts,
    token: &str,
    locale: &'static str,
    origin: Origin,
) -> anyhow::Result<Disowned> {
    let (warned, session) = find(accounts, token).await?.ok_or(DisownRefused)?;
    let Warned { user_id: user, email, created_at: since } = warned;
    let mut tx = accounts.db.begin().await.context("cannot end the session")?;
    let ended = session::end_since(&mut tx, accounts, user, (session, since)).await?;
    devices::forget_since(&mut tx, user, since).await?;
    waiting_email::forget(&mut tx, user).await?;
    accounts.commit(tx).await?;
    // whatever strangers have used up of the address's mails
    let request = ResetRequest { email: &email, locale, form: Some(token), in_any_case: true, origin };
    Ok(Disowned { ended, browser: reset::request(accounts, request).await? })
}
