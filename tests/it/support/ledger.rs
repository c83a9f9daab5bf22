//! Clients who write down what they were told, and an audit that holds it against what is there afterwards.
//!
//! A registration is known by its address, a login by its `User-Agent`, which is another one each time and stands in the
//! log's row, in the event and in the session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bellhop::clock::Clock;
use bellhop::db::Db;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::app::{OTHER_PASSWORD, PASSWORD, Progress};
use super::poll::Poll;
use super::process::Bellhop;

pub mod lives;

/// How long everything may take to be done after the last trouble: leases of 60 s, pauses of 15 s, busy machines.
pub const PATIENCE: Duration = Duration::from_mins(4);

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// 303.
    Accepted,
    /// 422.
    Refused,
    /// Nothing, or that it did not work (5xx): nobody knows.
    Nothing,
    /// There was no connection: it never was there.
    Away,
}

#[derive(Clone, Default)]
struct Entries {
    /// By address.
    registrations: BTreeMap<String, Told>,
    /// By `User-Agent`; with whether the password was right.
    logins: BTreeMap<String, (bool, Told)>,
    /// How often each status was answered; 0 is no answer.
    statuses: BTreeMap<u16, usize>,
    /// How long each answer took.
    took: Vec<Duration>,
}

impl Entries {
    fn accepted(&self) -> usize {
        self.registrations.values().filter(|told| **told == Told::Accepted).count()
    }

    fn answered(&mut self, status: u16, took: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        self.took.push(took);
    }
}

/// Clients at work, and what they have been told.
pub struct Ledger {
    entries: watch::Sender<Entries>,
    users: Vec<String>,
    clients: JoinSet<()>,
    enough: CancellationToken,
    /// Whether who has not confirmed is reminded while somebody counts.
    reminds: bool,
}

impl Ledger {
    /// Starts `clients` who register and as many who sign in, each at most once in `pace`. They go on whatever happens.
    pub async fn open(app: &Bellhop, clients: usize, pace: Duration) -> Self {
        Self::open_at(app, &app.url, clients, pace).await
    }

    /// The same, signing in at another node.
    pub async fn open_at(app: &Bellhop, login: &str, clients: usize, pace: Duration) -> Self {
        let users: Vec<String> = (0..clients).map(|number| format!("user-{number}@example.org")).collect();
        for user in &users {
            app.signed_in_client(user).await;
        }
        let (entries, enough) = (watch::Sender::new(Entries::default()), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for (number, user) in users.iter().cloned().enumerate() {
            let client = Client { entries: entries.clone(), enough: enough.clone(), number, pace };
            tasks.spawn(client.clone().register(format!("{}/register", app.url)));
            tasks.spawn(client.sign_in(format!("{login}/login"), user));
        }
        Self { entries, users, clients: tasks, enough, reminds: false }
    }

    /// For a program whose reminders are due at once, so that each registration has one.
    pub fn reminding(self) -> Self {
        Self { reminds: true, ..self }
    }

    /// Registrations that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.entries.borrow().accepted()
    }

