//! Getting back in when a password was forgotten.
//!
//! What is written does not say whether anybody has the address, so the answer cannot tell. The listener `password-reset` looks, and
//! sends one mail or another. The link works once: its code covers the password that it replaces.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::budget::{self, MAILS_TO_NOBODY, Precedence};
use crate::account::confirm;
use crate::account::credentials::device;
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::keys::Purpose;
use crate::account::credentials::link::{LinkToken, link_token};
use crate::account::credentials::policy::Weakness;
use crate::account::credentials::token::{Token, TokenHash};
use crate::account::delivery::{Delivery, DeliveryColumns, DeliveryStatus};
use crate::account::identity::address::Address;
use crate::account::identity::name::DisplayName;
use crate::account::session::{self, Browser};
use crate::account::user::User;
use crate::account::waiting_email;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::event::{Event, Origin, PasswordChange};
use crate::failpoint;
use crate::messaging::outbox;

/// How long the browser that asked can see what became of the mail, at the least.
pub const REQUEST_LIFETIME: Duration = Duration::from_hours(24);

/// What a person typed who has forgotten a password.
#[derive(Clone, Debug)]
pub struct ResetRequest<'a> {
    /// The address.
    pub email: &'a str,
    /// The language of the mail, where nobody has the address.
    pub locale: &'static str,
    /// A random word of the form: the same form, sent twice, is the same request.
    pub form: Option<&'a str>,
    /// Whether the mail goes in any case, beside the budgets of its address and its network.
    pub in_any_case: bool,
    /// The client.
    pub origin: Origin,
}

/// Writes that somebody has forgotten a password, and returns the token for the browser's cookie.
///
/// # Errors
/// [`AddressError`](crate::account::identity::address::AddressError); otherwise the database's.
pub async fn request(accounts: &Accounts, request: ResetRequest<'_>) -> anyhow::Result<Token> {
    let address = Address::parse(request.email)?;
    let browser = match request.form {
        Some(form) => Token::derived(
            accounts.keys.code(Purpose::Form, &[b"reset", form.as_bytes(), address.canonical().as_bytes()]),
        ),
        None => Token::new()?,
    };
    let (id, now) = (Uuid::new_v4(), accounts.clock.now());
    let mut tx = accounts.db.begin().await.context("cannot write the request")?;
    if request.form.is_some() {
        // sent again when its link has expired, it is another
        tx.query("delete from resets where browser_hash = $1 and link_expires_at <= $2")
            .bind(browser.hash().to_vec())
            .bind(now)
            .execute_deferred()
            .await
            .context("cannot drop an earlier request")?;
    }
    let written = tx
        .query(
            "insert into resets
               (id, email, email_canonical, locale, browser_hash, created_at, expires_at, delivery, within_budget)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (browser_hash) do nothing",
        )
        .bind(id)
        .bind(address.as_typed().to_owned())
        .bind(address.canonical().to_owned())
        .bind(request.locale)
        .bind(browser.hash().to_vec())
        .bind(now)
        .bind(now + REQUEST_LIFETIME)
        .bind(DeliveryStatus::Queued.as_str())
        .bind(request.in_any_case.then_some(true))
        .execute()
        .await
        .context("cannot write the request")?;
    if written == 1 {
        let requested = Event::PasswordResetRequested { reset: id, origin: request.origin };
        outbox::append(&mut tx, &accounts.clock, &requested).await?;
        failpoint::reach("request.before_commit");
        accounts.commit(tx).await?;
        failpoint::reach("request.committed");
    }
    Ok(browser)
}

/// A request whose browser waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The request.
    pub id: Uuid,
    /// The address.
    pub email: String,
    /// How far the mail has come.
    pub delivery: Delivery,
}

/// The request of a browser, and how far its mail has come.
///
/// # Errors
/// When the database is away.
pub async fn waiting(accounts: &Accounts, browser: TokenHash) -> sqlx::Result<Option<Waiting>> {
    let found: Option<WaitingRow> = accounts
        .db
        .query(
            "select id, email, delivery, delivery_at, trouble, next_try_at, created_at from resets
             where browser_hash = $1 and expires_at > $2",
        )
        .bind(browser.to_vec())
        .bind(accounts.clock.now())
        .optional()
        .await?;
    Ok(found.and_then(|row| Some(Waiting { id: row.id, email: row.email, delivery: row.columns.delivery()? })))
}

#[derive(FromRow)]
struct WaitingRow {
    id: Uuid,
    email: String,
    #[sqlx(flatten)]
    columns: DeliveryColumns,
}

