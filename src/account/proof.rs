//! The proof that who is signed in knows the password: asked by what must not be done from a browser that was left open.

use std::net::IpAddr;

use anyhow::Context as _;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::budget::Try;
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::policy::Password;
use crate::account::session::{self, NewSession, SignedIn};

/// The password is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the present password")]
pub struct WrongPassword;

/// The hash of the present password, if what was typed is that password.
///
/// # Errors
/// [`crate::error::OverBudget`]; [`crate::error::Overloaded`]; otherwise the database's.
pub(in crate::account) async fn verified(
    accounts: &Accounts,
    user: Uuid,
    ip: IpAddr,
    typed: &str,
) -> anyhow::Result<Option<String>> {
    let (stored,): (String,) = accounts
        .db
        .query("select password_hash from users where id = $1")
        .bind(user)
        .one()
        .await
        .context("cannot look the password up")?;
    let attempt = Try::to_prove(accounts, user).await?;
    // a session proves no less than a device cookie
    let client = Client::at(ip).known_to(Some(user.to_string()));
    let right = match Password::normalise(typed) {
        Ok(typed) => accounts.hasher.verify(&client, typed, Some(&stored)).await?.0.right,
        Err(_) => false,
    };
    let mut tx = accounts.db.begin().await?;
    if right {
        attempt.succeeded(&mut tx).await?;
    } else {
        attempt.failed(&mut tx, accounts).await?;
    }
    tx.commit().await?;
    Ok(right.then_some(stored))
}

/// Shows the password in this session, from this address; the session goes on under a new token (OWASP ASVS 7.2.4).
///
/// # Errors
/// [`WrongPassword`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn prove(accounts: &Accounts, signed_in: &SignedIn, ip: IpAddr, typed: &str) -> anyhow::Result<NewSession> {
    verified(accounts, signed_in.user.id, ip, typed).await?.ok_or(WrongPassword)?;
    let mut tx = accounts.db.begin().await?;
    let new = session::renew(&mut tx, accounts, signed_in).await?;
    tx.commit().await?;
    Ok(new)
}

/// Whether the password was shown in this session a short time ago.
///
/// # Errors
/// When the database is away.
pub async fn is_fresh(accounts: &Accounts, session: Uuid) -> sqlx::Result<bool> {
    let found: Option<(i32,)> = accounts
        .db
        .query("select 1 from sessions where id = $1 and coalesce(proved_at, created_at) > $2")
        .bind(session)
        .bind(accounts.clock.now() - accounts.lifetimes.fresh_for)
        .optional()
        .await?;
    Ok(found.is_some())
}
