//! Whatever is done in whatever order: nobody gets further than the rules allow (OWASP ASVS 2.3.1).
//!
//! Sequences of random steps, each a request by one of three browsers about one of two addresses, some with a cookie or a
//! link that is old, foreign or garbled. A model that knows the rules alone says what each must answer.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bellhop::account::credentials::keys::Purpose;
use bellhop::account::credentials::link;
use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use uuid::Uuid;

use crate::support::app::{Answer, HttpClient, OTHER_PASSWORD, PASSWORD, Stack, TestApp, within};
use crate::support::chance::Chance;

const PASSWORDS: [&str; 2] = [PASSWORD, OTHER_PASSWORD];
const BROWSERS: usize = 3;

/// What can be done, how often in relation to the rest, and which routes it asks.
const STEPS: [(Step, u64, &[&str]); 22] = [
    (Step::Register, 2, &["POST /register", "POST /api/v1/register"]),
    (Step::Login, 6, &["POST /login", "POST /api/v1/login"]),
    (Step::LoginWithPlantedCookie, 2, &["POST /login", "POST /api/v1/login"]),
    (Step::Confirm, 9, &["POST /confirm", "POST /api/v1/confirm"]),
    (
        Step::GarbledConfirm,
        2,
        &[
            "POST /confirm",
            "POST /api/v1/confirm",
            "GET /confirm",
            "GET /login/not-me",
            "POST /login/not-me",
            "POST /api/v1/login/not-me",
        ],
    ),
    (Step::LookAtLink, 4, &["GET /confirm"]),
    (Step::Logout, 3, &["POST /logout", "POST /api/v1/logout"]),
    (Step::Account, 5, &["GET /account"]),
    (Step::Me, 6, &["GET /api/v1/me", "GET /api/v1/me/activity"]),
    (Step::StolenCookie, 5, &["GET /api/v1/me", "GET /account"]),
    (Step::GarbledCookie, 2, &["GET /api/v1/me"]),
    (Step::Waiting, 3, &WAITING),
    (Step::AskAgain, 3, &AGAIN),
    (Step::Language, 1, &["POST /language"]),
    (Step::Reset, 4, &RESET),
    (Step::ChangePassword, 3, &["GET /account/password", "POST /account/password", "POST /api/v1/me/password"]),
    (Step::Sessions, 3, &SESSIONS),
    (Step::Profile, 2, &["GET /account/profile", "POST /account/profile", "PATCH /api/v1/me", "GET /account/activity"]),
    (Step::Email, 2, &EMAIL),
    (Step::Deletion, 2, &DELETION),
    (Step::Open, 2, &OPEN),
    (Step::Admin, 2, &ADMIN),
];

const WAITING: [&str; 5] = [
    "GET /register/sent",
    "GET /register/status",
    "GET /register/sent/events",
    "GET /api/v1/register/status",
    "GET /account/events",
];

const AGAIN: [&str; 4] = [
    "POST /register/resend",
    "POST /register/correct",
    "POST /api/v1/register/resend",
    "POST /api/v1/register/correct",
];

const RESET: [&str; 8] = [
    "POST /forgot",
    "POST /api/v1/forgot",
    "GET /forgot/sent",
    "GET /forgot/status",
    "GET /forgot/sent/events",
    "GET /reset",
    "POST /reset",
    "POST /api/v1/reset",
];

const EMAIL: [&str; 11] = [
    "GET /account/email",
    "POST /account/email",
    "POST /api/v1/me/email",
    "GET /account/email/status",
    "GET /account/email/events",
    "GET /email/confirm",
    "POST /email/confirm",
    "POST /api/v1/email/confirm",
    "GET /email/undo",
    "POST /email/undo",
    "POST /api/v1/email/undo",
];

const DELETION: [&str; 11] = [
    "GET /account/export",
    "POST /account/export",
    "GET /api/v1/me/export",
    "POST /api/v1/me/proof",
    "GET /account/delete",
    "POST /account/delete",
    "DELETE /api/v1/me",
    "POST /account/delete/undo",
    "POST /api/v1/me/restore",
    "GET /account/restore",
    "POST /account/restore",
];

const SESSIONS: [&str; 6] = [
    "GET /account/sessions",
    "POST /account/sessions/{id}/end",
    "POST /account/sessions/end-others",
    "GET /api/v1/me/sessions",
    "DELETE /api/v1/me/sessions",
    "DELETE /api/v1/me/sessions/{id}",
];

/// What administrators alone may see and do, whom nobody here makes one.
const ADMIN: [&str; 5] = [
    "GET /api/v1/admin/queues",
    "POST /api/v1/admin/queues/{queue}/retry-now",
    "GET /api/v1/admin/dead-letters",
    "POST /api/v1/admin/dead-letters/{id}/redrive",
    "POST /api/v1/admin/dead-letters/{id}/discard",
];

