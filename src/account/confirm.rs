//! A registration becomes a user.
//!
//! Three things must hold: the link is genuine and in time, the registration still waits, and who presses the button is
//! who chose the password: the browser that registered, or the password typed again. Without the third a stranger
//! registers your address, you press the button in the mail, and the stranger's password opens your account.

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::link::ConfirmToken;
use crate::account::credentials::policy::Password;
use crate::account::credentials::token::TokenHash;
use crate::account::session::{self, NewSession};
use crate::clock::Timestamp;
use crate::event::{Event, Origin};
use crate::messaging::outbox;

/// What the page of a link asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmStep {
    /// The button alone: this browser registered.
    Button,
    /// The button and the password.
    Password,
    /// Nothing: unknown, expired, used or malformed, which is all the same.
    Invalid,
}

/// Why a confirmation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmRefused {
    /// Unknown, expired, used or malformed.
    #[error("this link does not work (any more)")]
    Invalid,
    /// Another browser registered, and the password is missing or another.
    #[error("the password is needed, as it was chosen at the registration")]
    Password,
}

#[derive(FromRow)]
struct PendingRegistration {
    id: Uuid,
    email_canonical: String,
    password_hash: String,
    browser_hash: Vec<u8>,
    link_expires_at: Option<Timestamp>,
}

/// The registration of a genuine link that has not expired.
async fn find(accounts: &Accounts, token: &str) -> anyhow::Result<Option<PendingRegistration>> {
    let token = ConfirmToken::parse(token);
    let pending: Option<PendingRegistration> = accounts
        .db
        .query(
            // one whose address somebody has by now waits for nothing, though its browser is shown what it was shown before
            "select id, email_canonical, password_hash, browser_hash, link_expires_at
             from registrations r
             where id = $1 and not exists (select 1 from users u where u.email_canonical = r.email_canonical)",
        )
        .bind(token.registration())
        .optional()
        .await
        .context("cannot look the registration up")?;
    // computed for an empty address too: found and not found take the same time
    let genuine = token.is_genuine(&accounts.keys, pending.as_ref().map_or("", |pending| &pending.email_canonical));
    let now = accounts.clock.now();
    Ok(pending.filter(|pending| genuine && pending.link_expires_at.is_some_and(|until| now < until)))
}

/// What the page of this link asks for. Changes nothing: mail scanners send GET too.
///
/// # Errors
/// When the database is away.
pub async fn next_step(accounts: &Accounts, token: &str, browser: Option<TokenHash>) -> anyhow::Result<ConfirmStep> {
    Ok(match find(accounts, token).await? {
        None => ConfirmStep::Invalid,
        Some(pending) if browser.is_some_and(|browser| browser.equals(&pending.browser_hash)) => ConfirmStep::Button,
        Some(_) => ConfirmStep::Password,
    })
}

/// Makes the registration a user and begins a session. The others for the same address open nothing from now on, and stay
/// until their time is over: whoever made one cannot see the moment at which the owner confirmed. The session of `replaces`
/// ends: a browser has one at a time.
///
/// # Errors
/// [`ConfirmRefused`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn confirm(
    accounts: &Accounts,
    token: &str,
    browser: Option<TokenHash>,
    password: Option<Password>,
    replaces: Option<TokenHash>,
    origin: Origin,
) -> anyhow::Result<NewSession> {
    let pending = find(accounts, token).await?.ok_or(ConfirmRefused::Invalid)?;
    if !browser.is_some_and(|browser| browser.equals(&pending.browser_hash)) {
        let password = password.ok_or(ConfirmRefused::Password)?;
        let (verdict, _) = accounts.hasher.verify(password, Some(&pending.password_hash)).await?;
        if !verdict.right {
            return Err(ConfirmRefused::Password.into());
        }
    }

    let now = accounts.clock.now();
    let user = accounts.clock.new_id();
    let mut tx = accounts.db.begin().await.context("cannot confirm")?;
    let created: Option<(Uuid,)> = tx
        .query(
            "insert into users (id, email, email_canonical, name, password_hash, locale, created_at)
             select $1, email, email_canonical, name, password_hash, locale, $3
             from registrations
             where id = $2 and link_expires_at > $3
             on conflict (email_canonical) do nothing
             returning id",
        )
        .bind(user)
        .bind(pending.id)
        .bind(now)
        .optional()
        .await
        .context("cannot create the user")?;
    // a concurrent request used the link, or another registration has taken the address
    created.ok_or(ConfirmRefused::Invalid)?;
    tx.query("delete from registrations where id = $1")
        .bind(pending.id)
        .execute_deferred()
        .await
        .context("cannot remove the registration")?;
    let new = session::begin(&mut tx, accounts, user, &origin, replaces).await?;
    let confirmed = Event::UserConfirmed { user, registration: pending.id, origin };
    outbox::append(&mut tx, &accounts.clock, &confirmed).await?;
    accounts.commit(tx).await?;
    Ok(new)
}