/// A request with who has its address by now, if anybody has.
#[derive(FromRow)]
struct Found {
    email: String,
    email_canonical: String,
    locale: String,
    link_expires_at: Option<Timestamp>,
    within_budget: Option<bool>,
    user_id: Option<Uuid>,
    user_email: Option<String>,
    user_name: Option<String>,
    user_locale: Option<String>,
    user_since: Option<Timestamp>,
    password_hash: Option<String>,
}

impl Found {
    /// The user of the address with the hash of the present password.
    fn user(&self) -> Option<(User, &str)> {
        let user = User {
            id: self.user_id?,
            email: self.user_email.clone()?,
            name: self.user_name.clone()?,
            locale: self.user_locale.clone()?,
            created_at: self.user_since?,
        };
        Some((user, self.password_hash.as_deref()?))
    }
}

async fn find(accounts: &Accounts, id: Uuid) -> anyhow::Result<Option<Found>> {
    accounts
        .db
        .query(
            "select r.email, r.email_canonical, r.locale, r.link_expires_at, r.within_budget, u.id as user_id,
               u.email as user_email, u.name as user_name, u.locale as user_locale, u.created_at as user_since, u.password_hash
             from resets r left join users u on u.email_canonical = r.email_canonical
             where r.id = $1",
        )
        .bind(id)
        .optional()
        .await
        .context("cannot look the request up")
}

/// Who gets a mail about a request.
#[derive(Clone, Debug)]
pub enum Recipient {
    /// Who has the address, with the token of the link.
    User(User, String),
    /// A registration of the address waits.
    Registration(Uuid),
    /// Nobody has it.
    Nobody,
}

/// A request that is to be answered by mail.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Where the mail goes.
    pub email: String,
    /// Its language, unless the recipient has one.
    pub locale: String,
    /// Who gets it.
    pub recipient: Recipient,
    /// Whether it is within the budgets of its address.
    pub may_send: bool,
}

/// Makes the link of a request valid from now on, for its lifetime, and says who gets which mail; none for a request that is gone.
/// The budgets are asked once: a redelivered event gets the same answer. The statements are the same whoever has the address.
///
/// # Errors
/// When the database is away.
pub async fn open(accounts: &Accounts, id: Uuid, ip: IpAddr) -> anyhow::Result<Option<Opened>> {
    let Some(found) = find(accounts, id).await? else { return Ok(None) };
    let now = accounts.clock.now();
    let waiting: Option<(Uuid,)> = accounts
        .db
        .query(
            "select id from registrations
             where email_canonical = $1 and confirmed_user is null and expires_at > $2
             order by created_at desc, id limit 1",
        )
        .bind(found.email_canonical.clone())
        .bind(now)
        .optional()
        .await?;
    let recipient = match (found.user(), waiting) {
        (Some((user, hash)), _) => {
            let token = link_token(&accounts.keys, Purpose::ResetLink, id, &[user.id.as_bytes(), hash.as_bytes()]);
            Recipient::User(user, token)
        }
        (None, Some((registration,))) => Recipient::Registration(registration),
        (None, None) => Recipient::Nobody,
    };
    let mut tx = accounts.db.begin().await?;
    let may_send = if let Some(asked_before) = found.within_budget {
        asked_before
    } else {
        let to = found.email_canonical.as_str();
        // of those who have an account a budget that is never used up, so that it takes as long
        let own = id.to_string();
        let (once, precedence) = match recipient {
            Recipient::Nobody => (to, Precedence::None),
            Recipient::User(..) | Recipient::Registration(_) => (own.as_str(), Precedence::BackIn),
        };
        // what does not go for that costs nobody anything
        MAILS_TO_NOBODY.take(&mut tx, accounts, once).await?
            && budget::may_mail(&mut tx, accounts, to, Some(ip), precedence).await?
    };
    tx.query(
        "update resets
         set link_expires_at = $2, within_budget = $3, expires_at = case when expires_at < $2 then $2 else expires_at end
         where id = $1",
    )
    .bind(id)
    .bind(now + accounts.lifetimes.reset)
    .bind(may_send)
    .execute_deferred()
    .await
    .context("cannot open the link")?;
    tx.commit().await?;
    Ok(Some(Opened { email: found.email, locale: found.locale, recipient, may_send }))
}

