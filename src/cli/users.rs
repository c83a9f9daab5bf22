//! `users`: the people who may sign in, and who of them are administrators.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::open::with_database;
use super::output::{JsonArray, Output, Table, instant, printable};
use crate::account::Accounts;
use crate::account::identity::address::Address;
use crate::account::session;
use crate::account::user::{self, UserFilter, UserSummary};
use crate::config::Config;

const COLUMNS: [&str; 5] = ["email", "name", "since", "administrator", "id"];

/// How many users are read at once; a statement for so many is quick, however many there are.
const PAGE: u16 = 1_000;

/// What is done with whom.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Users {
    /// one line each, the newest last
    List(List),
    /// all that is known of one
    Show(One),
    /// where one is signed in; with --end, nowhere any more
    Sessions(Sessions),
    /// make one an administrator
    Promote(One),
    /// make one no administrator any more
    Demote(One),
}

#[derive(Clone, Debug, Args)]
pub(super) struct List {
    /// only those whose address or name has this in it, in capitals or not
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// no more than so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// only administrators
    #[arg(long)]
    admin: bool,
    /// as a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct One {
    /// the address they sign in with
    #[arg(value_name = "EMAIL")]
    email: String,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Sessions {
    #[command(flatten)]
    one: One,
    /// end them all
    #[arg(long)]
    end: bool,
}

impl Users {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        with_database(config, async |app| match self {
            Users::List(list) => list.run(&app.accounts).await,
            Users::Show(one) => one.show(&app.accounts).await,
            Users::Sessions(sessions) => sessions.run(&app.accounts).await,
            Users::Promote(one) => one.set_admin(&app.accounts, true).await,
            Users::Demote(one) => one.set_admin(&app.accounts, false).await,
        })
        .await
    }
}

impl List {
    /// Page by page: what is in memory does not grow with the number of users.
    async fn run(self, accounts: &Accounts) -> anyhow::Result<()> {
        let filter = UserFilter::new(self.search.as_deref(), self.admin);
        let mut left = self.limit.unwrap_or(usize::MAX);
        let (mut out, mut table, mut array) = (Output::new(), Table::new(COLUMNS), JsonArray::default());
        let mut after = Uuid::nil();
        loop {
            let page = user::page(&accounts.db, after, PAGE).await?;
            let end = left == 0 || page.len() < usize::from(PAGE);
            after = page.last().map_or(after, |last| last.id);
            let chosen: Vec<UserSummary> = page.into_iter().filter(|user| filter.matches(user)).take(left).collect();
            left -= chosen.len();
            if self.json {
                chosen.iter().try_for_each(|user| array.item(&mut out, user))?;
            } else {
                table.rows(&mut out, chosen.into_iter().map(row).collect())?;
            }
            if end || left == 0 {
                break;
            }
        }
        if self.json {
            array.end(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

impl Sessions {
    async fn run(self, accounts: &Accounts) -> anyhow::Result<()> {
        let (address, mut out) = (self.one.address()?, Output::new());
        if self.end {
            let ended = session::end_every(accounts, address.canonical()).await?;
            writeln!(out, "ended {}", ended.with_context(|| self.one.nobody())?)?;
            return Ok(out.flush()?);
        }
        let found = user::by_canonical(&accounts.db, address.canonical()).await?;
        let found = found.with_context(|| self.one.nobody())?;
        let sessions = session::of_user(accounts, found.id).await?.into_iter().map(|one| {
            [instant(one.created_at), instant(one.last_seen_at), one.ip, printable(&one.user_agent), one.id.to_string()]
        });
        let mut table = Table::new(["begun", "last used", "ip", "program", "id"]);
        table.rows(&mut out, sessions.collect())?;
        Ok(out.flush()?)
    }
}

impl One {
    async fn show(&self, accounts: &Accounts) -> anyhow::Result<()> {
        let found = user::summary(&accounts.db, self.address()?.canonical()).await?;
        let found = found.with_context(|| self.nobody())?;
        let mut out = Output::new();
        for (name, value) in COLUMNS.into_iter().zip(row(found)) {
            writeln!(out, "{name:<13} {value}")?;
        }
        Ok(out.flush()?)
    }

    async fn set_admin(&self, accounts: &Accounts, admin: bool) -> anyhow::Result<()> {
        if !user::set_admin(accounts, self.address()?.canonical(), admin).await? {
            bail!(self.nobody());
        }
        self.show(accounts).await
    }

    fn address(&self) -> anyhow::Result<Address> {
        Address::parse(&self.email).with_context(|| format!("{:?} is no address", self.email))
    }

    fn nobody(&self) -> String {
        format!("nobody has the address {}", self.email)
    }
}

fn row(UserSummary { id, email, name, created_at, admin_since }: UserSummary) -> [String; 5] {
    let admin = admin_since.map_or_else(|| "no".to_owned(), |at| format!("since {}", instant(at)));
    [printable(&email), printable(&name), instant(created_at), admin, id.to_string()]
}
