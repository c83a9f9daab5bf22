//! Budgets that all nodes share and a restart does not refill: so many in so long (GCRA), one row for each key, one atomic
//! statement for each use.
//!
//! A budget says until when it is spoken for. A use moves that on by `span / number`; what would move it past `span` from now is over
//! budget, until time has caught up. So delays grow with use, and end by themselves.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;

use crate::account::Accounts;
use crate::account::credentials::keys::Purpose;
use crate::account::under_way::Entered;
use crate::config::Rate;
use crate::db::Tx;
use crate::error::OverBudget;
use crate::net;

/// After this long without use every budget is full again, and its row says nothing; but for those in a row, whose rows say until when
/// themselves.
pub const LONGEST_SPAN: Duration = Duration::from_hours(24);

/// What an account that a network had not tried yet costs the network: who goes through many accounts pays more.
const NEW_ACCOUNT_PRICE: i64 = 6;

/// Refused sign-ins to one account with none that succeeded in between, from browsers that did not sign in to it before. Past that
/// it takes more than a password: such a browser, or the link of a mail (NIST SP 800-63B section 3.2.2: at most 100). One comes back
/// each day.
const IN_A_ROW: Budget =
    Budget { name: "logins of an account in a row", rate: Rate { number: 100, span: Duration::from_hours(100 * 24) } };

/// A network that was refused at more accounts than these lately is one that goes through accounts.
const FEW_ACCOUNTS: i64 = 5;

/// How much more the network around a network may do.
const WIDER: u32 = 4;

/// Mails that say to an address that nobody has an account with it.
pub const MAILS_TO_NOBODY: Budget =
    Budget { name: "mails to nobody", rate: Rate { number: 1, span: Duration::from_hours(24) } };

/// So many in so long, of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What is counted; part of the key.
    pub name: &'static str,
    /// How many, in how long; at most [`LONGEST_SPAN`].
    pub rate: Rate,
}

impl Budget {
    /// What one use moves the budget on by, in microseconds …
    fn step(self) -> i64 {
        self.span() / i64::from(self.rate.number.max(1))
    }

    /// … and what it may be ahead of the clock.
    fn span(self) -> i64 {
        i64::try_from(self.rate.span.as_micros()).unwrap_or(i64::MAX)
    }

    fn of(self, accounts: &Accounts, key: &str) -> Keyed {
        let key = accounts.keys.code(Purpose::Budget, &[self.name.as_bytes(), key.as_bytes()]);
        Keyed { budget: self, key }
    }

    /// Uses one, of what belongs to `key`; false if none is left.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn take(self, tx: &mut Tx, accounts: &Accounts, key: &str) -> anyhow::Result<bool> {
        self.of(accounts, key).take(tx, accounts).await
    }
}

/// How a mail stands to the budgets of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account) enum Precedence {
    /// It goes if all of them have one left.
    None,
    /// It leads somebody back into an account that is theirs, or soon is: one in six hours goes whatever else was sent to the address, to
    /// its domain and in all. Whoever fills those keeps nobody out.
    BackIn,
}

/// The mail that goes beside the budgets of its address.
const BACK_IN: Budget = Budget { name: "mails back in", rate: Rate { number: 1, span: Duration::from_hours(6) } };

/// Uses one of the mails that the networks of who asks may cause, and of those that an address, its domain and all may get, whoever asks
/// for it and whoever has the address. A mail that does not go costs none of them anything.
///
/// # Errors
/// When the database is away.
pub(in crate::account) async fn may_mail(
    tx: &mut Tx,
    accounts: &Accounts,
    canonical: &str,
    ip: Option<IpAddr>,
    precedence: Precedence,
) -> anyhow::Result<bool> {
    let limits = accounts.budgets;
    let networks = ["mails of a network", "mails of a wide network"];
    let networks = ip.map(|ip| of_networks(accounts, networks, limits.mail_network, ip)).into_iter().flatten();
    if !take_all(tx, accounts, networks.collect()).await? {
        return Ok(false);
    }
    let domain = canonical.rsplit('@').next().unwrap_or_default();
    let of_address = [
        ("mails to an address, hour", limits.mail_address_hour, canonical),
        ("mails to an address, day", limits.mail_address_day, canonical),
        ("mails to a domain", limits.mail_domain, domain),
        ("mails", limits.mail_all, ""),
    ];
    let of_address = of_address.map(|(name, rate, key)| Budget { name, rate }.of(accounts, key));
    let first = precedence == Precedence::BackIn && BACK_IN.take(tx, accounts, canonical).await?;
    Ok(take_all(tx, accounts, of_address.to_vec()).await? || first)
}

