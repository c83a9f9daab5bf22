//! A registration becomes a user.
//!
//! Three things must hold: the link is genuine and in time, the registration still waits, and who presses the button is
//! who chose the password — the browser that registered, or the password typed again. Without the third a stranger
//! registers your address, you press the button in the mail, and the stranger's password opens your account.

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::link::Claim;
use crate::account::credentials::policy::Password;
use crate::account::credentials::token::TokenHash;
use crate::account::session::{self, Begun};
use crate::clock::Timestamp;
use crate::event::{Event, Origin};
use crate::messaging::outbox;

/// What the page behind a link asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The button alone: this browser registered.
    Button,
    /// The button and the password.
    Password,
    /// Nothing: unknown, expired, used or malformed, which is all the same.
    Invalid,
}

/// Why a confirmation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Unknown, expired, used or malformed.
    #[error("this link does not work (any more)")]
    Invalid,
    /// Another browser registered, and the password is missing or another.
    #[error("the password is needed, as it was chosen at the registration")]
    Password,
}

#[derive(FromRow)]
struct Waiting {
    id: Uuid,
    email_canonical: String,
    password_hash: String,
    browser_hash: Vec<u8>,
    link_expires_at: Option<Timestamp>,
}

/// The registration behind a genuine link that is in time.
async fn find(accounts: &Accounts, token: &str) -> anyhow::Result<Option<Waiting>> {
    let claim = Claim::parse(token);
    let waiting: Option<Waiting> = accounts
        .db
        .query(
            "select id, email_canonical, password_hash, browser_hash, link_expires_at
             from registrations
             where id = $1",
        )
        .bind(claim.registration())
        .optional()
        .await
        .context("cannot look the registration up")?;
    // the code is computed for nobody's address too: found and not found take the same time
    let genuine = claim.is_genuine(&accounts.keys, waiting.as_ref().map_or("", |waiting| &waiting.email_canonical));
    let now = accounts.clock.now();
    Ok(waiting.filter(|waiting| genuine && waiting.link_expires_at.is_some_and(|until| now < until)))
}

/// What the page behind this link asks for. Changes nothing: scanners press GET too.
///
/// # Errors
/// When the database is away.
pub async fn ask(accounts: &Accounts, token: &str, browser: Option<TokenHash>) -> anyhow::Result<Ask> {
    Ok(match find(accounts, token).await? {
        None => Ask::Invalid,
        Some(waiting) if browser.is_some_and(|browser| browser.equals(&waiting.browser_hash)) => Ask::Button,
        Some(_) => Ask::Password,
    })
}

/// Makes the registration a user, deletes its rivals and signs the person in. The session of `replaces` ends: a browser
/// has one.
///
/// # Errors
/// [`Refused`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn confirm(
    accounts: &Accounts,
    token: &str,
    browser: Option<TokenHash>,
    password: Option<Password>,
    replaces: Option<TokenHash>,
    origin: Origin,
) -> anyhow::Result<Begun> {
    let waiting = find(accounts, token).await?.ok_or(Refused::Invalid)?;
    if !browser.is_some_and(|browser| browser.equals(&waiting.browser_hash)) {
        let password = password.ok_or(Refused::Password)?;
        let (verdict, _) = accounts.hasher.verify(password, Some(&waiting.password_hash)).await?;
        if !verdict.right {
            return Err(Refused::Password.into());
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
        .bind(waiting.id)
        .bind(now)
        .optional()
        .await
        .context("cannot create the user")?;
    // somebody was faster: the link is used, or a rival has become the user
    created.ok_or(Refused::Invalid)?;
    tx.query("delete from registrations where email_canonical = $1")
        .bind(waiting.email_canonical)
        .execute_deferred()
        .await
        .context("cannot remove the registration")?;
    if let Some(token) = replaces {
        session::revoke_in(&mut tx, accounts, token).await?;
    }
    let begun = session::begin(&mut tx, accounts, user, &origin).await?;
    let confirmed = Event::UserConfirmed { user, registration: waiting.id, origin };
    outbox::append(&mut tx, &accounts.clock, &confirmed).await?;
    accounts.commit(tx).await?;
    Ok(begun)
}
