//! Registering.
//!
//! This writes a registration without looking whether the address is taken, so the response cannot tell. The listener
//! `confirmation` looks, and sends one mail or the other.

use std::net::IpAddr;

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::budget::{self, Precedence};
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::keys::Purpose;
use crate::account::credentials::policy::{Password, Weakness};
use crate::account::credentials::token::Token;
use crate::account::credentials::token::TokenHash;
use crate::account::delivery::{Delivery, DeliveryColumns, DeliveryStatus};
use crate::account::identity::address::{Address, AddressError};
use crate::account::identity::name::{DisplayName, NameError};
use crate::clock::Timestamp;
use crate::event::{Event, Origin};
use crate::failpoint;
use crate::messaging::outbox;

/// What a person typed to register.
#[derive(Clone)]
pub struct NewRegistration<'a> {
    /// Where the mail is to go.
    pub email: &'a str,
    /// What to call them.
    pub name: &'a str,
    /// The chosen password.
    pub password: &'a str,
    /// The language of the mail: `en`, `zh-CN`.
    pub locale: &'static str,
    /// A random word of the form: the same form, sent twice, is the same registration.
    pub form: Option<&'a str>,
    /// Where the person wants to go once confirmed, a path of ours.
    pub next: Option<&'a str>,
    /// The client.
    pub origin: Origin,
}

/// What is wrong with it, field by field: all at once, so that nobody corrects one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the registration cannot be accepted")]
pub struct RegistrationErrors {
    /// Why the address is none.
    pub email: Option<AddressError>,
    /// Why the name is none.
    pub name: Option<NameError>,
    /// Why the password may not be chosen.
    pub password: Option<Weakness>,
}

/// The validated input.
struct ValidRegistration {
    address: Address,
    name: DisplayName,
    password: Password,
}

async fn check(accounts: &Accounts, client: &Client, new: &NewRegistration<'_>) -> anyhow::Result<ValidRegistration> {
    let (address, name) = (Address::parse(new.email), DisplayName::parse(new.name));
    let chosen =
        accounts.password_check.choose(client, new.password, address.as_ref().ok(), name.as_ref().ok()).await?;
    match (address, name, chosen) {
        (Ok(address), Ok(name), Ok(password)) => Ok(ValidRegistration { address, name, password }),
        (address, name, chosen) => {
            Err(RegistrationErrors { email: address.err(), name: name.err(), password: chosen.err() }.into())
        }
    }
}

/// Checks what was typed, writes a registration and returns the token for the browser's cookie: the proof that who confirms
/// is who chose the password.
///
/// A form that is sent twice gives the same token twice, and one registration, unless something else was typed into it
/// meanwhile.
///
/// # Errors
/// [`RegistrationErrors`]; [`crate::error::Overloaded`] when too many passwords are being checked or hashed; otherwise the
/// database's.
pub async fn register(accounts: &Accounts, new: NewRegistration<'_>) -> anyhow::Result<Token> {
    let client = Client::at(new.origin.ip);
    let ValidRegistration { address, name, password } = check(accounts, &client, &new).await?;
    let hash = accounts.hasher.hash(&client, password).await?;
    if let Some(form) = new.form {
        let code = accounts.keys.code(Purpose::Form, &[form.as_bytes(), address.canonical().as_bytes()]);
        let browser = Token::derived(code);
        let is_new = write(accounts, &new, (&address, &name, &hash), browser.hash()).await?;
        if is_new || is_repeated(accounts, &new, (&address, &name), browser.hash()).await? {
            return Ok(browser);
        }
    }
    let browser = Token::new()?;
    write(accounts, &new, (&address, &name, &hash), browser.hash()).await?;
    Ok(browser)
}

