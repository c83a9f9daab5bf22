//! Moving an account to another address, by who is signed in and knows the password.
//!
//! Nothing changes until the link in the mail to the new address is pressed; then the former address is told, with a link that undoes
//! it. What is written does not say whether anybody has the new address, so the answer cannot tell; the listener `email-change`
//! looks, and sends one mail or another.

use std::net::IpAddr;

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::budget::{self, Precedence};
use crate::account::confirm;
use crate::account::credentials::keys::Purpose;
use crate::account::credentials::link::{LinkToken, link_token};
use crate::account::deletion;
use crate::account::delivery::{Delivery, DeliveryStatus};
use crate::account::identity::address::{Address, AddressError};
use crate::account::proof;
use crate::account::reset;
use crate::account::session::{self, SignedIn};
use crate::account::waiting_email;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::event::{EmailChange, Event, Origin};
use crate::failpoint;
use crate::messaging::outbox;

/// What is wrong, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the address cannot be changed so")]
pub struct EmailErrors {
    /// Why the address is none.
    pub email: Option<AddressError>,
    /// It is the account's own.
    pub is_the_same: bool,
    /// The present password is another.
    pub current_is_wrong: bool,
}

/// Writes that an account is to move to another address. An earlier wish that still waits is dropped.
///
/// # Errors
/// [`EmailErrors`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn request(
    accounts: &Accounts,
    signed_in: &SignedIn,
    email: &str,
    current: &str,
    origin: Origin,
) -> anyhow::Result<()> {
    let user = &signed_in.user;
    let (address, former) = (Address::parse(email), Address::parse(&user.email)?);
    let is_the_same = address.as_ref().is_ok_and(|address| address.canonical() == former.canonical());
    let current_is_wrong = proof::verified(accounts, user.id, origin.ip, current).await?.is_none();
    let address = match address {
        Ok(address) if !is_the_same && !current_is_wrong => address,
        address => return Err(EmailErrors { email: address.err(), is_the_same, current_is_wrong }.into()),
    };
    // not sorted by time: it is part of the links
    let (id, now) = (Uuid::new_v4(), accounts.clock.now());
    let mut tx = accounts.db.begin().await.context("cannot write the change")?;
    waiting_email::forget(&mut tx, user.id).await?;
    tx.query(
        "insert into email_changes
           (id, user_id, email, email_canonical, former_email, former_canonical, created_at, expires_at, delivery)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id)
    .bind(user.id)
    .bind(address.as_typed().to_owned())
    .bind(address.canonical().to_owned())
    .bind(user.email.clone())
    .bind(former.canonical().to_owned())
    .bind(now)
    .bind(now + accounts.lifetimes.purge_after)
    .bind(DeliveryStatus::Queued.as_str())
    .execute_deferred()
    .await
    .context("cannot write the change")?;
    let requested = Event::EmailChangeRequested { change: id, user: user.id, origin };
    outbox::append(&mut tx, &accounts.clock, &requested).await?;
    failpoint::reach("request.before_commit");
    accounts.commit(tx).await?;
    failpoint::reach("request.committed");
    Ok(())
}

/// How far the last change of a user has come: its mail, or its confirmation.
///
/// # Errors
/// When the database is away.
pub async fn progress(accounts: &Accounts, user: Uuid) -> sqlx::Result<Option<Delivery>> {
    if let Some(waiting) = waiting_email::of_user(accounts, user).await? {
        return Ok(Some(waiting.delivery));
    }
    let confirmed: Option<(Timestamp,)> = accounts
        .db
        .query(
            "select confirmed_at from email_changes
             where user_id = $1 and confirmed_at is not null
             order by created_at desc limit 1",
        )
        .bind(user)
        .optional()
        .await?;
    Ok(confirmed.map(|(at,)| Delivery::confirmed(at)))
}

/// A change with the user as they are now, and who else has one of its addresses.
#[derive(Clone, Debug, FromRow)]
struct Found {
    id: Uuid,
    user_id: Uuid,
    email: String,
    email_canonical: String,
    former_email: String,
    former_canonical: String,
    created_at: Timestamp,
    link_expires_at: Option<Timestamp>,
    within_budget: Option<bool>,
    confirmed_at: Option<Timestamp>,
    undo_until: Option<Timestamp>,
    present_canonical: String,
    name: String,
    locale: String,
    owner: Option<Uuid>,
}

impl Found {
    fn parts(&self) -> [&[u8]; 3] {
        [self.user_id.as_bytes(), self.email_canonical.as_bytes(), self.former_canonical.as_bytes()]
    }

    /// Whether the account has not moved since.
    fn waits(&self, now: Timestamp) -> bool {
        self.confirmed_at.is_none()
            && self.present_canonical == self.former_canonical
            && self.link_expires_at.is_some_and(|until| now < until)
    }
}