    /// How often each status was answered so far; 0 is no answer.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.entries.borrow().statuses.clone()
    }

    /// How long each answer took so far, in the order in which they came.
    pub fn took(&self) -> Vec<Duration> {
        self.entries.borrow().took.clone()
    }

    /// Waits until so many registrations more were accepted.
    pub async fn until_more(&self, registrations: usize) {
        let goal = self.accepted() + registrations;
        let mut entries = self.entries.subscribe();
        let reached = tokio::time::timeout(PATIENCE, entries.wait_for(|entries| entries.accepted() >= goal)).await;
        assert!(reached.is_ok(), "{} of {goal} registrations were accepted: {:?}", self.accepted(), self.statuses());
    }

    /// Has the clients finish what they are at.
    pub async fn close(&mut self) {
        self.enough.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
    }

    /// Waits until everything is done and counts. `since` is when the last trouble ended.
    pub async fn audit(&self, app: &Bellhop, since: Instant) -> Audit {
        self.audit_within(app, since, PATIENCE).await
    }

    /// The same, waiting as long as this.
    pub async fn audit_within(&self, app: &Bellhop, since: Instant, patience: Duration) -> Audit {
        let db = app.db().await;
        let mut poll = Poll::new();
        loop {
            poll.tick().await;
            let progress = Progress::of(&db, &Clock::default()).await;
            // what is due later is counted where it is due soon
            let scheduled = "select count(*) from outbox where published_at is null";
            let (scheduled,): (i64,) = db.query(scheduled).one().await.expect("the database answers");
            if progress.is_all() && (!self.reminds || scheduled == 0) {
                break;
            }
            assert!(since.elapsed() < patience, "not done: {progress:?}");
        }
        let recovery = since.elapsed();
        let audit = self.count(&db, app, recovery).await;
        db.close().await;
        audit
    }

    async fn count(&self, db: &Db, app: &Bellhop, recovery: Duration) -> Audit {
        let entries = self.entries.borrow().clone();
        let rows =
            tally(db, "select email from registrations where confirmed_user is null union all select email from users")
                .await;
        let log = tally(db, "select user_agent from login_log where type like 'login.%'").await;
        let succeeded = tally(db, "select user_agent from login_log where type = 'login.succeeded'").await;
        let sessions = tally(db, "select user_agent from sessions").await;
        let mut mails: BTreeMap<String, usize> = BTreeMap::new();
        // of who has an account: each warning has a link of its own
        let mut warnings: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut reminders: BTreeMap<String, usize> = BTreeMap::new();
        for letter in app.letters().into_iter().filter(|letter| !lives::is_of(&letter.to)) {
            if letter.template() == Some("reminder") {
                *reminders.entry(letter.to).or_default() += 1;
                continue;
            }
            if !entries.registrations.contains_key(&letter.to) {
                *warnings.entry((letter.to.clone(), letter.text)).or_default() += 1;
            }
            *mails.entry(letter.to).or_default() += 1;
        }
        let of = |counts: &BTreeMap<String, usize>, key: &String| counts.get(key).copied().unwrap_or_default();

        let duplicates = warnings.values().map(|copies| copies - 1).sum();
        let mut audit = Audit { duplicates, recovery, ..Audit::default() };
        for (email, told) in &entries.registrations {
            let (rows, mails) = (of(&rows, email), of(&mails, email));
            let accepted = usize::from(*told == Told::Accepted);
            audit.accepted += accepted;
            audit.rows += rows;
            audit.mails += mails;
            audit.duplicates += mails.saturating_sub(1);
            // accepted: one row; in doubt: one or none; and a mail wherever there is a row
            audit.lost += usize::from(rows < accepted || mails < rows);
            audit.ghosts += usize::from(mails > 0 && rows == 0);
            // a registration has its reminder too, where that is due
            let (reminders, owed) = (of(&reminders, email), if self.reminds { rows } else { 0 });
            audit.reminders += reminders;
            audit.duplicates += reminders.saturating_sub(owed.max(1));
            audit.lost += usize::from(reminders < owed);
            audit.ghosts += usize::from(reminders > 0 && owed == 0);
            let most = usize::from(*told != Told::Away);
            audit.wrong.extend((rows > most).then(|| format!("{email} has {rows} rows")));
        }
        for (agent, (right, told)) in &entries.logins {
            let (all, succeeded, sessions) = (of(&log, agent), of(&succeeded, agent), of(&sessions, agent));
            let accepted = *told == Told::Accepted;
            let answered = accepted || *told == Told::Refused;
            audit.login_accepted += usize::from(accepted);
            audit.login_refused += usize::from(*told == Told::Refused);
            audit.login_rows += all;
            audit.lost += usize::from(answered && all == 0);
            audit.log_gaps += usize::from(answered && all == 0);
            audit.log_duplicates += all.saturating_sub(1);
            let expected = if *right { all } else { 0 };
            let most = usize::from(*told != Told::Away);
            if all > most || succeeded != expected || sessions != succeeded || (answered && *right != accepted) {
                audit.wrong.push(format!(
                    "{agent} ({told:?}, right: {right}): {all} rows, {succeeded} succeeded, {sessions} sessions"
                ));
            }
        }
        audit.in_doubt = entries.registrations.values().filter(|told| **told == Told::Nothing).count()
            + entries.logins.values().filter(|(_, told)| *told == Told::Nothing).count();

        // nothing that nobody did, and no event apart from what it tells of
        let known: BTreeSet<&String> = entries.registrations.keys().chain(&self.users).collect();
        audit.ghosts += mails.keys().filter(|email| !known.contains(email)).count();
        let is_known = |email: &String| known.contains(email) || lives::is_of(email);
        audit.wrong.extend(rows.keys().filter(|email| !is_known(email)).cloned());
        audit.ghosts += reminders.keys().filter(|email| !entries.registrations.contains_key(*email)).count();
        audit.wrong.extend(log.keys().filter(|agent| !entries.logins.contains_key(*agent)).cloned());
        for (what, sql) in [
            (
                "a login's event without its row",
                "select o.type from outbox o
                 where o.type in ('login.succeeded', 'login.failed')
                   and not exists (select 1 from login_log l where l.id = o.id)",
            ),
            (
                "a login's row without its event",
                "select l.type from login_log l where not exists (select 1 from outbox o where o.id = l.id)",
            ),
        ] {
            audit.wrong.extend(tally(db, sql).await.into_iter().map(|(kind, count)| format!("{what}: {count} {kind}")));
        }
        let events: usize =
            tally(db, "select type from outbox where type = 'user.registered'").await.into_values().sum();
        let deleted: usize = tally(db, "select type from outbox where type = 'user.deleted'").await.into_values().sum();
        let rows: usize = rows.values().sum();
        let wrong = || format!("{events} events of {rows} registrations and {deleted} deletions");
        audit.wrong.extend((rows + deleted != events).then(wrong));
        audit
    }
}

/// How often each text comes.
async fn tally(db: &Db, sql: &'static str) -> BTreeMap<String, usize> {
    let rows: Vec<(String,)> = db.query(sql).all().await.expect("the database answers");
    let mut counts = BTreeMap::new();
    for (text,) in rows {
        *counts.entry(text).or_default() += 1;
    }
    counts
}

