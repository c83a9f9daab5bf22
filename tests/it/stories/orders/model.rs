//! What the rules say: who has which address, which links and sessions live, which mails and rows of the log are owed.
//!
//! Nothing here asks the program. A moment is the clock's before the request; it is compared with nothing that is nearer than
//! [`MARGIN`].

use std::collections::BTreeMap;

use bellhop::clock::Timestamp;
use bellhop::config::LifetimeConfig;
use chrono::TimeDelta;
use uuid::Uuid;

mod links;
mod owed;

/// How far the model's moments may be from the program's.
pub const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// The registering browser's next press on the button counts as the first one for so long …
const PRESSED_AGAIN: TimeDelta = TimeDelta::minutes(10);
/// … refusals in a row count for so long, and so many are many …
const FAILURES_WITHIN: TimeDelta = TimeDelta::hours(24);
const MANY_FAILURES: usize = 5;
/// … who asked for a mail to set a password sees what became of it for so long …
const RESET_KEPT: TimeDelta = TimeDelta::hours(24);
/// … and the link in a warning works for so long.
const WARNED: TimeDelta = TimeDelta::days(30);

pub struct Registration {
    pub id: Uuid,
    pub cookie: String,
    pub address: usize,
    pub password: usize,
    /// How many mails were asked for; the last one counts.
    pub mails: u32,
    ends: Timestamp,
    /// None before a mail went.
    link_until: Option<Timestamp>,
    reminder: Option<Timestamp>,
    reminded: bool,
    /// What it became.
    pub user: Option<usize>,
    /// No browser is known by it any more, for the password was set anew.
    pub forgotten: bool,
    gone: bool,
}

pub struct User {
    pub address: usize,
    /// None of ours once a move was undone.
    pub password: usize,
    /// How often the password was set: a link to set it knows the one before.
    set: u32,
    since: Timestamp,
    /// By which browsers the person has signed in, and when last.
    devices: BTreeMap<usize, Timestamp>,
    /// When, however often: each time with another device cookie, for nobody here keeps one.
    sign_ins: Vec<Timestamp>,
    pub deletes_at: Option<Timestamp>,
    pub disabled: bool,
    gone: bool,
    pub rows: Vec<Row>,
}

/// A row of the login log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Row {
    pub at: Timestamp,
    pub kind: &'static str,
    pub reason: Option<&'static str>,
    /// By which browser.
    pub browser: usize,
}

pub struct Session {
    pub cookie: String,
    /// None for one that nobody ever had.
    pub user: Option<usize>,
    pub ended: bool,
    begun: Timestamp,
    seen: Timestamp,
    /// When the password was last shown.
    proved: Timestamp,
}

pub struct Reset {
    /// None where only the mail says it.
    id: Option<Uuid>,
    address: usize,
    ends: Timestamp,
    link_until: Timestamp,
    /// Whether its mail went, from when on the link works.
    is_open: bool,
    /// Whose password the link sets, and which of them.
    replaces: Option<(usize, u32)>,
    gone: bool,
}

pub struct Change {
    id: Uuid,
    pub user: usize,
    from: usize,
    to: usize,
    made: Timestamp,
    ends: Timestamp,
    link_until: Option<Timestamp>,
    confirmed: bool,
    /// None where it is not confirmed, or the address before it was another's to give.
    undo_until: Option<Timestamp>,
    gone: bool,
}

/// A sign-in that its person is warned of.
pub struct Warning {
    pub user: usize,
    pub session: usize,
    at: Timestamp,
    /// The mail to set a password that the button asked for, by the address it went to.
    asked: BTreeMap<usize, usize>,
}

/// What the link in a mail is for; a number is an index into the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// Of a registration, while it is of this address.
    Confirm(usize, usize),
    Reset(usize),
    Move(usize),
    Undo(usize),
    /// Of a user, whose account was to be deleted at this moment.
    Restore(usize, Timestamp),
    Disown(usize),
}

/// A mail that was accepted, as far as the state has use for it when it goes.
#[derive(Clone, Copy, Debug)]
enum Intent {
    Confirmation { registration: usize, mail: u32 },
    Reset(usize),
    PasswordChanged(usize),
    Change(usize),
    Moved(usize),
    Deletion(usize, Timestamp),
    Warning(usize, &'static str),
    Reminder(usize),
}

/// A mail that must have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub template: &'static str,
    pub to: usize,
    /// Its link, and the id in the link's token where the model knows it.
    pub link: Option<(Link, Option<Uuid>)>,
}

