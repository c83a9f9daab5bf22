//! People who do more than register and sign in: each registers, confirms and then moves the account to another address and sets a
//! password by a link, or deletes the account. Each goes on when the mail of the step before has come, whatever happens meanwhile.
//!
//! What they were told is what they are owed: mails by address and template, and the end of an account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bellhop::db::Db;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::app::{Letter, OTHER_PASSWORD, PASSWORD};
use super::super::poll::Poll;
use super::super::smtp::Sink;
use super::tally;

/// What their addresses begin with.
const PREFIX: &str = "life-";

/// From one try to the next.
const PACE: Duration = Duration::from_millis(100);

/// Whether it is one of their addresses.
pub fn is_of(email: &str) -> bool {
    email.starts_with(PREFIX)
}

/// How many mails of one kind an address must have, and may have.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    least: usize,
    most: usize,
}

#[derive(Clone, Default)]
struct Entries {
    /// By address and template.
    mails: BTreeMap<(String, &'static str), Owed>,
    /// Addresses of accounts whose deletion was accepted.
    deleted: Vec<String>,
    /// How often each kind of step was accepted.
    accepted: BTreeMap<&'static str, usize>,
}

/// People at it, and what they are owed.
pub struct Lives {
    entries: watch::Sender<Entries>,
    people: JoinSet<()>,
    enough: CancellationToken,
}

/// What became of what they are owed.
#[derive(Debug, Default)]
pub struct LivesAudit {
    /// How often each kind of step was accepted.
    pub accepted: BTreeMap<&'static str, usize>,
    /// Mails that must have come, each once.
    pub mails: usize,
    /// Copies of a mail.
    pub duplicates: usize,
    pub lost: usize,
    pub ghosts: usize,
    pub wrong: Vec<String>,
}

impl Lives {
    /// Starts so many, who have their mails at this server.
    pub fn begin(url: &str, sink: &Arc<Sink>, people: usize) -> Self {
        let (entries, enough) = (watch::Sender::new(Entries::default()), CancellationToken::new());
        let post = Post { sink: Arc::clone(sink), tokens: watch::Sender::new(BTreeMap::new()) };
        let mut tasks = JoinSet::new();
        tasks.spawn(post.clone().fetch(enough.clone()));
        for number in 0..people {
            let client = super::http_client();
            let (url, entries) = (url.to_owned(), entries.clone());
            let person = Person { url, client, entries, post: post.clone(), enough: enough.clone(), number };
            tasks.spawn(person.live());
        }
        Self { entries, people: tasks, enough }
    }

    /// Has them finish what they are at.
    pub async fn close(&mut self) {
        self.enough.cancel();
        while let Some(ended) = self.people.join_next().await {
            ended.expect("a person does not panic");
        }
    }

    /// Holds what is there against what they are owed.
    pub async fn audit(&self, db: &Db, sink: &Sink) -> LivesAudit {
        let entries = self.entries.borrow().clone();
        let mut audit = LivesAudit { accepted: entries.accepted, ..LivesAudit::default() };
        let mut seen = BTreeSet::new();
        let mut came: BTreeMap<(String, String), usize> = BTreeMap::new();
        for letter in sink.mails().iter().map(Letter::from).filter(|letter| is_of(&letter.to)) {
            let template = letter.template().unwrap_or_default().to_owned();
            if seen.insert(letter.message_id) {
                *came.entry((letter.to, template)).or_default() += 1;
            } else {
                audit.duplicates += 1;
            }
        }
        for ((to, template), Owed { least, most }) in &entries.mails {
            let came = came.remove(&(to.clone(), (*template).to_owned())).unwrap_or_default();
            audit.mails += least;
            audit.lost += least.saturating_sub(came);
            audit.ghosts += came.saturating_sub(*most);
            if !(*least..=*most).contains(&came) {
                audit.wrong.push(format!("{came} mails {template} to {to}, not {least} to {most}"));
            }
        }
        audit.ghosts += came.len();
        audit.wrong.extend(came.into_iter().map(|(of, count)| format!("{count} mails that nobody asked for: {of:?}")));
        let users = tally(db, "select email from users").await;
        let left = entries.deleted.iter().filter(|email| users.contains_key(*email));
        let left: Vec<String> = left.map(|email| format!("{email} is still there")).collect();
        audit.lost += left.len();
        audit.wrong.extend(left);
        audit
    }
}

/// The mails of all of them, read once: the newest token of each kind, by address.
#[derive(Clone)]
struct Post {
    sink: Arc<Sink>,
    tokens: watch::Sender<BTreeMap<(String, String), String>>,
}

impl Post {
    async fn fetch(self, enough: CancellationToken) {
        let (mut looked, mut tick) = (0, tokio::time::interval(PACE));
        while enough.run_until_cancelled(tick.tick()).await.is_some() {
            let fresh = self.sink.mails_from(looked);
            looked += fresh.len();
            for letter in fresh.iter().map(Letter::from).filter(|letter| is_of(&letter.to)) {
                let token = letter.token().unwrap_or_default();
                let template = letter.template().unwrap_or_default().to_owned();
                let of = (letter.to, template);
                self.tokens.send_modify(|tokens| drop(tokens.insert(of, token)));
            }
        }
    }
}

#[derive(Clone)]
struct Person {
    url: String,
    client: reqwest::Client,
    entries: watch::Sender<Entries>,
    post: Post,
    enough: CancellationToken,
    number: usize,
}

/// What the last answer was: its status, its place, its session.
struct Told {
    status: u16,
    location: String,
    session: Option<String>,
}

impl Person {
    async fn live(self) {
        for turn in 0_u32.. {
            // none: it is enough
            if self.life(turn).await.is_none() {
                return;
            }
        }
    }

