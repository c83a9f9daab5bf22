//! Where orders are walked: an app with a mail server and a clock, and what befalls it. Many orders go on in it at the same time, a
//! step each, and then everything that was accepted has to happen, unless the mail server is away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bellhop::clock::Timestamp;
use bellhop::listeners;
use bellhop::messaging::topology::matches;
use futures_util::StreamExt as _;
use uuid::Uuid;

use super::model::MARGIN;
use super::world::{Site, World, recipient};
use crate::support::app::{HttpClient, Letter, Stack, TestApp};
use crate::support::chance::Chance;
use crate::support::poll::Poll;
use crate::support::smtp::{Phase, Script, Step};

/// How many people do something at the same moment.
const AT_ONCE: usize = 16;

/// The queue whose listener sends no mails, and that of the deletion of accounts.
const WITHOUT_MAILS: [&str; 2] = ["login-log", "deletion"];

/// How long all may take to be done.
const PATIENCE: Duration = Duration::from_mins(3);

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// How much time may pass: past each limit of ours, and short of it.
const SPANS: [Duration; 9] = [
    Duration::from_mins(13),
    Duration::from_mins(47),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(13),
    Duration::from_hours(25),
    Duration::from_hours(4 * 24),
    Duration::from_hours(8 * 24),
    Duration::from_hours(15 * 24),
];

/// What of it may pass while mails wait: a mail is given up after two days.
const SHORT_SPANS: usize = 4;
const LONGEST_OUTAGE: Duration = DAY;

/// How long a program stays away that was killed: past the leases of what it had in hand.
const AWAY: Duration = Duration::from_mins(2);

pub struct Town {
    pub app: TestApp,
    chance: Chance,
    client: reqwest::Client,
    /// Mails that were looked at.
    looked: usize,
    /// What was published before then is done.
    settled: Timestamp,
    /// Since when the mail server takes nothing.
    outage: Option<Timestamp>,
    was_killed: bool,
}

impl Town {
    pub async fn new(stack: Stack, seed: u64) -> Self {
        let app = TestApp::mailing(stack, |options| options.runs_apart = true).await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let settled = app.clock().now();
        let (outage, was_killed) = (None, false);
        Town { app, chance: Chance::from(seed), client, looked: 0, settled, outage, was_killed }
    }

    pub fn site(&self) -> Site {
        let client = HttpClient { http: self.client.clone(), url: self.app.url.clone() };
        Site { app: self.app.app.clone(), client }
    }

    /// Walks these orders to their ends.
    pub async fn walk(&mut self, worlds: &mut [World], steps: usize, seed: u64) {
        for nth in 0..steps {
            self.mail_server(worlds, seed).await;
            let turns = worlds.iter_mut().map(|world| async move {
                let done = world.step(nth == 0).await;
                world.holds(done, seed);
            });
            futures_util::stream::iter(turns).buffer_unordered(AT_ONCE).collect::<()>().await;
            if self.chance.below(12) == 0 {
                self.kill(worlds).await;
            }
            self.settle(worlds, seed).await;
            if self.chance.below(5) == 0 {
                let many = if self.outage.is_some() { SHORT_SPANS } else { SPANS.len() };
                let span = SPANS[usize::try_from(self.chance.below(many as u64)).unwrap()];
                let purges = self.chance.below(3) == 0;
                self.pass(worlds, span, purges, seed).await;
            }
        }
        self.end(worlds, seed).await;
    }

    /// Now and then it refuses everything or is away, and some steps later it is there again.
    async fn mail_server(&mut self, worlds: &mut [World], seed: u64) {
        let now = self.app.clock().now();
        let sink = self.app.sink.as_mut().unwrap();
        if self.outage.is_some() {
            if self.chance.below(2) == 0 {
                self.bring_back(worlds, seed).await;
            }
        } else if self.chance.below(8) == 0 {
            let refuses = self.chance.below(2) == 0;
            if refuses {
                sink.set(Script::default().on(Phase::Mail, Step::reply("451 4.3.0 later")));
            } else {
                sink.stop().await;
            }
            self.outage = Some(now);
            note(worlds, if refuses { "the mail server refuses" } else { "the mail server is away" });
        }
    }

