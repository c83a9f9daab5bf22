//! The mail of a registration once more: to the same address, or to a corrected one.
//!
//! Both write what the first mail did, an event, and neither looks whether anybody has the address. The mail before is given up
//! where it has not gone yet; the budgets of the address are asked by the listener, as for any mail.

use anyhow::Context as _;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::token::TokenHash;
use crate::account::delivery::DeliveryStatus;
use crate::account::identity::address::Address;
use crate::db::Tx;
use crate::event::{Event, Origin};
use crate::messaging::outbox;

/// Who asks for a mail again.
#[derive(Clone, Debug)]
pub struct Again {
    /// The browser that registered.
    pub browser: TokenHash,
    /// Which mail the form was shown for: sent twice, it asks once. Without it every call asks.
    pub shown: Option<u32>,
    /// The client.
    pub origin: Origin,
}

/// Asks for the mail again, to the same address; its link stays what it is. False if nothing was to be asked for: no registration
/// of this browser waits, or the form was sent before.
///
/// # Errors
/// When the database is away.
pub async fn resend(accounts: &Accounts, again: Again) -> anyhow::Result<bool> {
    let mut tx = accounts.db.begin().await.context("cannot ask for a mail")?;
    let asked: Option<(Uuid, i64)> = tx
        .query(
            "update registrations
             set mails = mails + 1, within_budget = null, delivery = $3, delivery_at = $2, trouble = null, next_try_at = null
             where browser_hash = $1 and expires_at > $2 and confirmed_user is null and mails = coalesce($4, mails)
             returning id, mails",
        )
        .bind(again.browser.to_vec())
        .bind(accounts.clock.now())
        .bind(DeliveryStatus::Queued.as_str())
        .bind(again.shown.map(i64::from))
        .optional()
        .await
        .context("cannot ask for a mail")?;
    append(tx, accounts, asked, again.origin).await
}

/// Gives the registration another address and asks for its mail there. The link that went to the address before opens nothing from
/// then on; name and password stay. False as of [`fn@resend`].
///
/// # Errors
/// [`AddressError`](crate::account::identity::address::AddressError); otherwise the database's.
pub async fn correct(accounts: &Accounts, email: &str, again: Again) -> anyhow::Result<bool> {
    let address = Address::parse(email)?;
    let mut tx = accounts.db.begin().await.context("cannot correct the address")?;
    // the link covers the address, so the old one is dead; that it is open is not said before a mail goes
    let asked: Option<(Uuid, i64)> = tx
        .query(
            "update registrations
             set email = $5, email_canonical = $6, link_expires_at = null,
               mails = mails + 1, within_budget = null, delivery = $3, delivery_at = $2, trouble = null, next_try_at = null
             where browser_hash = $1 and expires_at > $2 and confirmed_user is null and mails = coalesce($4, mails)
             returning id, mails",
        )
        .bind(again.browser.to_vec())
        .bind(accounts.clock.now())
        .bind(DeliveryStatus::Queued.as_str())
        .bind(again.shown.map(i64::from))
        .bind(address.as_typed().to_owned())
        .bind(address.canonical().to_owned())
        .optional()
        .await
        .context("cannot correct the address")?;
    append(tx, accounts, asked, again.origin).await
}

async fn append(mut tx: Tx, accounts: &Accounts, asked: Option<(Uuid, i64)>, origin: Origin) -> anyhow::Result<bool> {
    let Some((registration, mails)) = asked else { return Ok(false) };
    let requested = Event::ConfirmationRequested { registration, mail: u32::try_from(mails)?, origin };
    outbox::append(&mut tx, &accounts.clock, &requested).await?;
    accounts.commit(tx).await?;
    Ok(true)
}