/// Writes the registration with its event; false if this browser's token has one already.
async fn write(
    accounts: &Accounts,
    new: &NewRegistration<'_>,
    (address, name, hash): (&Address, &DisplayName, &str),
    browser: TokenHash,
) -> anyhow::Result<bool> {
    let now = accounts.clock.now();
    // not sorted by time: it is part of the link
    let id = Uuid::new_v4();
    let mut tx = accounts.db.begin().await.context("cannot write the registration")?;
    let insert = tx
        .query(
            "insert into registrations
               (id, email, email_canonical, name, password_hash, locale, browser_hash, created_at, expires_at, delivery, next)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (browser_hash) do nothing",
        )
        .bind(id)
        .bind(address.as_typed().to_owned())
        .bind(address.canonical().to_owned())
        .bind(name.as_str().to_owned())
        .bind(hash.to_owned())
        .bind(new.locale)
        .bind(browser.to_vec())
        .bind(now)
        .bind(now + accounts.lifetimes.purge_after)
        .bind(DeliveryStatus::Queued.as_str())
        .bind(new.next.map(str::to_owned));
    if new.form.is_none() {
        // a token of its own is new: nobody needs to wait for the answer
        insert.execute_deferred().await.context("cannot write the registration")?;
    } else if insert.execute().await.context("cannot write the registration")? == 0 {
        return Ok(false);
    }
    let registered = Event::UserRegistered { registration: id, origin: new.origin.clone() };
    outbox::append(&mut tx, &accounts.clock, &registered).await?;
    failpoint::reach("request.before_commit");
    accounts.commit_for(tx, &Client::at(new.origin.ip)).await?;
    failpoint::reach("request.committed");
    Ok(true)
}

/// Whether the registration of this token is of the same name and password, and its address was not corrected: then the same form
/// has been sent twice.
async fn is_repeated(
    accounts: &Accounts,
    new: &NewRegistration<'_>,
    (address, name): (&Address, &DisplayName),
    browser: TokenHash,
) -> anyhow::Result<bool> {
    let found: Option<(String, String)> = accounts
        .db
        .query(
            "select name, password_hash from registrations
             where browser_hash = $1 and email_canonical = $2 and confirmed_user is null",
        )
        .bind(browser.to_vec())
        .bind(address.canonical().to_owned())
        .optional()
        .await
        .context("cannot look the registration up")?;
    let (Some((first_name, hash)), Ok(password)) = (found, Password::normalise(new.password)) else { return Ok(false) };
    if first_name != name.as_str() {
        return Ok(false);
    }
    let client = Client::at(new.origin.ip);
    let (verdict, _) = accounts.hasher.verify(&client, password, Some(&hash)).await?;
    Ok(verdict.right)
}

/// A registration whose browser waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The registration.
    pub id: Uuid,
    /// Where its mail goes.
    pub email: String,
    /// Which of its mails that is, from 1: another one is asked for in the place of this one.
    pub mail: u32,
    /// How far the mail has come.
    pub delivery: Delivery,
    /// Where the person wants to go once confirmed, a path of ours.
    pub next: Option<String>,
}

#[derive(FromRow)]
struct WaitingRow {
    id: Uuid,
    email: String,
    mails: i64,
    #[sqlx(flatten)]
    columns: DeliveryColumns,
    confirmed_user: Option<Uuid>,
    next: Option<String>,
}

/// The registration of a browser, and how far its mail has come: confirmed, once its own link was used. That another one of the
/// same address was, is no news of this one.
///
/// # Errors
/// When the database is away.
pub async fn waiting(accounts: &Accounts, browser: TokenHash) -> sqlx::Result<Option<Waiting>> {
    let found: Option<WaitingRow> = accounts
        .db
        .query(
            "select id, email, mails, delivery, delivery_at, trouble, next_try_at, created_at, confirmed_user, next
             from registrations
             where browser_hash = $1 and expires_at > $2",
        )
        .bind(browser.to_vec())
        .bind(accounts.clock.now())
        .optional()
        .await?;
    Ok(found.and_then(|row| {
        let WaitingRow { id, email, mails, columns, confirmed_user, next } = row;
        let mut delivery = columns.delivery()?;
        if confirmed_user.is_some() {
            delivery = Delivery::confirmed(delivery.at);
        }
        Some(Waiting { id, email, mail: u32::try_from(mails).ok()?, delivery, next })
    }))
}

/// What the mail of a registration needs.
#[derive(Clone, Debug, FromRow)]
pub struct Pending {
    /// The registration.
    pub id: Uuid,
    /// Where the mail goes.
    pub email: String,
    /// What is compared.
    pub email_canonical: String,
    /// The language of the mail.
    pub locale: String,
    /// Whether the mail is within the budgets of its address, once that was asked.
    pub within_budget: Option<bool>,
    /// How many mails were asked for; the last one counts.
    pub mails: i64,
}