async fn find(accounts: &Accounts, id: Uuid) -> anyhow::Result<Option<Found>> {
    accounts
        .db
        .query(
            "select c.id, c.user_id, c.email, c.email_canonical, c.former_email, c.former_canonical, c.created_at,
               c.link_expires_at, c.within_budget, c.confirmed_at, c.undo_until,
               u.email_canonical as present_canonical, u.name, u.locale, o.id as owner
             from email_changes c
             join users u on u.id = c.user_id
             left join users o on o.email_canonical = c.email_canonical
             where c.id = $1",
        )
        .bind(id)
        .optional()
        .await
        .context("cannot look the change up")
}

/// The change of a genuine link.
async fn genuine(accounts: &Accounts, token: &str, purpose: Purpose) -> anyhow::Result<Option<Found>> {
    let token = LinkToken::parse(token);
    let found = find(accounts, token.id()).await?;
    // computed for nothing too: found and not found take the same time
    let parts = found.as_ref().map_or([[].as_slice(); 3], Found::parts);
    let is_genuine = token.is_genuine(&accounts.keys, purpose, &parts);
    Ok(found.filter(|_| is_genuine))
}

/// The mail of a change, to the new address.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The new address.
    pub email: String,
    /// The language of its person.
    pub locale: String,
    /// The token of the link; none where somebody has the address already.
    pub token: Option<String>,
    /// Whether the mail is within the budgets of the address.
    pub may_send: bool,
}

/// Makes the link of a change valid from now on, for its lifetime, and says what the mail has; none for a change that does not
/// wait any more. The budgets are asked once: a redelivered event gets the same answer.
///
/// # Errors
/// When the database is away.
pub async fn open(accounts: &Accounts, id: Uuid, ip: IpAddr) -> anyhow::Result<Option<Opened>> {
    let Some(found) = find(accounts, id).await? else { return Ok(None) };
    if found.confirmed_at.is_some() {
        return Ok(None);
    }
    let mut tx = accounts.db.begin().await?;
    let may_send = match found.within_budget {
        Some(asked_before) => asked_before,
        None => budget::may_mail(&mut tx, accounts, &found.email_canonical, Some(ip), Precedence::None).await?,
    };
    let until: Timestamp = accounts.clock.now() + accounts.lifetimes.confirm;
    tx.query(
        "update email_changes
         set link_expires_at = $2, within_budget = $3, expires_at = case when expires_at < $2 then $2 else expires_at end
         where id = $1",
    )
    .bind(id)
    .bind(until)
    .bind(may_send)
    .execute_deferred()
    .await
    .context("cannot open the link")?;
    tx.commit().await?;
    let token = link_token(&accounts.keys, Purpose::EmailLink, id, &found.parts());
    let token = found.owner.is_none().then_some(token);
    Ok(Some(Opened { email: found.email, locale: found.locale, token, may_send }))
}

/// What the page of a link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStep {
    /// A button.
    Button,
    /// It was done.
    Done,
    /// Unknown, expired, used, overtaken or malformed, which is all the same.
    Invalid,
}

/// What the page of the link to a new address says, and that address. Changes nothing: mail scanners send GET too.
///
/// # Errors
/// When the database is away.
pub async fn look(accounts: &Accounts, token: &str) -> anyhow::Result<(LinkStep, String)> {
    let now = accounts.clock.now();
    Ok(match genuine(accounts, token, Purpose::EmailLink).await? {
        Some(found) if found.waits(now) && found.owner.is_none() => (LinkStep::Button, found.email),
        Some(found) if found.confirmed_at.is_some() && found.owner == Some(found.user_id) => {
            (LinkStep::Done, found.email)
        }
        _ => (LinkStep::Invalid, String::new()),
    })
}

/// The link does not work, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this link does not work (any more)")]
pub struct LinkRefused;

/// Moves the account to the new address, and returns whose it is. Sessions go on.
///
/// # Errors
/// [`LinkRefused`]; otherwise the database's.
pub async fn confirm(accounts: &Accounts, token: &str, origin: Origin) -> anyhow::Result<Uuid> {
    let now = accounts.clock.now();
    let found = genuine(accounts, token, Purpose::EmailLink).await?.ok_or(LinkRefused)?;
    if found.confirmed_at.is_some() && found.owner == Some(found.user_id) {
        // pressed twice
        return Ok(found.user_id);
    }
    if !found.waits(now) {
        return Err(LinkRefused.into());
    }
    let mut tx = accounts.db.begin().await.context("cannot change the address")?;
    move_to(&mut tx, &found, (&found.email, &found.email_canonical), &found.former_canonical).await?;
    let undo_until: Timestamp = now + accounts.lifetimes.email_undo;
    // whoever moved an account here may not take it back when its owner has moved it on: the owner's own link still works
    let marked = tx
        .query(
            "update email_changes
             set confirmed_at = $2, expires_at = $3, undo_until = case when exists (
               select 1 from email_changes earlier
               where earlier.user_id = $4 and earlier.email_canonical = $5 and earlier.undo_until > $2)
               then null else $3 end
             where id = $1 and confirmed_at is null",
        )
        .bind(found.id)
        .bind(now)
        .bind(undo_until)
        .bind(found.user_id)
        .bind(found.former_canonical.clone())
        .execute()
        .await
        .context("cannot mark the change")?;
    if marked == 0 {
        return Err(LinkRefused.into());
    }
    budget::proved(&mut tx, accounts, &found.email_canonical).await?;
    let changed = Event::EmailChanged { change: found.id, user: found.user_id, by: EmailChange::Confirmed, origin };
    outbox::append(&mut tx, &accounts.clock, &changed).await?;
    outbox::append(&mut tx, &accounts.clock, &Event::UserUpdated { user: found.user_id }).await?;
    accounts.commit(tx).await?;
    Ok(found.user_id)
}

