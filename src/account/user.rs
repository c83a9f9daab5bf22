//! Looking users up.

use sqlx::FromRow;
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

/// A user as operators see one.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
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

/// Every user, the newest last.
///
/// # Errors
/// When the database is away.
pub async fn list(db: &Db) -> sqlx::Result<Vec<UserSummary>> {
    db.query("select id, email, name, created_at, admin_since from users order by created_at, id").all().await
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