/// A request that is answered at once, by the token of its link: for somebody who has shown that the mailbox is theirs.
pub(in crate::account) async fn opened(tx: &mut Tx, accounts: &Accounts, user: Uuid) -> anyhow::Result<String> {
    let (id, now) = (Uuid::new_v4(), accounts.clock.now());
    let (hash,): (String,) = tx
        .query(
            "insert into resets
               (id, email, email_canonical, locale, browser_hash, created_at, expires_at, delivery, link_expires_at, within_budget)
             select $2, email, email_canonical, locale, $3, $4, $5, $6, $5, true from users where id = $1
             returning (select password_hash from users where id = $1)",
        )
        .bind(user)
        .bind(id)
        .bind(Token::new()?.hash().to_vec())
        .bind(now)
        .bind(now + accounts.lifetimes.reset)
        .bind(DeliveryStatus::Sent.as_str())
        .one()
        .await
        .context("cannot open a reset")?;
    Ok(link_token(&accounts.keys, Purpose::ResetLink, id, &[user.as_bytes(), hash.as_bytes()]))
}

/// Why a password was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetRefused {
    /// Unknown, expired, used or malformed.
    #[error("this link does not work (any more)")]
    Invalid,
    /// The new password may not be chosen.
    #[error("the password may not be chosen")]
    Weak(Weakness),
}

/// The user of a genuine link that has neither expired nor been used, with the hash of the present password.
async fn user_of(accounts: &Accounts, token: &str) -> anyhow::Result<Option<(User, String)>> {
    let token = LinkToken::parse(token);
    let found = find(accounts, token.id()).await?;
    let user = found.as_ref().and_then(Found::user);
    // computed for nobody too: found and not found take the same time
    let (id, hash) = user.as_ref().map_or((Uuid::nil(), ""), |(user, hash)| (user.id, *hash));
    let genuine = token.is_genuine(&accounts.keys, Purpose::ResetLink, &[id.as_bytes(), hash.as_bytes()]);
    let until = found.as_ref().and_then(|found| found.link_expires_at);
    let in_time = until.is_some_and(|until| accounts.clock.now() < until);
    Ok(user.filter(|_| genuine && in_time).map(|(user, hash)| (user, hash.to_owned())))
}

/// Whether a link works. Changes nothing: mail scanners send GET too.
///
/// # Errors
/// When the database is away.
pub async fn is_open(accounts: &Accounts, token: &str) -> anyhow::Result<bool> {
    Ok(user_of(accounts, token).await?.is_some())
}

/// A password that was set by the link of a mail.
#[derive(Debug)]
pub struct PasswordSet {
    /// The sessions that ended: all.
    pub ended: Vec<Uuid>,
    /// A device cookie for the browser, which had none of this account: whoever reads its mails signs in with the new password,
    /// however many wrong ones strangers have tried.
    pub device: Option<String>,
}

/// Sets the password and ends every session. Nobody is signed in by it.
///
/// # Errors
/// [`ResetRefused`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn reset(accounts: &Accounts, token: &str, password: &str, browser: Browser) -> anyhow::Result<PasswordSet> {
    let Browser { origin, device: known, .. } = browser;
    let (user, hash) = user_of(accounts, token).await?.ok_or(ResetRefused::Invalid)?;
    let (address, name) = (Address::parse(&user.email).ok(), DisplayName::parse(&user.name).ok());
    let canonical = address.as_ref().map_or("", Address::canonical);
    let is_known = known.is_some_and(|cookie| device::of(&accounts.keys, &cookie, canonical).is_some());
    let client = Client::at(origin.ip).known_to(is_known.then(|| canonical.to_owned()));
    let chosen = accounts.password_check.choose(&client, password, address.as_ref(), name.as_ref()).await?;
    let new = accounts.hasher.hash(&client, chosen.map_err(ResetRefused::Weak)?).await?;
    let mut tx = accounts.db.begin().await.context("cannot set the password")?;
    let changed = tx
        .query("update users set password_hash = $2 where id = $1 and password_hash = $3")
        .bind(user.id)
        .bind(new)
        .bind(hash)
        .execute()
        .await
        .context("cannot set the password")?;
    if changed == 0 {
        return Err(ResetRefused::Invalid.into());
    }
    confirm::forget_browser(&mut tx, user.id).await?;
    waiting_email::forget(&mut tx, user.id).await?;
    budget::proved(&mut tx, accounts, canonical).await?;
    let device = if is_known { None } else { Some(device::new(&accounts.keys, canonical)?) };
    let ended = session::end_all(&mut tx, accounts, user.id, None).await?;
    let event = Event::PasswordChanged { user: user.id, by: PasswordChange::Reset, session: None, origin };
    outbox::append(&mut tx, &accounts.clock, &event).await?;
    accounts.commit_for(tx, &client).await?;
    Ok(PasswordSet { ended, device })
}
