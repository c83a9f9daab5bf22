//! Users, looked up.

use sqlx::FromRow;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::Db;

/// Somebody who may sign in.
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
