//! Signing in.
//!
//! Every refusal does the same work and gets the same response: one look-up, one hash (against a dummy where there is
//! nothing to compare with), one row in the outbox. The reason stands in the event alone.

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::budget::Try;
use crate::account::credentials::device;
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::keys::Purpose;
use crate::account::credentials::policy::Password;
use crate::account::deletion;
use crate::account::devices::Device;
use crate::account::disown;
use crate::account::identity::address::Address;
use crate::account::login_log::refusals;
use crate::account::session::{self, Browser, NewSession};
use crate::account::user::User;
use crate::clock::Timestamp;
use crate::error::Overloaded;
use crate::event::{Event, Refusal};
use crate::failpoint;
use crate::messaging::outbox;

/// Somebody who has just signed in.
#[derive(Debug)]
pub struct LoggedIn {
    /// The session.
    pub new: NewSession,
    /// Who.
    pub user: User,
    /// The deletion of the account was called off by it.
    pub restored: bool,
    /// A device cookie for the browser, which had none of this account.
    pub device: Option<String>,
}

/// One message for all causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address or the password is wrong")]
pub struct LoginRefused;

/// All columns but the last are null when nobody has the address.
#[derive(FromRow)]
struct LoginRow {
    id: Option<Uuid>,
    email: Option<String>,
    name: Option<String>,
    locale: Option<String>,
    created_at: Option<Timestamp>,
    password_hash: Option<String>,
    disabled_at: Option<Timestamp>,
    deletes_at: Option<Timestamp>,
    waits: bool,
}

impl LoginRow {
    fn user(&self) -> Option<User> {
        Some(User {
            id: self.id?,
            email: self.email.clone()?,
            name: self.name.clone()?,
            locale: self.locale.clone()?,
            created_at: self.created_at?,
        })
    }
}

/// Signs in with what was typed, whatever it is.
///
/// # Errors
/// [`LoginRefused`]; [`crate::error::OverBudget`]; [`crate::error::Overloaded`]; otherwise the database's.
pub async fn login(accounts: &Accounts, email: &str, password: &str, browser: Browser) -> anyhow::Result<LoggedIn> {
    let canonical = Address::parse(email).map_or_else(|_| String::new(), |address| address.canonical().to_owned());
    let attempted = canonical_or(&canonical, email);
    let device = browser.device.as_deref().and_then(|cookie| device::of(&accounts.keys, cookie, attempted));
    let client = Client::at(browser.origin.ip).known_to(device.as_ref().map(|_| attempted.to_owned()));
    // a place before anything else that costs
    let permit = accounts.hasher.acquire(&client)?;
    let typed = Password::normalise(password).ok();
    let malformed = typed.is_none();
    // what cannot be a password costs a hash all the same
    let typed = typed.map_or_else(|| Password::normalise("what was typed can be no password"), Ok)?;

    let attempt = Try::to_sign_in(accounts, attempted, browser.origin.ip, device.as_deref()).await?;
    let row = look_up(accounts, &canonical).await?;
    let (verdict, typed) = permit.verify(typed, row.password_hash.as_deref()).await?;
    let refusal = match &row {
        _ if malformed => Some(Refusal::Malformed),
        LoginRow { id: None, waits: false, .. } => Some(Refusal::UnknownAddress),
        LoginRow { id: None, .. } => Some(Refusal::Unconfirmed),
        _ if !verdict.right => Some(Refusal::WrongPassword),
        LoginRow { disabled_at: Some(_), .. } => Some(Refusal::Disabled),
        _ => None,
    };
    let rehashed = match refusal {
        // before the transaction begins, so that no row is locked meanwhile
        None if verdict.outdated => match permit.hash(typed).await {
            // others wait: the next time is early enough
            Err(error) if error.is::<Overloaded>() => None,
            hash => Some(hash?),
        },
        _ => None,
    };
    // its place in the queue is free while the rows are written
    drop(permit);
    let (None, Some(user)) = (refusal, row.user()) else {
        let mut tx = accounts.db.begin().await.context("cannot refuse the login")?;
        if row.id.is_none() && attempt.is_one_of_many() {
            refusals::count(&mut tx, accounts, browser.origin.ip).await?;
        } else {
            let attempted = accounts.keys.code(Purpose::Attempted, &[attempted.as_bytes()]);
            let failed = Event::LoginFailed {
                user: row.id,
                attempted: attempted
                    .first_chunk()
                    .map_or_else(String::new, |half| format!("{:032x}", u128::from_be_bytes(*half))),
                reason: refusal.unwrap_or(Refusal::UnknownAddress),
                refusals: 1,
                origin: browser.origin,
            };
            outbox::append(&mut tx, &accounts.clock, &failed).await?;
        }
        attempt.failed(&mut tx, accounts).await?;
        failpoint::reach("request.before_commit");
        accounts.commit_for(tx, &client).await?;
        failpoint::reach("request.committed");
        return Err(LoginRefused.into());
    };
    let (known, device) = Device::of(accounts, &browser, &canonical)?;
    let (unusual, is_to_be_remembered) = known.look_up(accounts, user.id).await?;
    let mut tx = accounts.db.begin().await.context("cannot sign in")?;
    if let Some(hash) = rehashed {
        tx.query("update users set password_hash = $2 where id = $1 and password_hash = $3")
            .bind(user.id)
            .bind(hash)
            .bind(row.password_hash)
            .execute_deferred()
            .await
            .context("cannot store the new hash")?;
    }
    let restored =
        row.deletes_at.is_some() && deletion::call_off_in(&mut tx, accounts, user.id, browser.origin.clone()).await?;
    attempt.succeeded(&mut tx).await?;
    let new = session::begin(&mut tx, accounts, user.id, &browser).await?;
    if let Some(unusual) = unusual {
        disown::warn(&mut tx, accounts, (user.id, new.session), unusual, &browser.origin).await?;
    }
    // after it: what is disowned is forgotten with all that was seen since
    if is_to_be_remembered {
        known.remember(&mut tx, accounts, user.id).await?;
    }
    let succeeded = Event::LoginSucceeded { user: user.id, session: new.session, origin: browser.origin };
    outbox::append(&mut tx, &accounts.clock, &succeeded).await?;
    failpoint::reach("request.before_commit");
    accounts.commit_for(tx, &client).await?;
    failpoint::reach("request.committed");
    Ok(LoggedIn { new, user, restored, device })
}

/// One statement for known and unknown addresses: always one row. Whether registrations of the address wait is asked of the
/// first one from it on, which is one row of the index whether there are none or a hundred thousand.
async fn look_up(accounts: &Accounts, canonical: &str) -> anyhow::Result<LoginRow> {
    accounts
        .db
        .query(
            "select u.id, u.email, u.name, u.locale, u.created_at, u.password_hash, u.disabled_at, u.deletes_at,
               coalesce(
                 (select r.email_canonical = $1 from registrations r
                  where r.email_canonical >= $1 order by r.email_canonical limit 1), false) as waits
             from (select 1 as one) o left join users u on u.email_canonical = $1",
        )
        .bind(canonical.to_owned())
        .one()
        .await
        .context("cannot look the address up")
}

/// What was tried, for the pseudonym: the canonical form if it has one.
fn canonical_or<'a>(canonical: &'a str, typed: &'a str) -> &'a str {
    if canonical.is_empty() { typed } else { canonical }
}
