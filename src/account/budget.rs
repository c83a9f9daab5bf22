//! Budgets that all nodes share and a restart does not refill: so many in so long (GCRA), one row for each key, one atomic
//! statement for each use.

use std::time::Duration;

use crate::account::Accounts;
use crate::account::credentials::keys::Purpose;
use crate::db::Tx;

/// After this long without use every budget is full again, and its row says nothing.
pub const LONGEST_SPAN: Duration = Duration::from_hours(24);

/// So many in so long: all of them at once, then one each `span / number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What is counted; part of the key.
    pub name: &'static str,
    /// How many.
    pub number: u32,
    /// In how long; at most [`LONGEST_SPAN`].
    pub span: Duration,
}

/// Mails to one address in an hour, whoever causes them …
const MAILS_TO_ADDRESS_HOUR: Budget =
    Budget { name: "mails to an address, hour", number: 3, span: Duration::from_hours(1) };
/// … and in a day.
const MAILS_TO_ADDRESS_DAY: Budget =
    Budget { name: "mails to an address, day", number: 10, span: Duration::from_hours(24) };
/// Mails that say to an address that nobody has an account with it.
pub const MAILS_TO_NOBODY: Budget = Budget { name: "mails to nobody", number: 1, span: Duration::from_hours(24) };

impl Budget {
    /// Uses one, of what belongs to `key`; false if none is left. What is not committed is not used. Where limits are off
    /// (`BELLHOP_LIMITS`) there is no end of it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn take(self, tx: &mut Tx, accounts: &Accounts, key: &str) -> anyhow::Result<bool> {
        if !accounts.limits {
            return Ok(true);
        }
        let key = accounts.keys.code(Purpose::Budget, &[self.name.as_bytes(), key.as_bytes()]);
        let (now, span) = (accounts.clock.now(), i64::try_from(self.span.as_micros())?);
        let taken = tx
            .query(
                "insert into budgets (key, until, used_at) values ($1, $2 + $3, $5)
                 on conflict (key) do update
                 set until = case when budgets.until > $2 then budgets.until else $2 end + $3, used_at = $5
                 where case when budgets.until > $2 then budgets.until else $2 end + $3 <= $2 + $4",
            )
            .bind(key.to_vec())
            .bind(now.timestamp_micros())
            .bind(span / i64::from(self.number.max(1)))
            .bind(span)
            .bind(now)
            .execute()
            .await?;
        Ok(taken == 1)
    }
}

/// Uses one of the mails that an address may get, whoever asks for it and whoever has the address.
///
/// # Errors
/// When the database is away.
pub async fn may_mail(tx: &mut Tx, accounts: &Accounts, canonical: &str) -> anyhow::Result<bool> {
    // both are asked, so that it takes as long
    let hour = MAILS_TO_ADDRESS_HOUR.take(tx, accounts, canonical).await?;
    let day = MAILS_TO_ADDRESS_DAY.take(tx, accounts, canonical).await?;
    Ok(hour && day)
}
