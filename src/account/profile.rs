//! What a person may change about themselves without a proof: the name and the language.

use anyhow::Context as _;

use crate::account::Accounts;
use crate::account::identity::name::{DisplayName, NameError};
use crate::account::user::User;
use crate::event::Event;
use crate::locale::Locale;
use crate::messaging::outbox;

/// What is to change; none leaves it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProfileChange<'a> {
    /// What to call the person.
    pub name: Option<&'a str>,
    /// The language of their pages and mails, as its tag.
    pub locale: Option<&'a str>,
}

/// What is wrong, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the profile cannot be changed so")]
pub struct ProfileErrors {
    /// Why the name is none.
    pub name: Option<NameError>,
    /// It is no language of ours.
    pub locale_is_unknown: bool,
}

/// Changes what is to change, and returns the user as they are then. What stays as it was is no event.
///
/// # Errors
/// [`ProfileErrors`]; otherwise the database's.
pub async fn change(accounts: &Accounts, user: &User, change: ProfileChange<'_>) -> anyhow::Result<User> {
    let name = change.name.map(DisplayName::parse).transpose();
    let locale = change.locale.map(|tag| Locale::from_tag(tag).ok_or(())).transpose();
    let (name, locale) = match (name, locale) {
        (Ok(name), Ok(locale)) => (name, locale),
        (name, locale) => {
            return Err(ProfileErrors { name: name.err(), locale_is_unknown: locale.is_err() }.into());
        }
    };
    let mut new = user.clone();
    if let Some(name) = name {
        name.as_str().clone_into(&mut new.name);
    }
    if let Some(locale) = locale {
        locale.tag().clone_into(&mut new.locale);
    }
    if new == *user {
        return Ok(new);
    }
    let mut tx = accounts.db.begin().await.context("cannot change the profile")?;
    tx.query("update users set name = $2, locale = $3 where id = $1")
        .bind(new.id)
        .bind(new.name.clone())
        .bind(new.locale.clone())
        .execute_deferred()
        .await
        .context("cannot change the profile")?;
    outbox::append(&mut tx, &accounts.clock, &Event::UserUpdated { user: new.id }).await?;
    accounts.commit(tx).await?;
    Ok(new)
}
