//! One order: people at three browsers, who read the mails of three addresses, and what the model says of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bellhop::account::credentials::link::LinkToken;
use bellhop::app::App;
use bellhop::clock::Timestamp;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use uuid::Uuid;

use super::model::{Link, Model, Owed, Row};
use crate::support::app::{Answer, HttpClient, OTHER_PASSWORD, PASSWORD};
use crate::support::chance::Chance;

pub const PASSWORDS: [&str; 2] = [PASSWORD, OTHER_PASSWORD];
pub const ADDRESSES: usize = 3;
pub const BROWSERS: usize = 3;

/// What was answered wrongly.
pub type Checked = Result<(), String>;

#[expect(clippy::needless_pass_by_value, reason = "called with values made on the spot")]
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Checked {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?} instead of {wanted:?}")) }
}

/// Indexes of what a browser holds cookies of.
#[derive(Clone, Copy, Default)]
pub struct Browser {
    /// Which of the three it is: its program's name.
    pub at: usize,
    pub session: Option<usize>,
    pub registration: Option<usize>,
}

/// The node that people ask.
#[derive(Clone)]
pub struct Site {
    pub app: App,
    pub client: HttpClient,
}

/// A mail that came.
#[derive(Debug)]
struct Received {
    template: String,
    to: usize,
    token: Option<String>,
}

pub struct World {
    pub site: Site,
    pub number: u64,
    pub chance: Chance,
    pub addresses: [String; ADDRESSES],
    pub browsers: [Browser; BROWSERS],
    pub model: Model,
    /// What stands in the mails, oldest first.
    pub links: Vec<(Link, String)>,
    received: Vec<Received>,
    message_ids: BTreeSet<String>,
    pub log: String,
}

/// The addresses of an order; the number is in each.
fn address(at: usize, number: u64) -> String {
    format!("{}{number}@example.org", ["a", "b", "c"][at])
}

/// Which order a mail is for, and which of its addresses.
pub fn recipient(email: &str) -> Option<(usize, u64)> {
    let (local, _) = email.split_once('@')?;
    let at = ["a", "b", "c"].iter().position(|name| local.starts_with(name))?;
    Some((at, local[1..].parse().ok()?))
}

impl World {
    pub fn new(site: Site, number: u64, seed: u64) -> Self {
        let model = Model::new(site.app.accounts.lifetimes);
        World {
            site,
            number,
            chance: Chance::from(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9))),
            addresses: std::array::from_fn(|at| address(at, number)),
            browsers: std::array::from_fn(|at| Browser { at, ..Browser::default() }),
            model,
            links: Vec::new(),
            received: Vec::new(),
            message_ids: BTreeSet::new(),
            log: String::new(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.site.app.accounts.clock.now()
    }

    pub fn pick(&mut self, many: usize) -> usize {
        usize::try_from(self.chance.below(many as u64)).unwrap()
    }

    pub fn coin(&mut self) -> bool {
        self.chance.below(2) == 0
    }

    /// Whether somebody looks at the pages around a step too, which takes longer than the step.
    pub fn looks(&mut self) -> bool {
        self.pick(4) == 0
    }

    /// The password of an account, or now and then the other one.
    pub fn likely_password(&mut self, owner: Option<usize>) -> usize {
        match owner {
            Some(owner) if self.model.users[owner].password < PASSWORDS.len() && self.pick(5) > 0 => {
                self.model.users[owner].password
            }
            _ => self.pick(2),
        }
    }

    /// An address, of somebody who has an account as a rule, if anybody has one.
    pub fn likely_address(&mut self) -> usize {
        let owned: Vec<usize> = (0..ADDRESSES).filter(|at| self.model.owner(*at).is_some()).collect();
        if owned.is_empty() || self.pick(4) == 0 { self.pick(ADDRESSES) } else { owned[self.pick(owned.len())] }
    }

    /// A browser, as a rule one that is signed in, if one is.
    pub fn likely_browser(&mut self) -> usize {
        let live: Vec<usize> = (0..BROWSERS).filter(|at| self.is_live(self.browsers[*at]).is_some()).collect();
        if live.is_empty() || self.pick(4) == 0 { self.pick(BROWSERS) } else { live[self.pick(live.len())] }
    }

    pub fn note(&mut self, what: &str) {
        let _ = write!(self.log, "{what}");
    }

    /// The name of a browser's program, which stands in the log.
    pub fn agent(&self, browser: usize) -> String {
        format!("order/{}-{browser}", self.number)
    }

    pub fn request(&self, method: Method, path: &str, browser: Browser) -> RequestBuilder {
        let session = browser.session.map(|at| format!("bellhop={}", self.model.sessions[at].cookie));
        let registration =
            browser.registration.map(|at| format!("bellhop-reg={}", self.model.registrations[at].cookie));
        let cookies: Vec<String> = session.into_iter().chain(registration).collect();
        let request = self.site.client.http.request(method, format!("{}{path}", self.site.client.url));
        let request = request.header("sec-fetch-site", "same-origin").header("user-agent", self.agent(browser.at));
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.site.client.send(request).await
    }

    pub async fn get(&self, path: &str, browser: Browser) -> Answer {
        self.send(self.request(Method::GET, path, browser)).await
    }