    /// It is there again, and what has waited goes before anybody does anything else.
    async fn bring_back(&mut self, worlds: &mut [World], seed: u64) {
        let sink = self.app.sink.as_mut().unwrap();
        sink.set(Script::default());
        sink.restart().await;
        self.outage = None;
        note(worlds, "the mail server is back");
        self.settle(worlds, seed).await;
    }

    /// The program dies with what it has in hand, and is started again a little later.
    async fn kill(&mut self, worlds: &mut [World]) {
        note(worlds, "the program is killed");
        self.app.kill(|clock| clock.advance(AWAY)).await;
        self.was_killed = true;
        // as a program does that starts
        self.purge(worlds).await;
        let site = self.site();
        for world in worlds {
            world.site = site.clone();
        }
    }

    async fn purge(&self, worlds: &mut [World]) {
        self.app.purge().await;
        let now = self.app.clock().now();
        for world in worlds {
            world.model.is_purged(now);
        }
    }

    /// So much time passes, or a little more: nothing changes by itself just about then.
    async fn pass(&mut self, worlds: &mut [World], span: Duration, purges: bool, seed: u64) {
        let now = self.app.clock().now();
        let mut to = now + span;
        let moments: Vec<Timestamp> = worlds.iter().flat_map(|world| world.model.moments()).collect();
        while moments.iter().any(|moment| (*moment - to).abs() < MARGIN) {
            to += MARGIN;
        }
        if let Some(since) = self.outage
            && (to > since + LONGEST_OUTAGE || worlds.iter().any(|world| world.model.is_due_by(to)))
        {
            return;
        }
        let span = (to - now).to_std().unwrap();
        note(worlds, &format!("{span:.0?} pass"));
        self.app.clock().advance(span);
        // what has expired opens nothing, whether it is still there or not
        if purges {
            self.purge(worlds).await;
        }
        self.app.app.accounts.notifier.signal_outbox();
        self.app.app.accounts.notifier.signal_queues();
        let now = self.app.clock().now();
        for world in worlds.iter_mut() {
            world.model.passes(now);
        }
        self.settle(worlds, seed).await;
    }

    /// Waits until everything that was accepted and is due has happened, but for mails while the mail server takes none; holds what has
    /// happened against what is owed.
    async fn settle(&mut self, worlds: &mut [World], seed: u64) {
        let began = self.app.clock().now();
        self.until_done(seed).await;
        let may_repeat = std::mem::take(&mut self.was_killed);
        let sink = self.app.sink.as_ref().unwrap();
        let mails = sink.mails_from(self.looked);
        self.looked += mails.len();
        for mail in &mails {
            let letter = Letter::from(mail);
            let world = recipient(&letter.to).and_then(|(to, number)| {
                let world = worlds.iter_mut().find(|world| world.number == number)?;
                Some((to, world))
            });
            let (to, world) = world.unwrap_or_else(|| panic!("a mail to {}: {}", letter.to, letter.subject));
            let received = world.receives(letter.message_id.as_ref().unwrap(), to, letter.token(), may_repeat);
            world.holds(received, seed);
        }
        for world in worlds.iter_mut() {
            let settled = if self.outage.is_some() { world.waits_in_vain() } else { world.settles() };
            world.holds(settled, seed);
        }
        if self.outage.is_none() {
            self.settled = began;
        }
    }

    async fn until_done(&self, seed: u64) {
        let (since, mut poll) = (Instant::now(), Poll::new());
        loop {
            poll.tick().await;
            if self.is_done().await {
                return;
            }
            let left = self.app.unsettled();
            assert!(since.elapsed() < PATIENCE, "not done (TEST_SEED={seed}): {:?}", left.await);
        }
    }