/// What the page of a confirmation link shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    Button,
    Password,
    Confirmed,
    Invalid,
}

pub struct Model {
    pub lifetimes: LifetimeConfig,
    pub registrations: Vec<Registration>,
    pub users: Vec<User>,
    pub sessions: Vec<Session>,
    pub resets: Vec<Reset>,
    pub changes: Vec<Change>,
    pub warnings: Vec<Warning>,
    intents: Vec<Intent>,
}

impl Model {
    pub fn new(lifetimes: LifetimeConfig) -> Self {
        Model {
            lifetimes,
            registrations: Vec::new(),
            users: Vec::new(),
            sessions: Vec::new(),
            resets: Vec::new(),
            changes: Vec::new(),
            warnings: Vec::new(),
            intents: Vec::new(),
        }
    }

    /// Who has an address.
    pub fn owner(&self, address: usize) -> Option<usize> {
        self.users.iter().position(|user| !user.gone && user.address == address)
    }

    /// Whose session it is, if it lives.
    pub fn is_live(&self, session: usize, now: Timestamp) -> Option<usize> {
        let Session { user, ended, begun, seen, .. } = self.sessions[session];
        let in_time = now < begun + self.lifetimes.session && now < seen + self.lifetimes.session_idle;
        user.filter(|user| !ended && in_time && !self.users[*user].gone && !self.users[*user].disabled)
    }

    /// The sessions of a user, disabled or not.
    pub fn sessions_of(&self, user: usize, now: Timestamp) -> usize {
        (0..self.sessions.len()).filter(|at| self.is_live(*at, now) == Some(user)).count()
    }

    /// A session was used.
    pub fn used(&mut self, session: usize, now: Timestamp) {
        if self.is_live(session, now).is_some() {
            self.sessions[session].seen = now;
        }
    }

    /// The password was shown in it: it goes on under another cookie.
    pub fn proves(&mut self, session: usize, cookie: String, now: Timestamp) {
        self.sessions[session].proved = now;
        let former = std::mem::replace(&mut self.sessions[session].cookie, cookie);
        self.begins(former, None, now);
    }

    /// Whether the password was shown in it a short time ago.
    pub fn is_fresh(&self, session: usize, now: Timestamp) -> bool {
        now < self.sessions[session].proved + self.lifetimes.fresh_for
    }

    pub fn begins(&mut self, cookie: String, user: Option<usize>, now: Timestamp) -> usize {
        self.sessions.push(Session { cookie, user, ended: user.is_none(), begun: now, seen: now, proved: now });
        self.sessions.len() - 1
    }

    /// All sessions of a user end, but for one.
    pub fn all_end(&mut self, user: usize, but: Option<usize>) {
        let sessions = self.sessions.iter_mut().enumerate();
        let ending = sessions.filter(|(at, session)| session.user == Some(user) && Some(*at) != but);
        ending.for_each(|(_, session)| session.ended = true);
    }

    fn row(&mut self, user: usize, kind: &'static str, browser: usize, now: Timestamp) {
        self.users[user].rows.push(Row { at: now, kind, reason: None, browser });
    }

    pub fn registers(
        &mut self,
        id: Uuid,
        cookie: String,
        (address, password): (usize, usize),
        now: Timestamp,
    ) -> usize {
        let registration = self.registrations.len();
        self.registrations.push(Registration {
            id,
            cookie,
            address,
            password,
            mails: 1,
            ends: now + self.lifetimes.purge_after,
            link_until: None,
            reminder: None,
            reminded: false,
            user: None,
            forgotten: false,
            gone: false,
        });
        self.intents.push(Intent::Confirmation { registration, mail: 1 });
        registration
    }

    /// Whether a registration is known by its browser's cookie.
    pub fn is_known(&self, registration: usize, now: Timestamp) -> bool {
        let Registration { ends, forgotten, gone, .. } = self.registrations[registration];
        now < ends && !forgotten && !gone
    }

    /// Another mail is asked for, at another address if one is given.
    pub fn asks_again(&mut self, registration: usize, address: Option<usize>) {
        let row = &mut self.registrations[registration];
        row.mails += 1;
        if let Some(address) = address {
            (row.address, row.link_until) = (address, None);
        }
        self.intents.push(Intent::Confirmation { registration, mail: row.mails });
    }