/// What anybody may see, signed in or not.
const OPEN: [&str; 18] = [
    "GET /",
    "GET /register",
    "GET /login",
    "GET /forgot",
    "GET /mailbox",
    "GET /mailbox.json",
    "GET /mailbox/{id}",
    "GET /api",
    "GET /api/openapi.json",
    "GET /livez",
    "GET /readyz",
    "GET /static/{name}",
    "GET /favicon.ico",
    "GET /apple-touch-icon.png",
    "GET /site.webmanifest",
    "GET /robots.txt",
    "GET /.well-known/change-password",
    "GET /.well-known/security.txt",
];

#[derive(Clone, Copy, Debug)]
enum Step {
    Register,
    Login,
    LoginWithPlantedCookie,
    Confirm,
    GarbledConfirm,
    LookAtLink,
    Logout,
    Account,
    Me,
    StolenCookie,
    GarbledCookie,
    Waiting,
    AskAgain,
    Language,
    Reset,
    ChangePassword,
    Sessions,
    Profile,
    Email,
    Deletion,
    Open,
    Admin,
}

/// A registration: for which address, with which password, and its link.
struct Registration {
    id: Uuid,
    address: usize,
    password: usize,
    token: String,
    /// Its link was mailed, and nobody has the address yet.
    open: bool,
    /// It was confirmed.
    used: bool,
    /// No browser is known by it any more, for the password was set anew.
    forgotten: bool,
}

struct Session {
    cookie: String,
    address: usize,
    live: bool,
}

/// Indexes of the cookies that a browser holds.
#[derive(Clone, Copy, Default)]
struct Browser {
    session: Option<usize>,
    registration: Option<usize>,
}

/// One sequence: what was done, and what follows from it.
struct World<'a> {
    app: &'a TestApp,
    client: reqwest::Client,
    chance: Chance,
    addresses: [String; 2],
    browsers: [Browser; BROWSERS],
    registration_cookies: Vec<String>,
    registrations: Vec<Registration>,
    sessions: Vec<Session>,
    /// Of each address, the password of its user.
    users: [Option<usize>; 2],
    log: String,
}

type Checked = Result<(), String>;

#[expect(clippy::needless_pass_by_value, reason = "called with values made on the spot")]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Checked {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?} instead of {wanted:?}")) }
}