/// Uses one of each, or of none.
async fn take_all(tx: &mut Tx, accounts: &Accounts, all: Vec<Keyed>) -> anyhow::Result<bool> {
    for (nth, keyed) in all.iter().enumerate() {
        if !keyed.take(tx, accounts).await? {
            for taken in all.iter().take(nth) {
                taken.untake(tx, accounts).await?;
            }
            return Ok(false);
        }
    }
    Ok(true)
}

/// A budget of something in particular.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    budget: Budget,
    key: [u8; 32],
}

impl Keyed {
    /// Uses one; false if none is left. What is not committed is not used. Where limits are off (`BELLHOP_LIMITS`) there is no end of
    /// it.
    async fn take(self, tx: &mut Tx, accounts: &Accounts) -> anyhow::Result<bool> {
        if !accounts.limits {
            return Ok(true);
        }
        let now = accounts.clock.now();
        let taken = tx
            .query(
                "insert into budgets (key, until, used_at) values ($1, $2 + $3, $5)
                 on conflict (key) do update
                 set until = case when budgets.until > $2 then budgets.until else $2 end + $3, used_at = $5
                 where case when budgets.until > $2 then budgets.until else $2 end + $3 <= $2 + $4",
            )
            .bind(self.key.to_vec())
            .bind(now.timestamp_micros())
            .bind(self.budget.step())
            .bind(self.budget.span())
            .bind(now)
            .execute()
            .await
            .context("cannot use a budget")?;
        Ok(taken == 1)
    }

    /// What was just used was not used after all.
    async fn untake(self, tx: &mut Tx, accounts: &Accounts) -> anyhow::Result<()> {
        if !accounts.limits {
            return Ok(());
        }
        tx.query("update budgets set until = until - $2 where key = $1")
            .bind(self.key.to_vec())
            .bind(self.budget.step())
            .execute_deferred()
            .await
            .context("cannot give a budget back")
    }

    /// Moves the budget on by `price` uses, over budget or not: it has happened.
    async fn charge(self, tx: &mut Tx, accounts: &Accounts, price: i64) -> anyhow::Result<()> {
        let now = accounts.clock.now();
        // rows are purged by their last use
        let kept_from = now + self.budget.rate.span.saturating_sub(LONGEST_SPAN);
        tx.query(
            "insert into budgets (key, until, used_at) values ($1, $2 + $3, $4)
             on conflict (key) do update
             set until = case when budgets.until > $2 then budgets.until else $2 end + $3, used_at = $4",
        )
        .bind(self.key.to_vec())
        .bind(now.timestamp_micros())
        .bind(self.budget.step() * price)
        .bind(kept_from)
        .execute_deferred()
        .await
        .context("cannot use a budget")
    }

    async fn give_back(self, tx: &mut Tx) -> anyhow::Result<()> {
        tx.query("delete from budgets where key = $1")
            .bind(self.key.to_vec())
            .execute_deferred()
            .await
            .context("cannot give a budget back")
    }

    /// How long to wait until one more use is within the budget, which is spoken for until then while so many uses are under way.
    fn wait(self, until: i64, under_way: u32, now: i64) -> Option<Duration> {
        let next = until.max(now) + self.budget.step() * (i64::from(under_way) + 1);
        u64::try_from(next - self.budget.span() - now).ok().filter(|wait| *wait > 0).map(Duration::from_micros)
    }
}

