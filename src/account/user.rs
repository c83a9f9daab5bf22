//! Looking users up.

use serde::Serialize;
use sqlx::FromRow;
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use crate::account::Accounts;
use crate::clock::Timestamp;
use crate::db::Db;

/// An account that may sign in.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct User {
    /// The account.
    pub id: Uuid,
    /// The address as typed.
    pub email: String,
    /// What to call them.
    pub name: String,
    /// The language of their pages and mails: `en`, `zh-CN`.
    pub locale: String,
    /// When the address was confirmed.
    pub created_at: Timestamp,
}

/// The user of a canonical address.
///
/// # Errors
/// When the database is away.
pub async fn by_canonical(db: &Db, canonical: &str) -> sqlx::Result<Option<User>> {
    db.query("select id, email, name, locale, created_at from users where email_canonical = $1")
        .bind(canonical.to_owned())
        .optional()
        .await
}

/// A user.
///
/// # Errors
/// When the database is away.
pub async fn by_id(db: &Db, id: Uuid) -> sqlx::Result<Option<User>> {
    db.query("select id, email, name, locale, created_at from users where id = $1").bind(id).optional().await
}

/// The address of a registration that waits or of a user, for operators.
///
/// # Errors
/// When the database is away.
pub async fn address_of(db: &Db, id: Uuid) -> sqlx::Result<Option<String>> {
    let found: Option<(String,)> = db
        .query("select email from users where id = $1 union all select email from registrations where id = $1 limit 1")
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(|(email,)| email))
}

/// A user as operators see one.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct UserSummary {
    /// The account.
    pub id: Uuid,
    /// The address as typed.
    pub email: String,
    /// What to call them.
    pub name: String,
    /// When the address was confirmed.
    pub created_at: Timestamp,
    /// Since when they are an administrator, if they are.
    pub admin_since: Option<Timestamp>,
}

/// Which users are meant.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// In lower case.
    search: Option<String>,
    admin: bool,
}

impl UserFilter {
    /// Those whose address or name has `search` in it, in capitals or not, and with `admin` only administrators.
    #[must_use]
    pub fn new(search: Option<&str>, admin: bool) -> Self {
        UserFilter { search: search.map(folded), admin }
    }

    /// Whether this one is meant.
    #[must_use]
    pub fn matches(&self, user: &UserSummary) -> bool {
        let is_found = |text: &String| folded(&user.email).contains(text) || folded(&user.name).contains(text);
        (!self.admin || user.admin_since.is_some()) && self.search.as_ref().is_none_or(is_found)
    }
}

/// As it is compared: the databases do not agree on what a capital letter is.
fn folded(text: &str) -> String {
    text.nfc().collect::<String>().to_lowercase()
}

/// At most `limit` users after the one with this id, or from the first on after the nil id; the newest last. Ids sort by the
/// time of their making, so that this follows the primary key.
///
/// # Errors
/// When the database is away.
pub async fn page(db: &Db, after: Uuid, limit: u16) -> sqlx::Result<Vec<UserSummary>> {
    db.query("select id, email, name, created_at, admin_since from users where id > $1 order by id limit $2")
        .bind(after)
        .bind(i64::from(limit))
        .all()
        .await
}

/// The user of a canonical address as operators see one.
///
/// # Errors
/// When the database is away.
pub async fn summary(db: &Db, canonical: &str) -> sqlx::Result<Option<UserSummary>> {
    db.query("select id, email, name, created_at, admin_since from users where email_canonical = $1")
        .bind(canonical.to_owned())
        .optional()
        .await
}

/// Makes the user of a canonical address an administrator, or none any more; false if nobody has the address.
///
/// # Errors
/// When the database is away.
pub async fn set_admin(accounts: &Accounts, canonical: &str, admin: bool) -> anyhow::Result<bool> {
    let mut tx = accounts.db.begin().await?;
    let found = tx
        .query(
            "update users
             set admin_since = case when $2 then coalesce(admin_since, $3) end
             where email_canonical = $1",
        )
        .bind(canonical.to_owned())
        .bind(admin)
        .bind(accounts.clock.now())
        .execute()
        .await?;
    tx.commit().await?;
    Ok(found == 1)
}

/// Whether a user is an administrator at this moment.
///
/// # Errors
/// When the database is away.
pub async fn is_admin(db: &Db, user: Uuid) -> sqlx::Result<bool> {
    let found: Option<(i32,)> =
        db.query("select 1 from users where id = $1 and admin_since is not null").bind(user).optional().await?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_address_and_name_in_capitals_or_not() {
        let admin_since = Some("2026-01-31T08:00:00Z".parse().unwrap());
        let user = UserSummary {
            id: Uuid::nil(),
            email: "Zoe@example.org".into(),
            name: "Zo\u{eb} \u{c9}clair".into(),
            created_at: "2026-01-31T08:00:00Z".parse().unwrap(),
            admin_since: None,
        };
        for (search, found) in
            [("zoe@", true), ("ZOE", true), ("\u{e9}CLAIR", true), ("e\u{301}clair", true), ("", true), ("bob", false)]
        {
            assert_eq!(UserFilter::new(Some(search), false).matches(&user), found, "{search}");
        }
        assert!(!UserFilter::new(None, true).matches(&user));
        assert!(UserFilter::new(None, true).matches(&UserSummary { admin_since, ..user }));
    }
}