impl World<'_> {
    fn pick(&mut self, many: usize) -> usize {
        usize::try_from(self.chance.below(many as u64)).unwrap()
    }

    fn coin(&mut self) -> bool {
        self.chance.below(2) == 0
    }

    fn request(&self, method: Method, path: &str, browser: Browser) -> RequestBuilder {
        let session = browser.session.map(|at| format!("bellhop={}", self.sessions[at].cookie));
        let registration = browser.registration.map(|at| format!("bellhop-reg={}", self.registration_cookies[at]));
        let cookies: Vec<String> = session.into_iter().chain(registration).collect();
        let request = self.client.request(method, format!("{}{path}", self.app.url));
        let request = request.header("sec-fetch-site", "same-origin");
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        HttpClient { http: self.client.clone(), url: self.app.url.clone() }.send(request).await
    }

    async fn get(&self, path: &str, browser: Browser) -> Answer {
        self.send(self.request(Method::GET, path, browser)).await
    }

    /// Posts to the page or, at the toss of a coin, to the API.
    async fn post(&mut self, name: &str, browser: Browser, fields: &[(&str, &str)]) -> (bool, Answer) {
        let page = self.coin();
        let request = if page {
            self.request(Method::POST, &format!("/{name}"), browser).form(fields)
        } else {
            let body: serde_json::Map<_, _> =
                fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            self.request(Method::POST, &format!("/api/v1/{name}"), browser).json(&body)
        };
        let answer = self.send(request).await;
        let _ = write!(self.log, "{} {name} -> {}", if page { "page" } else { "api" }, answer.status);
        (page, answer)
    }

    fn is_live(&self, browser: Browser) -> Option<usize> {
        browser.session.filter(|at| self.sessions[*at].live).map(|at| self.sessions[at].address)
    }

    fn signs_in(&mut self, at: usize, address: usize, answer: &Answer) -> Checked {
        if let Some(replaced) = self.browsers[at].session {
            self.sessions[replaced].live = false;
        }
        let cookie = answer.cookie("bellhop");
        let known = self.sessions.iter().any(|session| session.cookie == cookie);
        self.sessions.push(Session { cookie, address, live: true });
        self.browsers[at].session = Some(self.sessions.len() - 1);
        same("a session that is not new", known, false)
    }

    async fn step(&mut self, step: Step) -> Checked {
        let at = self.pick(BROWSERS);
        let (address, password) = (self.pick(2), self.pick(2));
        let browser = self.browsers[at];
        let _ = write!(self.log, "\n  {step:?} browser {at} address {address} password {password}: ");
        match step {
            Step::Register => self.register(at, address, password).await,
            Step::Login => self.login(at, address, password).await,
            Step::LoginWithPlantedCookie => {
                // one that somebody else has or had, or one that nobody ever had
                if self.sessions.is_empty() || self.coin() {
                    let unknown = "A".repeat(43);
                    self.sessions.push(Session { cookie: unknown, address: 0, live: false });
                }
                self.browsers[at].session = Some(self.pick(self.sessions.len()));
                self.login(at, address, password).await
            }
            Step::Confirm if self.registrations.is_empty() => self.waiting(at).await,
            Step::Confirm => self.confirm(at).await,
            Step::GarbledConfirm => self.garbled_confirm(at, password).await,
            Step::LookAtLink => {
                let Some(chosen) = self.any_registration() else { return Ok(()) };
                let registration = &self.registrations[chosen];
                let page = self.get(&format!("/confirm?token={}", registration.token), browser).await;
                same("the page of a link", page.status, 200)?;
                let all_is_done = page.body.contains("Your address is confirmed");
                let is_known = registration.used && !registration.forgotten;
                let is_repeated = is_known && browser.registration == Some(chosen);
                same("the page of a link that was used", all_is_done, !registration.open && !is_repeated)?;
                let asks = page.body.contains("type=\"password\"");
                same("asks for the password", asks, registration.open && browser.registration != Some(chosen))
            }
            Step::Logout => {
                let (page, answer) = self.post("logout", browser, &[]).await;
                if let Some(ended) = self.browsers[at].session.take() {
                    self.sessions[ended].live = false;
                }
                same("signing out", answer.status, if page { 303 } else { 204 })
            }
            Step::Account => self.account(browser).await,
            Step::Me => self.me(browser).await,
            Step::StolenCookie => {
                if self.sessions.is_empty() {
                    return Ok(());
                }
                let stolen = Browser { session: Some(self.pick(self.sessions.len())), registration: None };
                let _ = write!(self.log, "session {:?}", stolen.session);
                if self.coin() { self.me(stolen).await } else { self.account(stolen).await }
            }
            Step::GarbledCookie => {
                let cookie = self.sessions.last().map_or_else(|| "A".repeat(43), |last| last.cookie.clone());
                let garbled = self.garble(&cookie);
                let request = self.request(Method::GET, "/api/v1/me", Browser::default());
                let answer = self.send(request.header("cookie", format!("bellhop={garbled}"))).await;
                same("a garbled cookie", answer.status, 401)
            }
            Step::Waiting => self.waiting(at).await,
            Step::AskAgain => self.ask_again(browser, address).await,
            Step::Admin => {
                let (method, path) = ADMIN[self.pick(ADMIN.len())].split_once(' ').unwrap();
                let path = path.replace("{id}", &Uuid::nil().to_string()).replace("{queue}", "confirmation");
                let answer = self.send(self.request(method.parse().unwrap(), &path, browser)).await;
                same("what is there for administrators alone", answer.status, 404)
            }
            Step::Language => {
                let request = self.request(Method::POST, "/language", browser);
                let answer = self.send(request.form(&[("locale", "en"), ("next", "/")])).await;
                same("choosing a language", answer.status, 303)
            }
            Step::Reset => self.reset(browser, address, password).await,
            Step::ChangePassword => self.change_password(at, password).await,
            Step::Sessions => self.sessions(browser).await,
            Step::Profile => self.profile(browser).await,
            Step::Email => self.email(browser).await,
            Step::Deletion => self.deletion(browser).await,
            Step::Open => self.open(browser).await,
        }
    }

    fn any_registration(&mut self) -> Option<usize> {
        let many = self.registrations.len();
        (many > 0).then(|| self.pick(many))
    }

    /// Another text that looks alike: the last characters of a token are not looked at where they carry no bits.
    fn garble(&mut self, token: &str) -> String {
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

    async fn register(&mut self, at: usize, address: usize, password: usize) -> Checked {
        let email = self.addresses[address].clone();
        let fields = [("email", email.as_str()), ("password", PASSWORDS[password]), ("name", "Ann")];
        let (page, answer) = self.post("register", self.browsers[at], &fields).await;
        same("registering", answer.status, if page { 303 } else { 202 })?;
        let id = self.mailed(&email).await;
        let token = link::confirm_token(&self.app.app.accounts.keys, id, &email);
        let open = self.users[address].is_none();
        self.registrations.push(Registration { id, address, password, token, open, used: false, forgotten: false });
        self.registration_cookies.push(answer.cookie("bellhop-reg"));
        self.browsers[at].registration = Some(self.registrations.len() - 1);
        Ok(())
    }

    /// Waits for the mail of the latest registration of an address.
    async fn mailed(&self, email: &str) -> Uuid {
        let mut latest = None;
        within("the mail of a registration", async || {
            let rows: Vec<(Uuid, String)> = self
                .app
                .db()
                .query(
                    "select id, delivery from registrations where email_canonical = $1 order by created_at desc limit 1",
                )
                .bind(email.to_owned())
                .all()
                .await
                .unwrap();
            latest = rows.into_iter().find(|(_, delivery)| delivery != "queued").map(|(id, _)| id);
            latest.is_some()
        })
        .await;
        latest.unwrap()
    }

    async fn login(&mut self, at: usize, address: usize, password: usize) -> Checked {
        let email = self.addresses[address].clone();
        let fields = [("email", email.as_str()), ("password", PASSWORDS[password])];
        let (page, answer) = self.post("login", self.browsers[at], &fields).await;
        if self.users[address] == Some(password) {
            same("signing in", answer.status, if page { 303 } else { 200 })?;
            return self.signs_in(at, address, &answer);
        }
        same("a refused login", answer.status, if page { 422 } else { 401 })?;
        same("a cookie of a refused login", answer.headers.contains_key("set-cookie"), false)
    }

    async fn confirm(&mut self, at: usize) -> Checked {
        let chosen = self.pick(self.registrations.len());
        let typed = [None, Some(0), Some(1)][self.pick(3)];
        let Registration { address, password, ref token, open, used, forgotten, .. } = self.registrations[chosen];
        let mut fields = vec![("token", token.clone())];
        fields.extend(typed.map(|typed| ("password", PASSWORDS[typed].to_owned())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let (page, answer) = self.post("confirm", self.browsers[at], &fields).await;
        let _ = write!(self.log, " registration {chosen} typed {typed:?}");
        let is_ours = self.browsers[at].registration == Some(chosen);
        if open && (is_ours || typed == Some(password)) || used && !forgotten && is_ours {
            same("confirming", answer.status, if page { 303 } else { 204 })?;
            self.users[address] = Some(password);
            self.registrations[chosen].used = true;
            for rival in self.registrations.iter_mut().filter(|rival| rival.address == address) {
                rival.open = false;
            }
            self.browsers[at].registration = None;
            return self.signs_in(at, address, &answer);
        }
        let is_done = self.users[address].is_some();
        same("a refused confirmation", answer.status, if page && is_done { 200 } else { 422 })?;
        same("a cookie of a refused confirmation", answer.headers.contains_key("set-cookie"), false)
    }

    async fn garbled_confirm(&mut self, at: usize, password: usize) -> Checked {
        let Some(chosen) = self.any_registration() else { return Ok(()) };
        let token = self.registrations[chosen].token.clone();
        let garbled = self.garble(&token);
        let looked = self.get(&format!("/confirm?token={garbled}"), self.browsers[at]).await;
        same("the page of a garbled link", looked.status, 404)?;
        let fields = [("token", garbled.as_str()), ("password", PASSWORDS[password])];
        let (_, answer) = self.post("confirm", self.browsers[at], &fields).await;
        same("a garbled link", answer.status, 422)?;
        // a link of another kind, and one of no kind
        for token in [&token, &garbled] {
            let looked = self.get(&format!("/login/not-me?token={token}"), self.browsers[at]).await;
            same("the page of a sign-in that nobody was warned of", looked.status, 404)?;
            let (_, answer) = self.post("login/not-me", self.browsers[at], &[("token", token)]).await;
            same("a sign-in that nobody was warned of", answer.status, 422)?;
        }
        Ok(())
    }

    async fn account(&mut self, browser: Browser) -> Checked {
        let answer = self.get("/account", browser).await;
        let Some(owner) = self.is_live(browser) else {
            return same("the account of nobody", (answer.status, answer.header("location")), (303, "/login"));
        };
        same("the account", answer.status, 200)?;
        same(
            "whose account",
            self.addresses.each_ref().map(|email| answer.body.contains(email)),
            [owner == 0, owner == 1],
        )
    }

    async fn me(&mut self, browser: Browser) -> Checked {
        let answer = self.get("/api/v1/me", browser).await;
        let activity = self.get("/api/v1/me/activity", browser).await;
        let Some(owner) = self.is_live(browser) else {
            return same("what nobody is told", (answer.status, activity.status), (401, 401));
        };
        same("who is signed in", (answer.status, activity.status), (200, 200))?;
        same("the address", answer.json()["user"]["email"].as_str(), Some(self.addresses[owner].as_str()))
    }

    /// Whether the registration of a browser's cookie is one that was confirmed, if it is known at all.
    fn is_confirmed(&self, browser: Browser) -> Option<bool> {
        let registration = &self.registrations[browser.registration?];
        (!registration.forgotten).then_some(registration.used)
    }

    async fn waiting(&mut self, at: usize) -> Checked {
        let browser = self.browsers[at];
        let sent = self.get("/register/sent", browser).await;
        let status = self.get("/register/status", browser).await;
        let of_api = self.get("/api/v1/register/status", browser).await;
        let confirmed = self.is_confirmed(browser);
        // without a registration that is known, whoever is signed in has moved on
        let moves_on = confirmed.unwrap_or(self.is_live(browser).is_some());
        same("moving on", sent.status, if moves_on { 303 } else { 200 })?;
        same("confirmed", status.json()["state"] == "confirmed", moves_on)?;
        same("confirmed for programs", of_api.json()["state"] == "confirmed", confirmed == Some(true))?;
        same("the status", (status.status, of_api.status), (200, 200))?;
        for (path, wanted) in [
            ("/register/sent/events", if confirmed.is_some() { 200 } else { 204 }),
            ("/account/events", 200),
            // of another cookie, which nobody here has
            ("/forgot/sent/events", 204),
        ] {
            same(path, self.send(self.request(Method::HEAD, path, browser)).await.status, wanted)?;
        }
        Ok(())
    }

    /// Asks for another mail, at the same address or at another one.
    async fn ask_again(&mut self, browser: Browser, address: usize) -> Checked {
        let waits = self.is_confirmed(browser) == Some(false);
        let (page, corrects) = (self.coin(), self.coin());
        let email = self.addresses[address].clone();
        let path = if corrects { "register/correct" } else { "register/resend" };
        let request = if page {
            // the page that was shown says which mail it was about
            let shown = self.get("/register/sent", browser).await.body;
            let mail = shown.split("name=\"mail\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
            let mail = mail.unwrap_or("1").to_owned();
            let fields: &[(&str, &str)] =
                if corrects { &[("email", &email), ("mail", &mail)] } else { &[("mail", &mail)] };
            self.request(Method::POST, &format!("/{path}"), browser).form(fields)
        } else {
            let request = self.request(Method::POST, &format!("/api/v1/{path}"), browser);
            if corrects { request.json(&json!({ "email": email })) } else { request }
        };
        let answer = self.send(request).await;
        let _ = write!(self.log, "{path} page {page} -> {}", answer.status);
        same(
            "asking again",
            answer.status,
            if page {
                303
            } else if waits {
                202
            } else {
                404
            },
        )?;
        if !waits {
            return Ok(());
        }
        let chosen = browser.registration.unwrap();
        let id = self.registrations[chosen].id;
        if corrects {
            let (token, keys) = (self.registrations[chosen].token.clone(), &self.app.app.accounts.keys);
            let new = link::confirm_token(keys, id, &email);
            let moved = new != token;
            self.registrations[chosen].token = new;
            self.registrations[chosen].address = address;
            self.registrations[chosen].open = self.users[address].is_none();
            if moved {
                same("a link of before", self.get(&format!("/confirm?token={token}"), browser).await.status, 404)?;
            }
        }
        within("the mail that was asked for", async || {
            let row = "select delivery from registrations where id = $1";
            self.app.db().query(row).bind(id).one::<(String,)>().await.unwrap().0 != "queued"
        })
        .await;
        Ok(())
    }

    fn all_end(&mut self, address: usize) {
        self.sessions.iter_mut().filter(|session| session.address == address).for_each(|session| session.live = false);
    }

    /// A second press of the browser that registered is none any more.
    fn forget_browsers(&mut self, address: usize) {
        let used = self.registrations.iter_mut().filter(|one| one.address == address && one.used);
        used.for_each(|one| one.forgotten = true);
    }

    /// Asks for a new password and, where there is somebody to get the mail, sets it by the link: once.
    async fn reset(&mut self, browser: Browser, address: usize, password: usize) -> Checked {
        let email = self.addresses[address].clone();
        let (page, asked) = self.post("forgot", browser, &[("email", &email)]).await;
        same("asking for a new password", asked.status, if page { 303 } else { 202 })?;
        for path in ["/forgot/sent", "/forgot/status"] {
            same(path, self.get(path, browser).await.status, 200)?;
        }
        let stream = self.request(Method::HEAD, "/forgot/sent/events", browser);
        let cookie = format!("bellhop-reset={}", asked.cookie("bellhop-reset"));
        same("the stream of that mail", self.send(stream.header("cookie", cookie)).await.status, 200)?;
        if self.users[address].is_none() {
            return Ok(());
        }
        let made_of = "select r.id, u.id, u.password_hash from resets r join users u using (email_canonical)
                       where r.email_canonical = $1 and r.link_expires_at is not null order by r.created_at desc limit 1";
        let mut found: Option<(Uuid, Uuid, String)> = None;
        within("a link", async || {
            found = self.app.db().query(made_of).bind(email.clone()).optional().await.unwrap();
            found.is_some()
        })
        .await;
        let (id, user, hash) = found.unwrap();
        let keys = &self.app.app.accounts.keys;
        let token = link::link_token(keys, Purpose::ResetLink, id, &[user.as_bytes(), hash.as_bytes()]);
        let garbled = self.garble(&token);
        same("a garbled link", self.get(&format!("/reset?token={garbled}"), browser).await.status, 404)?;
        same("the page of a link", self.get(&format!("/reset?token={token}"), browser).await.status, 200)?;
        let fields = [("token", token.as_str()), ("password", PASSWORDS[password])];
        let (page, set) = self.post("reset", browser, &fields).await;
        same("setting a password", set.status, if page { 303 } else { 204 })?;
        self.users[address] = Some(password);
        self.all_end(address);
        self.forget_browsers(address);
        let (_, again) = self.post("reset", browser, &fields).await;
        same("a link that was used", again.status, 422)
    }

    async fn change_password(&mut self, at: usize, password: usize) -> Checked {
        let (browser, current) = (self.browsers[at], self.pick(2));
        let form = self.get("/account/password", browser).await;
        let owner = self.is_live(browser);
        same("the form", form.status, if owner.is_some() { 200 } else { 303 })?;
        let fields = [("current_password", PASSWORDS[current]), ("password", PASSWORDS[password])];
        let page = self.coin();
        let request = if page {
            self.request(Method::POST, "/account/password", browser).form(&fields)
        } else {
            let body: serde_json::Map<_, _> =
                fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            self.request(Method::POST, "/api/v1/me/password", browser).json(&body)
        };
        let answer = self.send(request).await;
        let Some(owner) = owner else {
            return same("changing nobody's password", answer.status, if page { 303 } else { 401 });
        };
        if self.users[owner] != Some(current) {
            return same("changing a password without it", answer.status, 422);
        }
        same("changing a password", answer.status, if page { 303 } else { 204 })?;
        self.users[owner] = Some(password);
        self.all_end(owner);
        self.forget_browsers(owner);
        self.signs_in(at, owner, &answer)
    }

    async fn sessions(&mut self, browser: Browser) -> Checked {
        let (page, list) =
            (self.get("/account/sessions", browser).await, self.get("/api/v1/me/sessions", browser).await);
        let nobodys = format!("sessions/{}", Uuid::nil());
        let one = self.request(Method::POST, &format!("/account/{nobodys}/end"), browser);
        let one = self.send(one.form::<[(&str, &str); 0]>(&[])).await;
        let of_api = self.send(self.request(Method::DELETE, &format!("/api/v1/me/{nobodys}"), browser)).await;
        let all_others = if self.coin() {
            self.request(Method::POST, "/account/sessions/end-others", browser).form::<[(&str, &str); 0]>(&[])
        } else {
            self.request(Method::DELETE, "/api/v1/me/sessions", browser)
        };
        let ended = self.send(all_others).await.status;
        let Some(owner) = self.is_live(browser) else {
            same("nobody's sessions", (page.status, list.status), (303, 401))?;
            same("ending none", (one.status, of_api.status), (303, 401))?;
            return same("ending nobody's", [303, 401].contains(&ended), true);
        };
        same("the sessions", (page.status, list.status), (200, 200))?;
        let live = self.sessions.iter().filter(|session| session.live && session.address == owner).count();
        same("how many there are", list.json()["items"].as_array().map(Vec::len), Some(live))?;
        same("ending one that is none", (one.status, of_api.status), (303, 404))?;
        same("ending the others", [303, 204].contains(&ended), true)?;
        self.all_end(owner);
        self.sessions[browser.session.unwrap()].live = true;
        Ok(())
    }

    async fn profile(&mut self, browser: Browser) -> Checked {
        let is_live = self.is_live(browser).is_some();
        for path in ["/account/profile", "/account/activity"] {
            same(path, self.get(path, browser).await.status, if is_live { 200 } else { 303 })?;
        }
        let form = self.request(Method::POST, "/account/profile", browser).form(&[("name", "Ann"), ("locale", "en")]);
        same("changing the profile", self.send(form).await.status, 303)?;
        let patch = self.request(Method::PATCH, "/api/v1/me", browser).json(&json!({ "name": "Ann Lee" }));
        same("changing the name", self.send(patch).await.status, if is_live { 200 } else { 401 })
    }

    /// Moves an account to another address, where the password is the right one, and back.
    async fn email(&mut self, browser: Browser) -> Checked {
        let (owner, current, page) = (self.is_live(browser), self.pick(2), self.coin());
        let form = self.get("/account/email", browser).await;
        same("the form", form.status, if owner.is_some() { 200 } else { 303 })?;
        same("the status", self.get("/account/email/status", browser).await.status, 200)?;
        same("the stream of nothing", self.get("/account/email/events", browser).await.status, 204)?;
        let elsewhere = format!("{}@example.net", Uuid::now_v7().simple());
        let fields = [("email", elsewhere.as_str()), ("current_password", PASSWORDS[current])];
        let request = if page {
            self.request(Method::POST, "/account/email", browser).form(&fields)
        } else {
            let fields: serde_json::Map<_, _> =
                fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            self.request(Method::POST, "/api/v1/me/email", browser).json(&fields)
        };
        let asked = self.send(request).await;
        let Some(owner) = owner else {
            return same("moving nobody's account", asked.status, if page { 303 } else { 401 });
        };
        if self.users[owner] != Some(current) {
            return same("moving an account without its password", asked.status, 422);
        }
        same("moving an account", asked.status, if page { 303 } else { 202 })?;
        let made_of = "select id, user_id, former_canonical from email_changes
                       where email_canonical = $1 and link_expires_at is not null";
        let mut found: Option<(Uuid, Uuid, String)> = None;
        within("a link", async || {
            found = self.app.db().query(made_of).bind(elsewhere.clone()).optional().await.unwrap();
            found.is_some()
        })
        .await;
        let (id, user, former) = found.unwrap();
        let parts = [user.as_bytes().as_slice(), elsewhere.as_bytes(), former.as_bytes()];
        let keys = &self.app.app.accounts.keys;
        let [confirm, undo] = [Purpose::EmailLink, Purpose::UndoLink].map(|of| link::link_token(keys, of, id, &parts));
        let early = self.get(&format!("/email/undo?token={undo}"), browser).await;
        same("undoing what has not happened", early.status, 404)?;
        for (path, token) in [("/email/confirm", &confirm), ("/email/undo", &undo)] {
            let garbled = self.garble(token);
            same(path, self.get(&format!("{path}?token={garbled}"), browser).await.status, 404)?;
        }
        same("a link", self.get(&format!("/email/confirm?token={confirm}"), browser).await.status, 200)?;
        let (page, moved) = self.post("email/confirm", Browser::default(), &[("token", &confirm)]).await;
        same("confirming an address", moved.status, if page { 303 } else { 204 })?;
        let me = |answer: &Answer| answer.json()["user"]["email"].as_str().map(str::to_owned);
        let mut seen = None;
        within("the address to be seen", async || {
            seen = me(&self.get("/api/v1/me", browser).await);
            seen.as_deref() == Some(elsewhere.as_str())
        })
        .await;
        same("a link", self.get(&format!("/email/undo?token={undo}"), browser).await.status, 200)?;
        let (page, undone) = self.post("email/undo", Browser::default(), &[("token", &undo)]).await;
        same("undoing it", undone.status, if page { 303 } else { 204 })?;
        self.all_end(owner);
        self.forget_browsers(owner);
        let (_, again) = self.post("email/undo", Browser::default(), &[("token", &undo)]).await;
        same("undoing it twice", again.status, 422)?;
        let (_, again) = self.post("email/confirm", Browser::default(), &[("token", &confirm)]).await;
        same("a link that was undone", again.status, 422)
    }

    /// Takes the account along, asks for its deletion where the password is the right one, and calls that off.
    async fn deletion(&mut self, browser: Browser) -> Checked {
        let (owner, current, page) = (self.is_live(browser), self.pick(2), self.coin());
        let typed = [("current_password", PASSWORDS[current])];
        let statuses = |live: (u16, u16), nobody: (u16, u16)| if owner.is_some() { live } else { nobody };
        let (form, file) = (self.get("/account/delete", browser).await, self.get("/account/export", browser).await);
        same("the forms", (form.status, file.status), statuses((200, 200), (303, 303)))?;
        let json = json!({ "current_password": PASSWORDS[current] });
        let proof = self.send(self.request(Method::POST, "/api/v1/me/proof", browser).json(&json)).await;
        if let Some(renewed) = proof.headers.get("set-cookie").and(browser.session) {
            self.sessions[renewed].cookie = proof.cookie("bellhop");
        }
        let posted = self.send(self.request(Method::POST, "/account/export", browser).form(&typed)).await;
        let is_right = owner.is_some_and(|owner| self.users[owner] == Some(current));
        if is_right {
            // under another id since
            self.sessions[browser.session.unwrap()].cookie = posted.cookie("bellhop");
        }
        same(
            "a proof",
            (proof.status, posted.status),
            statuses(if is_right { (204, 200) } else { (422, 422) }, (401, 303)),
        )?;
        let exported = self.get("/api/v1/me/export", browser).await;
        same("the export", (exported.status, 0), statuses((200, 0), (401, 0)))?;
        let request = if page {
            self.request(Method::POST, "/account/delete", browser).form(&typed)
        } else {
            self.request(Method::DELETE, "/api/v1/me", browser).json(&json)
        };
        let asked = self.send(request).await.status;
        let garbled = "A".repeat(66);
        same("a link", self.get(&format!("/account/restore?token={garbled}"), browser).await.status, 404)?;
        let restore = self.request(Method::POST, "/account/restore", browser).form(&[("token", garbled.as_str())]);
        same("a link", self.send(restore).await.status, 422)?;
        let undo = if self.coin() { "/account/delete/undo" } else { "/api/v1/me/restore" };
        let request = self.request(Method::POST, undo, browser);
        let request = if undo.starts_with("/api") { request } else { request.form::<[(&str, &str); 0]>(&[]) };
        let Some(owner) = owner else {
            same("deleting nobody", asked, if page { 303 } else { 401 })?;
            return same("keeping nobody", [303, 401].contains(&self.send(request).await.status), true);
        };
        if !is_right {
            return same("deleting without the password", asked, 422);
        }
        same("asking for the deletion", asked, if page { 303 } else { 202 })?;
        self.all_end(owner);
        self.sessions[browser.session.unwrap()].live = true;
        same("calling it off", [303, 204].contains(&self.send(request).await.status), true)
    }

    async fn open(&mut self, browser: Browser) -> Checked {
        let route = OPEN[self.pick(OPEN.len())].trim_start_matches("GET ");
        if route.starts_with("/mailbox") && self.pick(20) > 0 {
            // a list of all mails so far: asked rarely
            return Ok(());
        }
        let path = route.replace("{id}", "unknown").replace("{name}", "style.css");
        let answer = self.get(&path, browser).await;
        let wanted = match route {
            "/login" if self.is_live(browser).is_some() => 303,
            "/mailbox/{id}" | "/.well-known/security.txt" => 404,
            "/.well-known/change-password" => 302,
            // no contact is set
            // there is no mailbox where mails go to a mail server
            "/mailbox" | "/mailbox.json" if self.app.stack == Stack::Large => 404,
            _ => 200,
        };
        same(&path, answer.status, wanted)
    }

    async fn run(mut self, seed: u64, number: u64) {
        let all: u64 = STEPS.iter().map(|(_, weight, _)| weight).sum();
        let steps = 6 + self.pick(10);
        for nth in 0..steps {
            let mut left = self.chance.below(all);
            let chosen = STEPS.iter().find(|(_, weight, _)| {
                let hit = left < *weight;
                left = left.saturating_sub(*weight);
                hit
            });
            // most stories begin with a registration
            let step = if nth == 0 && self.pick(4) > 0 { Step::Register } else { chosen.unwrap().0 };
            if let Err(wrong) = self.step(step).await {
                panic!("{wrong} (TEST_SEED={seed}, sequence {number}):{}", self.log);
            }
        }
    }
}

async fn run(stack: Stack, apps: u64, sequences: u64) {
    let seed = Chance::new().seed;
    for round in 0..apps {
        let app = TestApp::start(stack).await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let worlds = (0..sequences).map(|number| {
            let number = round * sequences + number;
            World {
                app: &app,
                client: client.clone(),
                chance: Chance::from(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9))),
                addresses: ["a", "b"].map(|name| format!("{name}{number}@example.org")),
                browsers: [Browser::default(); BROWSERS],
                registration_cookies: Vec::new(),
                registrations: Vec::new(),
                sessions: Vec::new(),
                users: [None; 2],
                log: String::new(),
            }
            .run(seed, number)
        });
        futures_util::stream::iter(worlds).buffer_unordered(24).collect::<()>().await;
        app.settle().await;
    }
    println!("{} sequences", apps * sequences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_44_thousands_of_orders_of_steps_open_nothing_that_is_closed_on_sqlite() {
    // 1,000 on each database; TEST_ORDERS=10 runs ten thousand
    let thousands = std::env::var("TEST_ORDERS").map_or(3, |number| number.parse().unwrap());
    run(Stack::Small, thousands, 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_44_three_hundred_orders_of_steps_open_nothing_that_is_closed_on_postgres() {
    run(Stack::Large, 1, 300).await;
}

#[test]
fn every_route_has_a_step() {
    let links = include_str!("../../../src/links.rs");
    let path = |name: &str| -> String {
        let constant = links.split(&format!("pub const {name}: &str = \"")).nth(1).unwrap_or_else(|| panic!("{name}"));
        constant.split('"').next().unwrap().to_owned()
    };
    let mut routes = BTreeSet::new();
    // pages: the table of routes; the API: what each call says beside its handler
    for line in include_str!("../../../src/http/mod.rs").lines() {
        let Some(route) = line.trim().strip_prefix(".route(links::") else { continue };
        let (name, methods) = route.split_once(',').unwrap();
        for (method, call) in [("GET", "get("), ("POST", "post("), ("PUT", "put("), ("DELETE", "delete(")] {
            if methods.contains(call) {
                routes.insert(format!("{method} {}", path(name)));
            }
        }
    }
    for source in [
        include_str!("../../../src/http/api/registration.rs"),
        include_str!("../../../src/http/api/waiting.rs"),
        include_str!("../../../src/http/api/session.rs"),
        include_str!("../../../src/http/api/recovery.rs"),
        include_str!("../../../src/http/api/me.rs"),
        include_str!("../../../src/http/api/me_sessions.rs"),
        include_str!("../../../src/http/api/me_email.rs"),
        include_str!("../../../src/http/api/me_account.rs"),
        include_str!("../../../src/http/api/admin.rs"),
    ] {
        for call in source.split("#[utoipa::path(").skip(1) {
            let (method, rest) = call.split_once(", path = \"").unwrap();
            routes.insert(format!("{} {}", method.to_uppercase(), rest.split('"').next().unwrap()));
        }
    }
    let asked: BTreeSet<String> =
        STEPS.iter().flat_map(|(_, _, routes)| routes.iter().map(|route| (*route).to_owned())).collect();
    assert_eq!(asked, routes);
}