/// Gives an account that has one address another, which nobody may have.
async fn move_to(tx: &mut Tx, found: &Found, (email, canonical): (&str, &str), from: &str) -> anyhow::Result<()> {
    let moved = tx
        .query(
            "update users set email = $2, email_canonical = $3
             where id = $1 and email_canonical = $4
               and not exists (select 1 from users o where o.email_canonical = $3 and o.id <> $1)",
        )
        .bind(found.user_id)
        .bind(email.to_owned())
        .bind(canonical.to_owned())
        .bind(from.to_owned())
        .execute()
        .await;
    match moved {
        Ok(1) => Ok(()),
        Ok(_) => Err(LinkRefused.into()),
        // somebody else was quicker
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(LinkRefused.into()),
        Err(error) => Err(anyhow::Error::from(error).context("cannot change the address")),
    }
}

/// What the former address is told after a change.
#[derive(Clone, Debug)]
pub struct Told {
    /// The former address.
    pub email: String,
    /// What to call the person.
    pub name: String,
    /// Their language.
    pub locale: String,
    /// The token of the link that undoes it.
    pub token: String,
    /// How long that link works.
    pub undo_until: Timestamp,
}

/// What is told about a change; none for one that was undone or is past that.
///
/// # Errors
/// When the database is away.
pub async fn told(accounts: &Accounts, id: Uuid) -> anyhow::Result<Option<Told>> {
    let Some(found) = find(accounts, id).await? else { return Ok(None) };
    let token = link_token(&accounts.keys, Purpose::UndoLink, id, &found.parts());
    let Found { former_email, name, locale, undo_until, .. } = found;
    Ok(undo_until.map(|undo_until| Told { email: former_email, name, locale, token, undo_until }))
}

/// Whether a change can be undone by this link, and the address that the account has again then.
///
/// # Errors
/// When the database is away.
pub async fn look_at_undo(accounts: &Accounts, token: &str) -> anyhow::Result<Option<String>> {
    let found = undoable(accounts, token).await?;
    Ok(found.map(|found| found.former_email))
}

async fn undoable(accounts: &Accounts, token: &str) -> anyhow::Result<Option<Found>> {
    let now = accounts.clock.now();
    let found = genuine(accounts, token, Purpose::UndoLink).await?;
    Ok(found.filter(|found| found.undo_until.is_some_and(|until| now < until)))
}

/// A change that was undone.
#[derive(Debug)]
pub struct Undone {
    /// The sessions that ended.
    pub ended: Vec<Uuid>,
    /// For the page that sets a new password: whoever moved the account knew the present one.
    pub reset: String,
}

/// Gives the account its former address again, whatever it has by now, ends every session, puts the password out of use, and calls a
/// deletion off. What was moved after that can be neither undone nor confirmed any more: whoever took the account away is left with
/// nothing.
///
/// # Errors
/// [`LinkRefused`], also where somebody else has the former address by now; otherwise the database's.
pub async fn undo(accounts: &Accounts, token: &str, origin: Origin) -> anyhow::Result<Undone> {
    let found = undoable(accounts, token).await?.ok_or(LinkRefused)?;
    let mut tx = accounts.db.begin().await.context("cannot undo the change")?;
    let gone = tx
        .query("delete from email_changes where user_id = $1 and (confirmed_at is null or created_at >= $2)")
        .bind(found.user_id)
        .bind(found.created_at)
        .execute()
        .await
        .context("cannot drop the changes")?;
    if gone == 0 {
        return Err(LinkRefused.into());
    }
    move_to(&mut tx, &found, (&found.former_email, &found.former_canonical), &found.present_canonical).await?;
    confirm::forget_browser(&mut tx, found.user_id).await?;
    let ended = session::end_all(&mut tx, accounts, found.user_id, None).await?;
    // whoever moved it knew the password, and may have had it deleted
    tx.query("update users set password_hash = $2 where id = $1")
        .bind(found.user_id)
        .bind(accounts.hasher.of_nothing()?)
        .execute_deferred()
        .await
        .context("cannot put the password out of use")?;
    deletion::call_off_in(&mut tx, accounts, found.user_id, origin.clone()).await?;
    let reset = reset::opened(&mut tx, accounts, found.user_id).await?;
    let undone = Event::EmailChanged { change: found.id, user: found.user_id, by: EmailChange::Undone, origin };
    outbox::append(&mut tx, &accounts.clock, &undone).await?;
    accounts.commit(tx).await?;
    Ok(Undone { ended, reset })
}