/// A try at something that can be guessed, within its budgets. What it costs is known when it has failed.
#[derive(Debug)]
pub struct Try {
    /// What a refusal is charged to; the first is given back by a success.
    keys: Vec<Keyed>,
    /// What is given back by a success and is used.
    given_back: Vec<Keyed>,
    price: i64,
    /// Whether its network has been refused much lately.
    one_of_many: bool,
    _entered: Vec<Entered>,
}

/// The budgets of networks: of the near one, and of the one around it.
fn of_networks(accounts: &Accounts, name: [&'static str; 2], rate: Rate, ip: IpAddr) -> [Keyed; 2] {
    let wider = Rate { number: rate.number.saturating_mul(WIDER), ..rate };
    let [near, far] = net::networks(ip);
    let [near_name, far_name] = name;
    [
        Budget { name: near_name, rate }.of(accounts, &near.to_string()),
        Budget { name: far_name, rate: wider }.of(accounts, &far.to_string()),
    ]
}

impl Try {
    /// A try to sign in to the account of what was typed, whether anybody has it or not. A browser that signed in to it before has
    /// the name that its device cookie says, a budget of its own, and uses no other: nobody can lock it out.
    ///
    /// # Errors
    /// [`OverBudget`]; otherwise the database's.
    pub async fn to_sign_in(
        accounts: &Accounts,
        typed: &str,
        ip: IpAddr,
        device: Option<&str>,
    ) -> anyhow::Result<Self> {
        if !accounts.limits {
            return Ok(Try::unlimited());
        }
        let limits = accounts.budgets;
        let in_a_row = IN_A_ROW.of(accounts, typed);
        if let Some(device) = device {
            let budget = Budget { name: "logins of a device", rate: limits.login_device };
            let device = budget.of(accounts, &format!("{device} {typed}"));
            return Self::enter(accounts, vec![device], 1, Some(in_a_row)).await;
        }
        let [near, far] =
            of_networks(accounts, ["logins of a network", "logins of a wide network"], limits.login_network, ip);
        let pair = format!("{} {typed}", net::networks(ip)[0]);
        let pair = Budget { name: "logins of a pair", rate: limits.login_pair }.of(accounts, &pair);
        let account = Budget { name: "logins of an account", rate: limits.login_account }.of(accounts, typed);
        let all = Budget { name: "logins", rate: limits.login_all }.of(accounts, "");
        Self::enter(accounts, vec![pair, account, in_a_row, near, far, all], 3, Some(in_a_row)).await
    }

    /// A try to show the password by who is signed in already.
    ///
    /// # Errors
    /// [`OverBudget`]; otherwise the database's.
    pub async fn to_prove(accounts: &Accounts, user: uuid::Uuid) -> anyhow::Result<Self> {
        if !accounts.limits {
            return Ok(Try::unlimited());
        }
        let budget = Budget { name: "proofs of an account", rate: accounts.budgets.login_pair };
        Self::enter(accounts, vec![budget.of(accounts, &user.to_string())], 1, None).await
    }

    /// A try at a link.
    ///
    /// # Errors
    /// [`OverBudget`]; otherwise the database's.
    pub async fn at_link(accounts: &Accounts, ip: IpAddr) -> anyhow::Result<Self> {
        if !accounts.limits {
            return Ok(Try::unlimited());
        }
        let name = ["links of a network", "links of a wide network"];
        Self::enter(accounts, of_networks(accounts, name, accounts.budgets.token_network, ip).to_vec(), 0, None).await
    }

    fn unlimited() -> Self {
        Try { keys: Vec::new(), given_back: Vec::new(), price: 1, one_of_many: false, _entered: Vec::new() }
    }

    /// `counted`: of how many of the keys, from the first on, tries that are under way are counted. `ended`: what a success gives
    /// back beside the first of them.
    async fn enter(
        accounts: &Accounts,
        keys: Vec<Keyed>,
        counted: usize,
        ended: Option<Keyed>,
    ) -> anyhow::Result<Self> {
        let (under_way, entered): (Vec<u32>, Vec<Entered>) =
            keys.iter().take(counted).map(|keyed| accounts.under_way.enter(keyed.key)).unzip();
        let key = |nth: usize| {
            keys.get(nth).or(ended.as_ref()).or(keys.last()).map_or_else(Vec::new, |keyed| keyed.key.to_vec())
        };
        let rows: Vec<(Vec<u8>, i64)> = accounts
            .db
            .query("select key, until from budgets where key in ($1, $2, $3, $4, $5, $6)")
            .bind(key(0))
            .bind(key(1))
            .bind(key(2))
            .bind(key(3))
            .bind(key(4))
            .bind(key(5))
            .all()
            .await
            .context("cannot look the budgets up")?;
        let now = accounts.clock.now().timestamp_micros();
        let of_row = |keyed: &Keyed| rows.iter().find(|(key, _)| *key == keyed.key).map_or(0, |(_, until)| *until);
        let until: Vec<i64> = keys.iter().map(of_row).collect();
        let waits = keys
            .iter()
            .zip(&until)
            .enumerate()
            .filter_map(|(nth, (keyed, until))| keyed.wait(*until, under_way.get(nth).copied().unwrap_or(0), now));
        if let Some(wait) = waits.max() {
            return Err(OverBudget(wait).into());
        }
        let is_new = keys.len() > 2 && until.first().is_some_and(|until| *until <= now);
        let given_back = keys.first().copied().into_iter().chain(ended).filter(|keyed| of_row(keyed) > 0).collect();
        // of a sign-in, that has six
        let one_of_many = keys.get(3).filter(|_| keys.len() == 6).is_some_and(|network| {
            let used = (of_row(network) - now) / network.budget.step().max(1);
            used >= FEW_ACCOUNTS * NEW_ACCOUNT_PRICE
        });
        Ok(Try { price: if is_new { NEW_ACCOUNT_PRICE } else { 1 }, keys, given_back, one_of_many, _entered: entered })
    }

    /// Whether its network has been refused much lately: what it is refused now is worth no row of its own.
    #[must_use]
    pub fn is_one_of_many(&self) -> bool {
        self.one_of_many
    }

    /// It has failed.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn failed(&self, tx: &mut Tx, accounts: &Accounts) -> anyhow::Result<()> {
        for (nth, keyed) in self.keys.iter().enumerate() {
            // of a pair, an account, those in a row, a network, the one around it, and all: the networks
            let price = if matches!(nth, 3 | 4) { self.price } else { 1 };
            keyed.charge(tx, accounts, price).await?;
        }
        Ok(())
    }

    /// It has succeeded: what was used of its own budget is given back, and those that were refused in a row are over. All other
    /// budgets stay as they are.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn succeeded(&self, tx: &mut Tx) -> anyhow::Result<()> {
        for keyed in &self.given_back {
            keyed.give_back(tx).await?;
        }
        Ok(())
    }
}