    /// What the link of a registration to this address leads to.
    pub fn shown(&self, registration: usize, address: usize, is_ours: bool, now: Timestamp) -> Shown {
        let row = &self.registrations[registration];
        let in_time = row.link_until.is_some_and(|until| now < until);
        if row.gone || row.address != address || !in_time {
            return Shown::Invalid;
        }
        let is_ours = is_ours && !row.forgotten;
        match (self.owner(address), row.user) {
            (None, None) if is_ours => Shown::Button,
            (None, None) => Shown::Password,
            (None, Some(_)) => Shown::Invalid,
            (Some(owner), user) if user == Some(owner) && is_ours && now < self.users[owner].since + PRESSED_AGAIN => {
                Shown::Button
            }
            _ => Shown::Confirmed,
        }
    }

    /// The link was pressed and worked: whose session begins.
    pub fn confirms(&mut self, registration: usize, browser: usize, now: Timestamp) -> usize {
        if let Some(user) = self.registrations[registration].user {
            return user;
        }
        let Registration { address, password, .. } = self.registrations[registration];
        let user = self.users.len();
        self.users.push(User {
            address,
            password,
            set: 0,
            since: now,
            devices: [(browser, now)].into(),
            sign_ins: vec![now],
            deletes_at: None,
            disabled: false,
            gone: false,
            rows: Vec::new(),
        });
        self.registrations[registration].user = Some(user);
        self.row(user, "user.confirmed", browser, now);
        user
    }

    /// A login of an address that somebody has was refused.
    pub fn refuses(&mut self, user: usize, reason: &'static str, browser: usize, now: Timestamp) {
        self.users[user].rows.push(Row { at: now, kind: "login.failed", reason: Some(reason), browser });
    }

    /// Somebody signed in; whether the person is warned of it.
    pub fn signs_in(&mut self, user: usize, session: usize, browser: usize, now: Timestamp) -> bool {
        let row = &self.users[user];
        let latest = row.rows.iter().rev().take(MANY_FAILURES);
        let failures = latest.filter(|row| row.reason.is_some() && now < row.at + FAILURES_WITHIN).count();
        let warned = if row.devices.contains_key(&browser) || row.sign_ins.is_empty() {
            (failures == MANY_FAILURES).then_some("after_failures")
        } else {
            Some("new_device")
        };
        if let Some(template) = warned {
            self.warnings.push(Warning { user, session, at: now, asked: BTreeMap::new() });
            self.intents.push(Intent::Warning(self.warnings.len() - 1, template));
        }
        self.users[user].devices.insert(browser, now);
        self.users[user].sign_ins.push(now);
        self.restores(user, browser, now);
        self.row(user, "login.succeeded", browser, now);
        warned.is_some()
    }

    /// Calls the deletion off, if one was asked for.
    pub fn restores(&mut self, user: usize, browser: usize, now: Timestamp) {
        if self.users[user].deletes_at.take().is_some() {
            self.row(user, "user.restored", browser, now);
        }
    }

    /// The deletion was asked for, by this session.
    pub fn deletes(&mut self, user: usize, session: usize, browser: usize, now: Timestamp) {
        if self.users[user].deletes_at.is_some() {
            return;
        }
        let at = now + self.lifetimes.deletion_grace;
        self.users[user].deletes_at = Some(at);
        self.all_end(user, Some(session));
        self.row(user, "user.deletion_scheduled", browser, now);
        self.intents.push(Intent::Deletion(user, at));
    }

    /// A password was set: every session ends, and no browser is known by what it registered.
    pub fn sets_password(&mut self, user: usize, password: usize, browser: usize, now: Timestamp) {
        self.users[user].password = password;
        self.users[user].set += 1;
        self.drops_what_waits(user);
        self.starts_anew(user);
        self.row(user, "password.changed", browser, now);
        self.intents.push(Intent::PasswordChanged(user));
    }

    /// A move that was asked for and is not confirmed comes to nothing.
    pub fn drops_what_waits(&mut self, user: usize) {
        self.changes.iter_mut().filter(|row| row.user == user && !row.confirmed).for_each(|row| row.gone = true);
    }

    fn starts_anew(&mut self, user: usize) {
        self.all_end(user, None);
        let made = self.registrations.iter_mut().filter(|row| row.user == Some(user));
        made.for_each(|row| row.forgotten = true);
    }
}
