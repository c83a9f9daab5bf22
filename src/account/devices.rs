//! What a person has signed in with before, so that a sign-in with something else is told to them.
//!
//! A browser is known by a cookie that stays when the session ends, a program without cookies by its name and its network. The
//! table keeps codes of both, from which neither follows.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::device;
use crate::account::credentials::keys::Purpose;
use crate::account::session::Browser;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::purge::Purge;
use crate::net;

/// How long a device is known that nobody signs in with.
const DEVICE_LIFETIME: Duration = Duration::from_hours(400 * 24);

/// How stale the time may be when it was last seen: a sign-in writes nothing about a device that was seen since.
const GRANULARITY: Duration = Duration::from_hours(24);

/// As many refusals in a row, within a day, are many.
const MANY_FAILURES: i64 = 5;
const FAILURES_WITHIN: Duration = Duration::from_hours(24);

/// Devices that nobody signs in with any more.
pub(super) const PURGE: Purge = Purge {
    name: "devices that nobody uses",
    statement: "delete from known_devices
                where (user_id, mark) in (select user_id, mark from known_devices where seen_at <= $1 limit $2)",
    keep: DEVICE_LIFETIME,
};

/// What is unusual about a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account) enum Unusual {
    /// It is by a device that the person has not signed in with before.
    NewDevice,
    /// It comes after many that were refused.
    AfterFailures,
}

/// A device as it is known.
#[derive(Clone, Debug)]
pub(in crate::account) struct Device {
    marks: [[u8; 32]; 2],
}

#[derive(FromRow)]
struct Known {
    marks: i64,
    fresh: i64,
    has_others: bool,
    failures: i64,
}

impl Device {
    /// The device that signs in to the account of this address, with a new device cookie for one that has none of this account.
    pub(in crate::account) fn of(
        accounts: &Accounts,
        browser: &Browser,
        canonical: &str,
    ) -> anyhow::Result<(Self, Option<String>)> {
        let keys = &accounts.keys;
        let known_as = |cookie: &str| device::of(keys, cookie, canonical);
        let (name, new) = if let Some(name) = browser.device.as_deref().and_then(known_as) {
            (name, None)
        } else {
            let cookie = device::new(keys, canonical)?;
            (known_as(&cookie).unwrap_or_default(), Some(cookie))
        };
        let code = |parts: &[&[u8]]| keys.code(Purpose::KnownDevice, parts);
        let program = browser.origin.user_agent.as_bytes();
        let by_program = code(&[b"program", program, net::networks(browser.origin.ip)[0].to_string().as_bytes()]);
        let by_cookie = code(&[b"cookie", name.as_bytes()]);
        Ok((Device { marks: [by_cookie, by_program] }, new))
    }

    /// What is unusual about a sign-in with it, and whether it is to be remembered. Somebody who has signed in with nothing yet, as
    /// far as is known, does nothing unusual.
    pub(in crate::account) async fn look_up(
        &self,
        accounts: &Accounts,
        user: Uuid,
    ) -> anyhow::Result<(Option<Unusual>, bool)> {
        let now = accounts.clock.now();
        let found: Known = accounts
            .db
            .query(
                "select
                   (select count(*) from known_devices where user_id = $1 and mark in ($2, $3)) as marks,
                   (select count(*) from known_devices where user_id = $1 and mark in ($2, $3) and seen_at > $4) as fresh,
                   (select count(*) > 0 from (select 1 from known_devices where user_id = $1 limit 1) one) as has_others,
                   (select count(*) from (
                      select reason from login_log
                      where user_id = $1 and at > $5
                      order by at desc, id desc limit $6) latest
                    where reason is not null) as failures",
            )
            .bind(user)
            .bind(self.marks[0].to_vec())
            .bind(self.marks[1].to_vec())
            .bind(now - GRANULARITY)
            .bind(now - FAILURES_WITHIN)
            .bind(MANY_FAILURES)
            .one()
            .await
            .context("cannot look the device up")?;
        let unusual = match found {
            Known { marks: 0, has_others: true, .. } => Some(Unusual::NewDevice),
            Known { failures: MANY_FAILURES.., .. } => Some(Unusual::AfterFailures),
            _ => None,
        };
        Ok((unusual, found.fresh < 2))
    }

    /// Knows it from now on.
    pub(in crate::account) async fn remember(
        &self,
        tx: &mut Tx,
        accounts: &Accounts,
        user: Uuid,
    ) -> anyhow::Result<()> {
        tx.query(
            "insert into known_devices (user_id, mark, seen_at) values ($1, $2, $4), ($1, $3, $4)
             on conflict (user_id, mark) do update set seen_at = excluded.seen_at",
        )
        .bind(user)
        .bind(self.marks[0].to_vec())
        .bind(self.marks[1].to_vec())
        .bind(accounts.clock.now())
        .execute_deferred()
        .await
        .context("cannot remember the device")
    }
}

/// What somebody has signed in with, and when each was last seen, to the day: codes, from which nothing else follows.
///
/// # Errors
/// When the database is away.
pub(in crate::account) async fn of_user(accounts: &Accounts, user: Uuid) -> sqlx::Result<Vec<(Vec<u8>, Timestamp)>> {
    accounts
        .db
        .query("select mark, seen_at from known_devices where user_id = $1 order by seen_at, mark")
        .bind(user)
        .all()
        .await
}

/// Forgets what somebody has signed in with since a sign-in that was not the person's own: its device is told of again.
pub(in crate::account) async fn forget_since(tx: &mut Tx, user: Uuid, since: Timestamp) -> anyhow::Result<()> {
    tx.query("delete from known_devices where user_id = $1 and seen_at >= $2")
        .bind(user)
        .bind(since)
        .execute_deferred()
        .await
        .context("cannot forget the device")
}
