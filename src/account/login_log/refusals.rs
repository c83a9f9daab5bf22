//! Refused sign-ins to addresses that nobody has: of a network that goes on with them they are counted for each minute, in one small row,
//! instead of written down one by one. What a stranger can cause at the allowed rate stays small.

use std::net::IpAddr;

use anyhow::Context as _;
use chrono::{DurationRound as _, TimeDelta};

use crate::account::Accounts;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::event::{Event, Origin, Refusal};
use crate::messaging::outbox;
use crate::net;

/// Sums that become events in one transaction.
const BATCH: i64 = 500;

/// Counts one more of the network of this address.
pub(in crate::account) async fn count(tx: &mut Tx, accounts: &Accounts, ip: IpAddr) -> anyhow::Result<()> {
    let now = accounts.clock.now();
    tx.query(
        "insert into refusal_sums (network, minute, refusals) values ($1, $2, 1)
         on conflict (network, minute) do update set refusals = refusal_sums.refusals + 1",
    )
    .bind(net::networks(ip)[0].addr().to_string())
    .bind(now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now))
    .execute_deferred()
    .await
    .context("cannot count a refused sign-in")
}

/// Turns the sums of minutes that are over into events, each in the transaction that takes it away; how many there were.
///
/// # Errors
/// When the database is away.
pub async fn publish(accounts: &Accounts) -> anyhow::Result<usize> {
    // who counted in the last minute has committed after another
    let over: Timestamp = accounts.clock.now() - TimeDelta::minutes(2);
    let mut tx = accounts.db.begin().await?;
    let sums: Vec<(String, Timestamp, i64)> = tx
        .query(
            "delete from refusal_sums
             where (network, minute) in (select network, minute from refusal_sums where minute <= $1 order by minute limit $2)
             returning network, minute, refusals",
        )
        .bind(over)
        .bind(BATCH)
        .all()
        .await
        .context("cannot sum refused sign-ins up")?;
    for (network, minute, refusals) in &sums {
        let failed = Event::LoginFailed {
            user: None,
            attempted: String::new(),
            reason: Refusal::UnknownAddress,
            refusals: u32::try_from(*refusals).unwrap_or(u32::MAX),
            origin: Origin {
                ip: network.parse().context("a network is kept as its address")?,
                user_agent: String::new(),
            },
        };
        outbox::append_at(&mut tx, &accounts.clock, &failed, *minute).await?;
    }
    accounts.commit(tx).await?;
    Ok(sums.len())
}