/// The link of a mail has shown whose the account of this address is: what was refused in a row until now is over.
///
/// # Errors
/// When the database refuses or is away.
pub(in crate::account) async fn proved(tx: &mut Tx, accounts: &Accounts, canonical: &str) -> anyhow::Result<()> {
    IN_A_ROW.of(accounts, canonical).give_back(tx).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_used_up_by_its_number_and_comes_back_step_by_step() {
        let rate = Rate { number: 10, span: Duration::from_mins(15) };
        let keyed = Keyed { budget: Budget { name: "x", rate }, key: [0; 32] };
        let (now, step) = (1_000_000_000, keyed.budget.step());
        assert_eq!(keyed.wait(0, 0, now), None, "never used");
        assert_eq!(keyed.wait(now + 9 * step, 0, now), None, "the tenth");
        assert_eq!(keyed.wait(now + 10 * step, 0, now), Some(Duration::from_secs(90)), "the eleventh");
        assert_eq!(keyed.wait(now + 10 * step, 0, now + step), None, "a step later");
        assert_eq!(keyed.wait(now + 5 * step, 4, now), None, "five, four under way, and this one");
        assert!(keyed.wait(now + 5 * step, 5, now).is_some());
        assert!(keyed.wait(now + 50 * step, 0, now) > keyed.wait(now + 10 * step, 0, now), "delays grow");
    }
}
