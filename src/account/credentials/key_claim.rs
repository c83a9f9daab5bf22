//! Which secret key a database belongs to: it keeps the key's fingerprint, never the key.

use anyhow::Context as _;

use crate::account::credentials::keys::Keys;
use crate::db::Db;

const FIND: &str = "select value from installation where name = 'secret-key'";

/// Whether it belongs to some key already.
///
/// # Errors
/// When the database is away.
pub async fn is_claimed(db: &Db) -> anyhow::Result<bool> {
    let found: Option<(String,)> = db.query(FIND).optional().await?;
    Ok(found.is_some())
}

/// Claims the database for this key, unless another one has. Whether it belongs to this one.
///
/// # Errors
/// When the database is away or takes no writes.
pub async fn claim(db: &Db, keys: &Keys) -> anyhow::Result<bool> {
    let ours = keys.fingerprint();
    let found: Option<(String,)> = db.query(FIND).optional().await?;
    if let Some((theirs,)) = found {
        return Ok(theirs == ours);
    }
    let mut tx = db.begin().await?;
    tx.query("insert into installation (name, value) values ('secret-key', $1) on conflict (name) do nothing")
        .bind(ours.clone())
        .execute_deferred()
        .await?;
    // another process may have been faster
    let (theirs,): (String,) = tx.query(FIND).one().await?;
    tx.commit().await.context("cannot note which key the database belongs to")?;
    Ok(theirs == ours)
}

/// Claims the database for this key, whichever it belonged to.
///
/// # Errors
/// When the database is away or takes no writes.
pub async fn replace(db: &Db, keys: &Keys) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    tx.query(
        "insert into installation (name, value) values ('secret-key', $1)
         on conflict (name) do update set value = excluded.value",
    )
    .bind(keys.fingerprint())
    .execute_deferred()
    .await?;
    Ok(tx.commit().await?)
}