/// A registration that is still unconfirmed, or none: confirmed meanwhile, or purged.
///
/// # Errors
/// When the database is away.
pub async fn pending(accounts: &Accounts, id: Uuid) -> sqlx::Result<Option<Pending>> {
    accounts
        .db
        .query(
            "select id, email, email_canonical, locale, within_budget, mails from registrations
             where id = $1 and confirmed_user is null",
        )
        .bind(id)
        .optional()
        .await
}

/// Makes the link of a registration valid from now on, for its lifetime, and the registration at least as long. False means that
/// its address has had its mails for now; that is asked once, so that a redelivered event gets the same answer.
///
/// The same whoever has the address: what the browser that registered is shown tells nothing of that. The link of an address
/// that somebody has opens nothing.
///
/// # Errors
/// When the database is away.
pub async fn open(accounts: &Accounts, pending: &Pending, ip: IpAddr) -> anyhow::Result<bool> {
    let until: Timestamp = accounts.clock.now() + accounts.lifetimes.confirm;
    let mut tx = accounts.db.begin().await?;
    let may_send = match pending.within_budget {
        Some(asked_before) => asked_before,
        None => budget::may_mail(&mut tx, accounts, &pending.email_canonical, Some(ip), Precedence::None).await?,
    };
    tx.query(
        "update registrations
         set link_expires_at = $2, within_budget = $3,
             expires_at = case when expires_at < $2 then $2 else expires_at end
         where id = $1 and mails = $4",
    )
    .bind(pending.id)
    .bind(until)
    .bind(may_send)
    .bind(pending.mails)
    .execute_deferred()
    .await
    .context("cannot open the link")?;
    tx.commit().await?;
    Ok(may_send)
}

/// A registration whose person is to be reminded.
#[derive(Clone, Debug)]
pub struct Reminded {
    /// The registration.
    pub pending: Pending,
    /// When it is deleted unless it is confirmed.
    pub expires_at: Timestamp,
}

/// Makes the link of a registration valid once more, for its lifetime, if its person is to be reminded: it still waits, it is the
/// latest of its address, nobody has that by now, and the mail is within its budgets. These are asked once: a redelivered event gets the
/// same answer.
///
/// # Errors
/// When the database is away.
pub async fn remind(accounts: &Accounts, id: Uuid) -> anyhow::Result<Option<Reminded>> {
    #[derive(FromRow)]
    struct Found {
        #[sqlx(flatten)]
        pending: Pending,
        expires_at: Timestamp,
        reminder_within_budget: Option<bool>,
    }
    let now = accounts.clock.now();
    let found: Option<Found> = accounts
        .db
        .query(
            "select r.id, r.email, r.email_canonical, r.locale, r.within_budget, r.mails, r.expires_at, r.reminder_within_budget
             from registrations r
             where r.id = $1 and r.confirmed_user is null and r.expires_at > $2
               and not exists (select 1 from users u where u.email_canonical = r.email_canonical)
               and not exists (select 1 from registrations o
                               where o.email_canonical = r.email_canonical and o.confirmed_user is null
                                 and (o.created_at, o.id) > (r.created_at, r.id))",
        )
        .bind(id)
        .bind(now)
        .optional()
        .await
        .context("cannot look the registration up")?;
    let Some(Found { pending, expires_at, reminder_within_budget }) = found else { return Ok(None) };
    let until: Timestamp = now + accounts.lifetimes.confirm;
    let mut tx = accounts.db.begin().await?;
    let may_send = match reminder_within_budget {
        Some(asked_before) => asked_before,
        None => budget::may_mail(&mut tx, accounts, &pending.email_canonical, None, Precedence::None).await?,
    };
    let reopened = if may_send { until.min(expires_at) } else { now };
    tx.query(
        "update registrations
         set reminder_within_budget = $2,
             link_expires_at = case when link_expires_at > $3 then link_expires_at else $3 end
         where id = $1",
    )
    .bind(id)
    .bind(may_send)
    .bind(reopened)
    .execute_deferred()
    .await
    .context("cannot open the link")?;
    tx.commit().await?;
    Ok(may_send.then_some(Reminded { pending, expires_at }))
}