/// What the ledger says beside what is there.
#[derive(Debug, Default)]
pub struct Audit {
    pub accepted: usize,
    pub rows: usize,
    pub mails: usize,
    pub reminders: usize,
    pub duplicates: usize,
    pub lost: usize,
    /// Mails that no row stands behind.
    pub ghosts: usize,
    /// Logins that were answered and have no row in the log; counted as lost too.
    pub log_gaps: usize,
    pub log_duplicates: usize,
    pub login_accepted: usize,
    pub login_refused: usize,
    pub login_rows: usize,
    pub in_doubt: usize,
    pub recovery: Duration,
    /// Whatever must not be, in words.
    pub wrong: Vec<String>,
}

impl Audit {
    /// Prints the counts in one line that a program can read, and fails if something was lost or came to be twice. Mails
    /// may come twice, but no more than were in hand at the `kills`.
    pub fn pass(&self, seed: u64, stack: &str, kills: usize) {
        println!(
            "seed={seed} stack={stack} kills={kills} accepted={} rows={} mails={} duplicates={} lost={} ghost={} \
             login_accepted={} login_refused={} login_rows={} in_doubt={} recovery_ms={}",
            self.accepted,
            self.rows,
            self.mails,
            self.duplicates,
            self.lost,
            self.ghosts,
            self.login_accepted,
            self.login_refused,
            self.login_rows,
            self.in_doubt,
            self.recovery.as_millis()
        );
        // a process has four mails in hand: BELLHOP_LISTENER_CONCURRENCY
        self.hold(stack, 4 * kills);
        assert!(self.accepted > 0 && self.login_accepted > 0 && self.login_refused > 0, "{self:?}");
    }

    /// Fails if something was lost, came from nothing or came to be twice; mails may, up to `most`.
    pub fn hold(&self, what: &str, most: usize) {
        assert_eq!((self.lost, self.ghosts, &self.wrong), (0, 0, &Vec::new()), "{what}: {self:?}");
        assert_eq!((self.log_gaps, self.log_duplicates), (0, 0), "{what}: {self:?}");
        assert!(self.duplicates <= most, "{what}: more than {most} mails came twice: {self:?}");
    }
}

/// One who comes again and again.
#[derive(Clone)]
struct Client {
    entries: watch::Sender<Entries>,
    enough: CancellationToken,
    number: usize,
    pace: Duration,
}

impl Client {
    async fn register(self, url: String) {
        let mut turns = Turns::new(&self);
        while let Some(turn) = turns.next().await {
            let email = format!("guest-{}-{turn}@example.org", self.number);
            let fields = [("email", email.as_str()), ("password", PASSWORD), ("name", "Ann")];
            let began = Instant::now();
            let (told, status) = turns.post(&url, "ledger", &fields).await;
            self.entries.send_modify(|entries| {
                entries.registrations.insert(email.clone(), told);
                entries.answered(status, began.elapsed());
            });
        }
    }

    /// Every third time with a wrong password.
    async fn sign_in(self, url: String, user: String) {
        let mut turns = Turns::new(&self);
        while let Some(turn) = turns.next().await {
            let agent = format!("ledger/{}-{turn}", self.number);
            let right = turn % 3 != 2;
            let password = if right { PASSWORD } else { OTHER_PASSWORD };
            let began = Instant::now();
            let (told, status) = turns.post(&url, &agent, &[("email", &user), ("password", password)]).await;
            self.entries.send_modify(|entries| {
                entries.logins.insert(agent.clone(), (right, told));
                entries.answered(status, began.elapsed());
            });
        }
    }
}

/// When a client comes, and by which connection: another one each time, without cookies, so that requests have nothing
/// in common.
struct Turns {
    enough: CancellationToken,
    pace: tokio::time::Interval,
    client: reqwest::Client,
    turn: usize,
}

/// A client that follows nothing, keeps no connection, and does not wait for ever.
fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client")
}

impl Turns {
    fn new(client: &Client) -> Self {
        let mut pace = tokio::time::interval(client.pace);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let enough = client.enough.clone();
        Self { enough, pace, client: http_client(), turn: 0 }
    }

    async fn next(&mut self) -> Option<usize> {
        self.pace.tick().await;
        self.turn += 1;
        (!self.enough.is_cancelled()).then_some(self.turn)
    }

    /// What was told, and the status; 0 is no answer.
    async fn post(&self, url: &str, agent: &str, fields: &[(&str, &str)]) -> (Told, u16) {
        let request = self.client.post(url).header("user-agent", agent).header("sec-fetch-site", "same-origin");
        match request.form(fields).send().await.map(|answer| answer.status().as_u16()) {
            Ok(303) => (Told::Accepted, 303),
            Ok(422) => (Told::Refused, 422),
            Ok(status) => (Told::Nothing, status),
            Err(error) if error.is_connect() => (Told::Away, 0),
            Err(_) => (Told::Nothing, 0),
        }
    }
}
