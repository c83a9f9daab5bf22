//! The change of an account's address that waits for its confirmation, and when it ends without one.

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::delivery::{Delivery, DeliveryColumns};
use crate::db::Tx;

/// Calls off what waits for its confirmation; false if nothing does.
///
/// # Errors
/// When the database is away.
pub async fn withdraw(accounts: &Accounts, user: Uuid) -> anyhow::Result<bool> {
    if of_user(accounts, user).await?.is_none() {
        return Ok(false);
    }
    let mut tx = accounts.db.begin().await.context("cannot call the change off")?;
    forget(&mut tx, user).await?;
    accounts.commit(tx).await?;
    Ok(true)
}

/// Of a user, what was not confirmed: its links open nothing any more. So for every new password: whoever knew the former one may
/// have asked for it.
pub(in crate::account) async fn forget(tx: &mut Tx, user: Uuid) -> anyhow::Result<()> {
    tx.query("delete from email_changes where user_id = $1 and confirmed_at is null")
        .bind(user)
        .execute_deferred()
        .await
        .context("cannot drop an earlier change")
}

/// A change that waits for its confirmation, as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The new address.
    pub email: String,
    /// How far the mail to it has come.
    pub delivery: Delivery,
}

#[derive(FromRow)]
struct WaitingRow {
    email: String,
    #[sqlx(flatten)]
    columns: DeliveryColumns,
}

/// The change of a user that waits.
///
/// # Errors
/// When the database is away.
pub async fn of_user(accounts: &Accounts, user: Uuid) -> sqlx::Result<Option<Waiting>> {
    let found: Option<WaitingRow> = accounts
        .db
        .query(
            "select email, delivery, delivery_at, trouble, next_try_at, created_at from email_changes
             where user_id = $1 and confirmed_at is null and expires_at > $2
             order by created_at desc limit 1",
        )
        .bind(user)
        .bind(accounts.clock.now())
        .optional()
        .await?;
    Ok(found.and_then(|row| Some(Waiting { email: row.email, delivery: row.columns.delivery()? })))
}
