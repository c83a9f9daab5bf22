//! A registration becomes a user.
//!
//! Three things must hold: the link is genuine and in time, the registration still waits, and who presses the button is
//! who chose the password: the browser that registered, or the password typed again. Without the third a stranger
//! registers your address, you press the button in the mail, and the stranger's password opens your account.

use anyhow::Context as _;
use chrono::TimeDelta;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::budget;
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::keys::Purpose;
use crate::account::credentials::link::LinkToken;
use crate::account::credentials::policy::Password;
use crate::account::credentials::token::{Token, TokenHash};
use crate::account::devices::Device;
use crate::account::session::{self, Browser, NewSession};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::event::Event;
use crate::messaging::outbox;

/// How long after the confirmation the same browser's next press on the button is taken for the first one.
const REPEATED_PRESS: TimeDelta = TimeDelta::minutes(10);

/// What the page of a link asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmStep {
    /// The button alone: this browser registered.
    Button,
    /// The button and the password.
    Password,
    /// Nothing: the address has been confirmed, by this link or another one.
    Confirmed,
    /// Nothing: unknown, expired or malformed, which is all the same.
    Invalid,
}

/// Why a confirmation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmRefused {
    /// Unknown, expired or malformed.
    #[error("this link does not work (any more)")]
    Invalid,
    /// Another browser registered, and the password is missing or another.
    #[error("the password is needed, as it was chosen at the registration")]
    Password,
    /// There is nothing left to do.
    #[error("the address is confirmed already")]
    Confirmed,
}

/// A registration with who has its address by now.
#[derive(FromRow)]
struct Registration {
    id: Uuid,
    email_canonical: String,
    password_hash: String,
    browser_hash: Vec<u8>,
    link_expires_at: Option<Timestamp>,
    confirmed_user: Option<Uuid>,
    next: Option<String>,
    owner: Option<Uuid>,
    owner_since: Option<Timestamp>,
}

impl Registration {
    fn step(&self, browser: Option<TokenHash>, now: Timestamp) -> ConfirmStep {
        let is_ours = browser.is_some_and(|browser| browser.equals(&self.browser_hash));
        match (self.owner, self.confirmed_user) {
            (None, None) if is_ours => ConfirmStep::Button,
            (None, None) => ConfirmStep::Password,
            // its user is gone
            (None, Some(_)) => ConfirmStep::Invalid,
            // the answer to the first press has not reached this browser: it would have taken the cookie away
            (Some(owner), Some(user)) if owner == user && is_ours && self.is_fresh(now) => ConfirmStep::Button,
            (Some(_), _) => ConfirmStep::Confirmed,
        }
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.owner_since.is_some_and(|since| now - since < REPEATED_PRESS)
    }
}

/// The registration of a genuine link that has not expired.
async fn find(accounts: &Accounts, token: &str) -> anyhow::Result<Option<Registration>> {
    let token = LinkToken::parse(token);
    let found: Option<Registration> = accounts
        .db
        .query(
            "select r.id, r.email_canonical, r.password_hash, r.browser_hash, r.link_expires_at, r.confirmed_user, r.next,
               u.id as owner, u.created_at as owner_since
             from registrations r left join users u on u.email_canonical = r.email_canonical
             where r.id = $1",
        )
        .bind(token.id())
        .optional()
        .await
        .context("cannot look the registration up")?;
    // computed for an empty address too: found and not found take the same time
    let canonical = found.as_ref().map_or("", |found| &found.email_canonical);
    let genuine = token.is_genuine(&accounts.keys, Purpose::ConfirmLink, &[canonical.as_bytes()]);
    let now = accounts.clock.now();
    Ok(found.filter(|found| genuine && found.link_expires_at.is_some_and(|until| now < until)))
}

/// What a link leads to.
#[derive(Debug)]
pub struct Link {
    /// What its page asks for.
    pub step: ConfirmStep,
    /// Where its person wanted to go, a path of ours.
    pub next: Option<String>,
}

/// What the page of this link asks for. Changes nothing: mail scanners send GET too.
///
/// # Errors
/// When the database is away.
pub async fn look(accounts: &Accounts, token: &str, browser: Option<TokenHash>) -> anyhow::Result<Link> {
    let now = accounts.clock.now();
    Ok(match find(accounts, token).await? {
        None => Link { step: ConfirmStep::Invalid, next: None },
        Some(found) => Link { step: found.step(browser, now), next: found.next },
    })
}