    pub async fn press(&self, path: &str, browser: Browser, fields: &[(&str, &str)]) -> Answer {
        self.send(self.request(Method::POST, path, browser).form(fields)).await
    }

    pub async fn call(&self, method: Method, path: &str, browser: Browser, fields: &[(&str, &str)]) -> Answer {
        let body: serde_json::Map<_, _> = fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.send(self.request(method, path, browser).json(&body)).await
    }

    /// Posts to the page or, at the toss of a coin, to the API, where that has another path after `/api/v1/`.
    pub async fn post_to(
        &mut self,
        (page, api): (&str, &str),
        browser: Browser,
        fields: &[(&str, &str)],
    ) -> (bool, Answer) {
        let is_page = self.coin();
        let answer = if is_page {
            self.press(&format!("/{page}"), browser, fields).await
        } else {
            self.call(Method::POST, &format!("/api/v1/{api}"), browser, fields).await
        };
        let _ = write!(self.log, " {} {page} -> {}", if is_page { "page" } else { "api" }, answer.status);
        (is_page, answer)
    }

    pub async fn post(&mut self, name: &str, browser: Browser, fields: &[(&str, &str)]) -> (bool, Answer) {
        self.post_to((name, name), browser, fields).await
    }

    /// Another text that looks alike: the last characters of a token are not looked at where they carry no bits.
    pub fn garble(&mut self, token: &str) -> String {
        let place = self.pick(token.len() - 2);
        match self.pick(3) {
            0 => token[..place].to_owned(),
            1 => format!("{token}A"),
            _ => {
                let other = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
                format!("{}{other}{}", &token[..place], &token[place + 1..])
            }
        }
    }

    /// The newest row of a table that a statement finds by an address.
    pub async fn newest(&self, sql: &'static str, address: usize) -> Uuid {
        let found: (Uuid,) =
            self.site.app.accounts.db.query(sql).bind(self.addresses[address].clone()).one().await.unwrap();
        found.0
    }

    /// Whose session a browser has, if it lives.
    pub fn is_live(&self, browser: Browser) -> Option<usize> {
        self.model.is_live(browser.session?, self.now())
    }

    /// A browser has another session now: the one that it had ends.
    pub fn begins(&mut self, at: usize, user: usize, answer: &Answer, now: Timestamp) -> Checked {
        if let Some(replaced) = self.browsers[at].session {
            self.model.sessions[replaced].ended = true;
        }
        let cookie = answer.cookie("bellhop");
        let known = self.model.sessions.iter().any(|session| session.cookie == cookie);
        self.browsers[at].session = Some(self.model.begins(cookie, Some(user), now));
        same("a session that is not new", known, false)
    }

    /// A mail came; the same one may come again when a program was killed that had it in hand.
    pub fn receives(&mut self, message_id: &str, to: usize, token: Option<String>, may_repeat: bool) -> Checked {
        let template = message_id.split(['.', '@']).nth(1).unwrap_or_default().to_owned();
        let _ = write!(self.log, "\n    mail {template} to {to}");
        if self.message_ids.insert(message_id.to_owned()) {
            self.received.push(Received { template, to, token });
            return Ok(());
        }
        same("a mail that came twice", may_repeat, true)
    }

    /// All that was accepted has gone: the mails that came are those that must have come, no more and no fewer.
    pub fn settles(&mut self) -> Checked {
        let (now, mut received) = (self.now(), std::mem::take(&mut self.received));
        for owed in self.model.delivered(now) {
            let Owed { template, to, link } = &owed;
            let id = link.as_ref().and_then(|(_, id)| *id);
            let fits = |mail: &Received| {
                let of = |token: &String| LinkToken::parse(token).id();
                mail.template == *template
                    && mail.to == *to
                    && mail.token.is_some() == link.is_some()
                    && (id.is_none() || mail.token.as_ref().map(of) == id)
            };
            let Some(at) = received.iter().position(fits) else {
                return Err(format!("a mail that did not come: {owed:?} among {received:?}"));
            };
            let mail = received.swap_remove(at);
            if let (Some((link, _)), Some(token)) = (*link, mail.token) {
                self.links.push((link, token));
            }
        }
        if received.is_empty() { Ok(()) } else { Err(format!("mails that nobody is owed: {received:?}")) }
    }

    /// The mail server takes nothing now: nothing has come.
    pub fn waits_in_vain(&mut self) -> Checked {
        let now = self.now();
        self.model.tried_in_vain(now);
        let received = std::mem::take(&mut self.received);
        if received.is_empty() { Ok(()) } else { Err(format!("mails of a server that takes none: {received:?}")) }
    }

    /// The rows of the log of who has an account are those that there must be.
    pub fn logged(&self, mut rows: Vec<(String, String, Option<String>)>) -> Checked {
        let of = |row: &Row| (self.agent(row.browser), row.kind.to_owned(), row.reason.map(str::to_owned));
        let mut owed: Vec<_> = self.model.users.iter().flat_map(|user| user.rows.iter().map(of)).collect();
        owed.sort_unstable();
        rows.sort_unstable();
        same("the rows of the log", rows, owed)
    }
}
