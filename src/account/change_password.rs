//! Changing the password, by who is signed in and knows the present one.

use anyhow::Context as _;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::confirm;
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::policy::Weakness;
use crate::account::identity::address::Address;
use crate::account::identity::name::DisplayName;
use crate::account::proof;
use crate::account::session::{self, Browser, NewSession, SignedIn};
use crate::account::waiting_email;
use crate::event::{Event, PasswordChange};
use crate::messaging::outbox;

/// What is wrong, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be changed")]
pub struct PasswordErrors {
    /// The present password is another.
    pub current_is_wrong: bool,
    /// Why the new one may not be chosen.
    pub password: Option<Weakness>,
}

/// A password that was changed.
#[derive(Debug)]
pub struct PasswordChanged {
    /// The session that goes on in the place of the one that asked.
    pub new: NewSession,
    /// Those that ended.
    pub ended: Vec<Uuid>,
}

/// Changes the password. Every session ends; the one that asked goes on under a new token.
///
/// # Errors
/// [`PasswordErrors`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn change_password(
    accounts: &Accounts,
    signed_in: &SignedIn,
    current: &str,
    password: &str,
    browser: Browser,
) -> anyhow::Result<PasswordChanged> {
    let user = &signed_in.user;
    let wrong = PasswordErrors { current_is_wrong: true, password: None };
    let (address, name) = (Address::parse(&user.email).ok(), DisplayName::parse(&user.name).ok());
    let stored = proof::verified(accounts, user.id, browser.origin.ip, current).await?;
    let client = Client::at(browser.origin.ip).known_to(Some(user.id.to_string()));
    let chosen = accounts.password_check.choose(&client, password, address.as_ref(), name.as_ref()).await?;
    let (stored, chosen) = match (stored, chosen) {
        (Some(stored), Ok(chosen)) => (stored, chosen),
        // both at once, so that nobody sends the form twice
        (stored, chosen) => {
            return Err(PasswordErrors { current_is_wrong: stored.is_none(), password: chosen.err() }.into());
        }
    };
    let hash = accounts.hasher.hash(&client, chosen).await?;
    let mut tx = accounts.db.begin().await.context("cannot change the password")?;
    let changed = tx
        .query("update users set password_hash = $2 where id = $1 and password_hash = $3")
        .bind(user.id)
        .bind(hash)
        .bind(stored)
        .execute()
        .await
        .context("cannot change the password")?;
    if changed == 0 {
        // somebody else was quicker: what was typed is not the present password any more
        return Err(wrong.into());
    }
    confirm::forget_browser(&mut tx, user.id).await?;
    waiting_email::forget(&mut tx, user.id).await?;
    let ended = session::end_all(&mut tx, accounts, user.id, None).await?;
    let new = session::begin(&mut tx, accounts, user.id, &Browser { replaces: None, ..browser.clone() }).await?;
    let (session, origin) = (Some(new.session), browser.origin);
    let event = Event::PasswordChanged { user: user.id, by: PasswordChange::Account, session, origin };
    outbox::append(&mut tx, &accounts.clock, &event).await?;
    accounts.commit_for(tx, &client).await?;
    Ok(PasswordChanged { new, ended })
}