    async fn life(&self, turn: u32) -> Option<()> {
        let email = format!("{PREFIX}{}-{turn}@example.org", self.number);
        let fields = [("email", email.as_str()), ("password", PASSWORD), ("name", "Ann")];
        self.owes(&email, "reminder", (0, 1));
        if !self.asks("/register", None, &fields, (&email, "confirmation")).await? {
            return Some(());
        }
        let token = self.reads(&email, "confirmation").await?;
        let confirmed = self.presses("/confirm", None, &[("token", &token), ("password", PASSWORD)]).await?;
        match confirmed.session {
            Some(session) if turn.is_multiple_of(2) => self.moves_and_forgets(&email, &session).await,
            Some(session) => self.deletes(&email, &session).await,
            None => Some(()),
        }
    }

    async fn moves_and_forgets(&self, email: &str, session: &str) -> Option<()> {
        let new = email.replace("example.org", "example.net");
        let fields = [("email", new.as_str()), ("current_password", PASSWORD)];
        if !self.asks("/account/email", Some(session), &fields, (&new, "email_change")).await? {
            return Some(());
        }
        let token = self.reads(&new, "email_change").await?;
        self.owes(email, "email_changed", (0, 1));
        if self.presses("/email/confirm", None, &[("token", &token)]).await?.status != 303 {
            return Some(());
        }
        self.counts("moves");
        self.owes(email, "email_changed", (1, 0));
        self.reads(email, "email_changed").await?;
        if !self.asks("/forgot", None, &[("email", &new)], (&new, "password_reset")).await? {
            return Some(());
        }
        let token = self.reads(&new, "password_reset").await?;
        self.owes(&new, "password_changed", (0, 1));
        let fields = [("token", token.as_str()), ("password", OTHER_PASSWORD)];
        if self.presses("/reset", None, &fields).await?.status != 303 {
            return Some(());
        }
        self.counts("resets");
        self.owes(&new, "password_changed", (1, 0));
        self.reads(&new, "password_changed").await.map(drop)
    }

    async fn deletes(&self, email: &str, session: &str) -> Option<()> {
        // no mail to an account that was deleted before it could go
        self.owes(email, "deletion_scheduled", (0, 1));
        let told = self.presses("/account/delete", Some(session), &[("current_password", PASSWORD)]).await?;
        if told.location == "/account" {
            self.counts("deletions");
            self.entries.send_modify(|entries| entries.deleted.push(email.to_owned()));
        }
        Some(())
    }

    /// Sends a form, and tells whether it was accepted: a mail is owed then. If nobody knows, one may come.
    async fn asks(
        &self,
        path: &str,
        session: Option<&str>,
        fields: &[(&str, &str)],
        (to, template): (&str, &'static str),
    ) -> Option<bool> {
        self.owes(to, template, (0, 1));
        let mut poll = Poll::new();
        let told = loop {
            self.enough.run_until_cancelled(poll.tick()).await?;
            match self.post(path, session, fields).await {
                // it never was there
                Err(error) if error.is_connect() => {}
                told => break told,
            }
        };
        let is_accepted = told.is_ok_and(|told| told.status == 303);
        if is_accepted {
            self.counts(template);
            self.owes(to, template, (1, 0));
        }
        Some(is_accepted)
    }

    /// Presses a button until it is known that it was pressed: done now or, where nobody knew of the time before, then.
    async fn presses(&self, path: &str, session: Option<&str>, fields: &[(&str, &str)]) -> Option<Told> {
        let (mut doubt, mut poll) = (false, Poll::new());
        loop {
            self.enough.run_until_cancelled(poll.tick()).await?;
            match self.post(path, session, fields).await {
                Ok(told) if told.status < 500 => {
                    let done = told.status == 303 || doubt;
                    assert!(done, "{path} {fields:?} was refused: {}", told.status);
                    return Some(told);
                }
                _ => doubt = true,
            }
        }
    }

    async fn post(&self, path: &str, session: Option<&str>, fields: &[(&str, &str)]) -> reqwest::Result<Told> {
        let request = self.client.post(format!("{}{path}", self.url)).header("user-agent", "life");
        let request = request.header("sec-fetch-site", "same-origin").form(fields);
        let request = match session {
            Some(session) => request.header("cookie", format!("bellhop={session}")),
            None => request,
        };
        let answer = request.send().await?;
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let session = text("set-cookie").and_then(|line| {
            let value = line.strip_prefix("bellhop=")?.split(';').next()?.to_owned();
            (!value.is_empty()).then_some(value)
        });
        Ok(Told { status: answer.status().as_u16(), location: text("location").unwrap_or_default(), session })
    }

    /// The token in a mail, once that has come.
    async fn reads(&self, to: &str, template: &str) -> Option<String> {
        let (mut tokens, of) = (self.post.tokens.subscribe(), (to.to_owned(), template.to_owned()));
        let came = self.enough.run_until_cancelled(tokens.wait_for(|tokens| tokens.contains_key(&of))).await?;
        came.ok().and_then(|tokens| tokens.get(&of).cloned())
    }

    fn owes(&self, to: &str, template: &'static str, (least, most): (usize, usize)) {
        self.entries.send_modify(|entries| {
            let owed = entries.mails.entry((to.to_owned(), template)).or_default();
            owed.least += least;
            owed.most += most;
        });
    }

    fn counts(&self, what: &'static str) {
        self.entries.send_modify(|entries| *entries.accepted.entry(what).or_default() += 1);
    }
}