    async fn is_done(&self) -> bool {
        let (db, now) = (self.app.db(), self.app.clock().now());
        let left = "select count(*) from outbox where published_at is null and due_at <= $1";
        if db.query(left).bind(now).one::<(i64,)>().await.unwrap().0 > 0 {
            return false;
        }
        let published = "select id, type from outbox where published_at >= $1";
        let events: Vec<(Uuid, String)> = db.query(published).bind(self.settled).all().await.unwrap();
        // a listener may be done with an event before the relay has written down that it is published
        let marked = "select listener, event_id from inbox where seen_at >= $1";
        let marks: Vec<(String, Uuid)> = db.query(marked).bind(self.settled - MARGIN).all().await.unwrap();
        let mut done: BTreeSet<(String, Uuid)> = marks.into_iter().collect();
        if self.outage.is_some() {
            // tried once, and waiting
            let waiting = "select listener, event_id from setback where last_at >= $1";
            let waiting: Vec<(String, Uuid)> = db.query(waiting).bind(self.settled).all().await.unwrap();
            done.extend(waiting.into_iter().filter(|(listener, _)| !WITHOUT_MAILS.contains(&listener.as_str())));
        }
        events.iter().all(|(id, kind)| {
            let wanted = |(_, keys): &(&str, &[&str])| keys.iter().any(|key| matches(key, kind));
            let mut queues = listeners::bindings().into_iter().filter(wanted);
            queues.all(|(queue, _)| done.contains(&(queue.to_owned(), *id)))
        })
    }

    /// All is well again, and time passes until nothing is due: what stays is what must stay.
    async fn end(&mut self, worlds: &mut [World], seed: u64) {
        if self.outage.is_some() {
            self.bring_back(worlds, seed).await;
        }
        self.log_holds(worlds, seed).await;
        for span in [25 * HOUR, 8 * DAY, 15 * DAY, 31 * DAY] {
            self.pass(worlds, span, true, seed).await;
        }
        self.log_holds(worlds, seed).await;
        let left = "select (select count(*) from registrations) + (select count(*) from resets)
                      + (select count(*) from email_changes) + (select count(*) from sessions)";
        let (left,): (i64,) = self.app.db().query(left).one().await.unwrap();
        assert_eq!(left, 0, "rows whose time is over (TEST_SEED={seed})");
        for world in worlds.iter_mut() {
            for address in 0..world.addresses.len() {
                let sql = "select count(*) from users where email_canonical = $1";
                let found = self.app.db().query(sql).bind(world.addresses[address].clone());
                let (found,): (i64,) = found.one().await.unwrap();
                let is_right = (found == 1) == world.model.owner(address).is_some();
                let right = if is_right { Ok(()) } else { Err(format!("{found} accounts of address {address}")) };
                world.holds(right, seed);
            }
        }
    }

    /// The rows of those who have an account.
    async fn log_holds(&self, worlds: &mut [World], seed: u64) {
        let rows =
            "select user_agent, type, reason from login_log where user_id is not null and user_agent like 'order/%'";
        let rows: Vec<(String, String, Option<String>)> = self.app.db().query(rows).all().await.unwrap();
        let mut of: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for row in rows {
            let number = row.0.trim_start_matches("order/").split('-').next().and_then(|number| number.parse().ok());
            of.entry(number.unwrap()).or_default().push(row);
        }
        for world in worlds {
            let logged = world.logged(of.remove(&world.number).unwrap_or_default());
            world.holds(logged, seed);
        }
    }
}

impl World {
    fn holds(&self, checked: super::world::Checked, seed: u64) {
        if let Err(wrong) = checked {
            panic!("{wrong} (TEST_SEED={seed}, order {}):{}", self.number, self.log);
        }
    }
}

fn note(worlds: &mut [World], what: &str) {
    for world in worlds {
        world.note(&format!("\n * {what}"));
    }
}
