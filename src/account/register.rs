//! Somebody asks for an account.
//!
//! What is written is a registration of its own; whether the address is taken is not looked at here, so the answer
//! cannot tell. The listener `confirmation` looks, and sends one mail or the other.

use anyhow::Context as _;
use sqlx::FromRow;
use std::time::Duration;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::policy::Password;
use crate::account::credentials::token::Token;
use crate::account::credentials::token::TokenHash;
use crate::account::identity::address::Address;
use crate::account::identity::name::DisplayName;
use crate::clock::Timestamp;
use crate::event::{Event, Origin};
use crate::failpoint;
use crate::messaging::outbox;

/// How long a registration waits for its confirmation.
pub const LIFETIME: Duration = Duration::from_hours(72);

/// How long a link works after its mail was sent.
pub const LINK_LIFETIME: Duration = Duration::from_hours(24);

/// What a person typed, checked.
#[derive(Debug)]
pub struct Wish {
    /// Where the mail goes.
    pub address: Address,
    /// What to call them.
    pub name: DisplayName,
    /// The password to be.
    pub password: Password,
    /// The language of the mail: `en`, `zh-CN`.
    pub locale: &'static str,
    /// From where.
    pub origin: Origin,
}

/// How far the mail of a registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Written down, on its way.
    Queued,
    /// A mail server has it.
    Sent,
    /// Not handed over yet, tried again.
    Delayed,
    /// Refused for good: the address is wrong.
    Rejected,
}

impl Delivery {
    /// The word in the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Delivery::Queued => "queued",
            Delivery::Sent => "sent",
            Delivery::Delayed => "delayed",
            Delivery::Rejected => "rejected",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Queued, Self::Sent, Self::Delayed, Self::Rejected].into_iter().find(|one| one.word() == word)
    }
}

/// Writes a registration down and returns the secret that its browser keeps, the proof that who confirms is who chose
/// the password.
///
/// # Errors
/// [`crate::error::Overloaded`] when too many passwords are being hashed; otherwise the database's.
pub async fn register(accounts: &Accounts, wish: Wish) -> anyhow::Result<Token> {
    let browser = Token::new()?;
    let hash = accounts.hasher.hash(wish.password).await?;

    let now = accounts.clock.now();
    // random rather than by time: it is part of the link
    let id = Uuid::new_v4();
    let mut tx = accounts.db.begin().await.context("cannot write the registration")?;
    tx.query(
        "insert into registrations
           (id, email, email_canonical, name, password_hash, locale, browser_hash, created_at, expires_at, delivery)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id)
    .bind(wish.address.as_typed().to_owned())
    .bind(wish.address.canonical().to_owned())
    .bind(wish.name.as_str().to_owned())
    .bind(hash)
    .bind(wish.locale)
    .bind(browser.hash().to_vec())
    .bind(now)
    .bind(now + LIFETIME)
    .bind(Delivery::Queued.word())
    .execute_deferred()
    .await
    .context("cannot write the registration")?;
    let registered = Event::UserRegistered { registration: id, origin: wish.origin };
    outbox::append(&mut tx, &accounts.clock, &registered).await?;
    failpoint::reach("request.before_commit");
    accounts.commit(tx).await?;
    failpoint::reach("request.committed");
    Ok(browser)
}

/// What the browser that registered may see of its latest registration.
///
/// # Errors
/// When the database is away.
pub async fn status(accounts: &Accounts, browser: TokenHash) -> sqlx::Result<Option<(String, Delivery)>> {
    let found: Option<(String, String)> = accounts
        .db
        .query(
            "select email, delivery from registrations
             where browser_hash = $1 and expires_at > $2
             order by created_at desc
             limit 1",
        )
        .bind(browser.to_vec())
        .bind(accounts.clock.now())
        .optional()
        .await?;
    Ok(found.and_then(|(email, word)| Some((email, Delivery::from_word(&word)?))))
}

/// What a mail to a registration needs.
#[derive(Clone, Debug, FromRow)]
pub struct Pending {
    /// The registration.
    pub id: Uuid,
    /// Where the mail goes.
    pub email: String,
    /// What is compared.
    pub email_canonical: String,
    /// What to call them.
    pub name: String,
    /// The language of the mail.
    pub locale: String,
}

/// A registration that still waits, or none: confirmed meanwhile, or purged.
///
/// # Errors
/// When the database is away.
pub async fn pending(accounts: &Accounts, id: Uuid) -> sqlx::Result<Option<Pending>> {
    accounts
        .db
        .query("select id, email, email_canonical, name, locale from registrations where id = $1")
        .bind(id)
        .optional()
        .await
}

/// Gives the link of a registration its time: [`LINK_LIFETIME`] from now, and the registration at least as long.
///
/// # Errors
/// When the database is away.
pub async fn open_link(accounts: &Accounts, id: Uuid) -> anyhow::Result<()> {
    let until: Timestamp = accounts.clock.now() + LINK_LIFETIME;
    let mut tx = accounts.db.begin().await?;
    tx.query(
        "update registrations
         set link_expires_at = $2,
             expires_at = case when expires_at < $2 then $2 else expires_at end
         where id = $1",
    )
    .bind(id)
    .bind(until)
    .execute_deferred()
    .await
    .context("cannot open the link")?;
    Ok(tx.commit().await?)
}

/// Claims the right to tell the owner of a taken address about this registration: one such mail an hour, and a repeat of
/// the same event is still the same one. False means that the hour's mail has been sent.
///
/// # Errors
/// When the database is away.
pub async fn may_remind(accounts: &Accounts, user: Uuid, registration: Uuid) -> anyhow::Result<bool> {
    let now = accounts.clock.now();
    let mut tx = accounts.db.begin().await?;
    let claimed = tx
        .query(
            "update users
             set reminded_at = $2, reminded_for = $3
             where id = $1 and (reminded_at is null or reminded_at <= $4 or reminded_for = $3)",
        )
        .bind(user)
        .bind(now)
        .bind(registration)
        .bind(now - Duration::from_hours(1))
        .execute()
        .await?;
    tx.commit().await?;
    Ok(claimed == 1)
}

/// Writes down how far the mail has come, and tells it by the event, if there is one, when that is news. A mail that was
/// sent stays sent.
///
/// # Errors
/// When the database is away.
pub async fn record_delivery(
    accounts: &Accounts,
    id: Uuid,
    delivery: Delivery,
    event: Option<&Event>,
) -> anyhow::Result<()> {
    let mut tx = accounts.db.begin().await?;
    let news = tx
        .query("update registrations set delivery = $2 where id = $1 and delivery <> $2 and delivery <> 'sent'")
        .bind(id)
        .bind(delivery.word())
        .execute()
        .await?;
    if news == 1
        && let Some(event) = event
    {
        outbox::append(&mut tx, &accounts.clock, event).await?;
    }
    accounts.commit(tx).await
}