/// A session that was begun by confirming.
#[derive(Debug)]
pub struct Confirmed {
    /// The session.
    pub new: NewSession,
    /// Where its person wanted to go, a path of ours.
    pub next: Option<String>,
    /// A device cookie for the browser.
    pub device: Option<String>,
}

/// Makes the registration a user and begins a session. The others for the same address open nothing from now on, and all stay
/// until their time is over: their links say that the address is confirmed, and who made one cannot see the moment at
/// which its owner confirmed. The session of `replaces` ends: a browser has one at a time.
///
/// A second press of the browser that registered, which has not heard of the first, begins a session like the first.
///
/// # Errors
/// [`ConfirmRefused`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn confirm(
    accounts: &Accounts,
    token: &str,
    browser: Option<TokenHash>,
    password: Option<Password>,
    session: Browser,
) -> anyhow::Result<Confirmed> {
    let mut found = find(accounts, token).await?.ok_or(ConfirmRefused::Invalid)?;
    if found.owner.is_none() {
        if found.step(browser, accounts.clock.now()) == ConfirmStep::Password {
            let password = password.ok_or(ConfirmRefused::Password)?;
            let client = Client::at(session.origin.ip);
            let (verdict, _) = accounts.hasher.verify(&client, password, Some(&found.password_hash)).await?;
            if !verdict.right {
                return Err(ConfirmRefused::Password.into());
            }
        }
        if let Some((new, device)) = create(accounts, &found, &session).await? {
            return Ok(Confirmed { new, next: found.next, device });
        }
        // a concurrent request used the link, or another registration has taken the address
        found = find(accounts, token).await?.ok_or(ConfirmRefused::Invalid)?;
    }
    match (found.step(browser, accounts.clock.now()), found.owner) {
        (ConfirmStep::Button, Some(owner)) => {
            let mut tx = accounts.db.begin().await.context("cannot confirm")?;
            let new = session::begin(&mut tx, accounts, owner, &session).await?;
            accounts.commit(tx).await?;
            Ok(Confirmed { new, next: found.next, device: None })
        }
        (ConfirmStep::Confirmed, _) => Err(ConfirmRefused::Confirmed.into()),
        _ => Err(ConfirmRefused::Invalid.into()),
    }
}

/// A password was set anew: no browser's press on an old link begins a session any more.
pub(in crate::account) async fn forget_browser(tx: &mut Tx, user: Uuid) -> anyhow::Result<()> {
    tx.query(
        "update registrations set browser_hash = $2
         where email_canonical = (select email_canonical from users where id = $1) and confirmed_user = $1",
    )
    .bind(user)
    .bind(Token::new()?.hash().to_vec())
    .execute_deferred()
    .await
    .context("cannot forget the browser that registered")
}

/// None if somebody has the address by now.
async fn create(
    accounts: &Accounts,
    registration: &Registration,
    browser: &Browser,
) -> anyhow::Result<Option<(NewSession, Option<String>)>> {
    let now = accounts.clock.now();
    let user = accounts.clock.new_id();
    let mut tx = accounts.db.begin().await.context("cannot confirm")?;
    let created: Option<(Uuid,)> = tx
        .query(
            "insert into users (id, email, email_canonical, name, password_hash, locale, created_at)
             select $1, email, email_canonical, name, password_hash, locale, $3
             from registrations
             where id = $2 and email_canonical = $4 and link_expires_at > $3 and confirmed_user is null
             on conflict (email_canonical) do nothing
             returning id",
        )
        .bind(user)
        .bind(registration.id)
        .bind(now)
        // the address that the link was for: it may have been corrected since the link was looked at
        .bind(registration.email_canonical.clone())
        .optional()
        .await
        .context("cannot create the user")?;
    if created.is_none() {
        return Ok(None);
    }
    // what stays says that it was used, and has no password any more
    tx.query("update registrations set confirmed_user = $2, password_hash = '', delivery_at = $3 where id = $1")
        .bind(registration.id)
        .bind(user)
        .bind(now)
        .execute_deferred()
        .await
        .context("cannot mark the registration")?;
    let new = session::begin_confirmed(&mut tx, accounts, (user, registration.id), browser).await?;
    let (known, device) = Device::of(accounts, browser, &registration.email_canonical)?;
    known.remember(&mut tx, accounts, user).await?;
    budget::proved(&mut tx, accounts, &registration.email_canonical).await?;
    let confirmed = Event::UserConfirmed {
        user,
        registration: registration.id,
        session: Some(new.session),
        origin: browser.origin.clone(),
    };
    outbox::append(&mut tx, &accounts.clock, &confirmed).await?;
    accounts.commit(tx).await?;
    Ok(Some((new, device)))
}
