//! A running Bellhop inside the test, on either stack, and the HTTP clients that call it.

use std::collections::BTreeMap;
use std::time::Duration;

use bellhop::app::{App, Parts, Sockets, maintenance};
use bellhop::clock::Clock;
use bellhop::config::{Config, PerQueue, RetryPolicy};
use bellhop::db::{Db, Sql};
use bellhop::mail::Transport;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::poll::Poll;
pub use super::poll::within;
use super::smtp::{Mail, Parsed, Sink};
use super::{openapi, postgres, rabbit};

/// A password that the rules accept.
pub const PASSWORD: &str = "marble teapot kestrel orbit";
/// Another one.
pub const OTHER_PASSWORD: &str = "velvet anchor thimble prairie";

/// The two stacks that every story runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// SQLite, queues in the database, the local mailbox.
    Small,
    /// PostgreSQL, RabbitMQ, SMTP.
    Large,
}

/// A mail as its recipient sees it.
#[derive(Clone, Debug)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// The local mailbox does not keep it.
    pub message_id: Option<String>,
}

impl Letter {
    /// The token in the link, if there is a link.
    pub fn token(&self) -> Option<String> {
        let after = self.text.split("?token=").nth(1)?;
        Some(after.split_whitespace().next()?.to_owned())
    }
}

impl Letter {
    /// Which one of ours it is, as its Message-ID says.
    pub fn template(&self) -> Option<&str> {
        self.message_id.as_ref()?.split(['.', '@']).nth(1)
    }
}

impl From<&Mail> for Letter {
    fn from(mail: &Mail) -> Self {
        let to = mail.recipients.first().cloned().unwrap_or_default();
        let Parsed { subject, text, html, message_id } = mail.parsed();
        Letter { to, subject, text, html, message_id: Some(message_id) }
    }
}

pub struct TestApp {
    pub app: App,
    pub url: String,
    pub stack: Stack,
    pub sink: Option<Sink>,
    pub data: TempDir,
    stop: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    /// Its own, if it may be killed.
    runtime: Option<Runtime>,
    settled: bool,
}

/// What a test may want otherwise.
pub struct Options {
    pub parts: Parts,
    pub config: Config,
    pub clock: Clock,
    /// On a runtime of its own, so that it can be killed.
    pub runs_apart: bool,
}

impl TestApp {
    pub async fn start(stack: Stack) -> Self {
        Self::start_with(stack, |_| ()).await
    }

    /// Starts with settings changed by `change`.
    pub async fn start_with(stack: Stack, change: impl FnOnce(&mut Options)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::from_sources(BTreeMap::new(), []).unwrap();
        config.data.data_dir = data.path().to_owned();
        config.http.limits = false;
        config.secrets.key = Some(SecretString::from("a key of the tests' own, 4f1d9ab2c7e85630"));
        config.messaging.concurrency = PerQueue::all(2);
        config.messaging.retry =
            RetryPolicy { tiers: [50, 100, 200, 400, 800].map(Duration::from_millis), ..config.messaging.retry };
        // the cost is part of no story; the floor is tested through the settings
        (config.passwords.hash_memory, config.passwords.hash_passes) = (64, 2);
        let mut sink = None;
        if stack == Stack::Large {
            let (database, vhost) = tokio::join!(postgres::database(), rabbit::vhost());
            config.data.database_url = Some(SecretString::from(database));
            config.messaging.broker_url = Some(SecretString::from(vhost));
            let started = Sink::start().await;
            config.mail.smtp_url = Some(SecretString::from(started.url()));
            sink = Some(started);
        }
        let mut options = Options { parts: Parts::all(), config, clock: Clock::default(), runs_apart: false };
        change(&mut options);
        Self::run(stack, data, sink, options).await
    }

    /// With a mail server, whatever the stack.
    pub async fn mailing(stack: Stack, change: impl FnOnce(&mut Options)) -> Self {
        let sink = Sink::start().await;
        let url = SecretString::from(sink.url());
        let mut app = Self::start_with(stack, |options| {
            options.config.mail.smtp_url = Some(url);
            change(options);
        })
        .await;
        app.sink = Some(sink);
        app
    }

    async fn run(stack: Stack, data: TempDir, sink: Option<Sink>, options: Options) -> Self {
        let runtime = options.runs_apart.then(|| Runtime::new().unwrap());
        let stop = CancellationToken::new();
        let handle = runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
        let (app, url, running) = handle.spawn(Self::begin(options, stop.clone())).await.unwrap();
        TestApp { app, url, stack, sink, data, stop, running: Some(running), runtime, settled: true }
    }

    /// Builds the app and has it run, on the runtime on which this runs.
    async fn begin(options: Options, stop: CancellationToken) -> (App, String, JoinHandle<anyhow::Result<()>>) {
        let Options { parts, mut config, clock, .. } = options;
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        config.http.listen = address;
        if config.http.public_url.host_str() == Some("127.0.0.1") {
            config.http.public_url = format!("http://{address}").parse().unwrap();
        }
        let app = App::build(config, clock).await.unwrap();
        let running = tokio::spawn(app.clone().run(parts, Sockets { web: Some(socket), health: None }, stop));
        (app, format!("http://{address}"), running)
    }

    /// Ends its tasks wherever they are, as a kill ends a process, and starts it again on what they left, when `meanwhile` has
    /// happened.
    pub async fn kill(&mut self, meanwhile: impl FnOnce(&Clock)) {
        let runtime = self.runtime.take().expect("it runs apart");
        tokio::task::spawn_blocking(|| runtime.shutdown_timeout(Duration::from_secs(20))).await.unwrap();
        let (config, clock) = ((*self.app.config).clone(), self.clock().clone());
        meanwhile(&clock);
        let options = Options { parts: Parts::all(), config, clock, runs_apart: true };
        let runtime = Runtime::new().unwrap();
        self.stop = CancellationToken::new();
        let (app, url, running) = runtime.spawn(Self::begin(options, self.stop.clone())).await.unwrap();
        (self.app, self.url) = (app, url);
        (self.running, self.runtime) = (Some(running), Some(runtime));
    }

    /// Another node beside this one, on the same database and broker.
    pub async fn another_node(&self, parts: Parts) -> TestApp {
        self.node(parts, (*self.app.config).clone()).await
    }

    /// As [`Self::another_node`], with settings of its own.
    pub async fn node(&self, parts: Parts, mut config: Config) -> TestApp {
        let data = tempfile::tempdir().unwrap();
        if config.data.database_url.is_none() {
            let file = self.data.path().join("bellhop.sqlite");
            config.data.database_url = Some(SecretString::from(format!("sqlite:{}", file.display())));
        }
        let sink = None;
        let options = Options { parts, config, clock: self.app.accounts.clock.clone(), runs_apart: false };
        Self::run(self.stack, data, sink, options).await
    }

    /// The same accounts behind a hasher that takes more passes.
    pub async fn with_hash_passes(&self, passes: u32) -> TestApp {
        self.with_hash_cost(self.app.config.passwords.hash_memory, passes).await
    }

    /// The same accounts behind a hasher of another cost: memory in KiB, passes. What is stored is compared at its own
    /// cost, what is new and the dummy hash are hashed at this one.
    pub async fn with_hash_cost(&self, memory: u32, passes: u32) -> TestApp {
        let mut node = (*self.app.config).clone();
        (node.passwords.hash_memory, node.passwords.hash_passes) = (memory, passes);
        self.node(Parts::only(["web"]).unwrap(), node).await
    }

    /// Ends the program; what it left stays.
    pub async fn end(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap().unwrap();
        }
    }

    /// Deletes what has expired.
    pub async fn purge(&self) {
        maintenance::purge(self.db(), self.clock(), &self.app.accounts.lifetimes, Duration::ZERO).await;
    }

    pub fn db(&self) -> &Db {
        &self.app.accounts.db
    }

    pub fn clock(&self) -> &Clock {
        &self.app.accounts.clock
    }

    /// A visitor with a cookie jar of its own.
    pub fn client(&self) -> HttpClient {
        HttpClient::new(&self.url)
    }

    /// Every mail so far, oldest first.
    pub async fn mails(&self) -> Vec<Letter> {
        if let Some(sink) = &self.sink {
            return sink.mails().iter().map(Letter::from).collect();
        }
        let Transport::Mailbox(mailbox) = &*self.app.mail else { return Vec::new() };
        let mut mails = mailbox.list(None).await.unwrap();
        mails.reverse();
        let letter = |mail: bellhop::mail::StoredMail| Letter {
            to: mail.to,
            subject: mail.subject,
            text: mail.text,
            html: mail.html,
            message_id: None,
        };
        mails.into_iter().map(letter).collect()
    }

    pub async fn mails_to(&self, address: &str) -> Vec<Letter> {
        self.mails().await.into_iter().filter(|mail| mail.to == address).collect()
    }

    /// Waits until nothing is left to do: every event is published, and every listener has done it, parked it or given
    /// it up.
    pub async fn settle(&self) {
        within("everything to settle", async || self.unsettled().await.is_none()).await;
    }

    /// What is left to do, if anything is.
    pub async fn unsettled(&self) -> Option<String> {
        let Progress { unpublished, queues } = Progress::of(self.db(), self.clock()).await;
        if unpublished > 0 {
            return Some(format!("{unpublished} events are not published"));
        }
        let behind: Vec<_> = queues.into_iter().filter(|(_, done, wanted)| done < wanted).collect();
        // the broker is asked about no more than it must: that counts every queue
        let resting = if behind.is_empty() { Vec::new() } else { self.app.depths().await.unwrap() };
        for (queue, done, wanted) in behind {
            let dead = resting.iter().find(|depth| depth.queue == format!("{queue}.dead")).map_or(0, |d| d.messages);
            if done + i64::try_from(dead).unwrap() < wanted {
                return Some(format!("{queue} has done {done} of {wanted}, {dead} are dead letters"));
            }
        }
        None
    }

    /// Every row of a table as text, bytes in hexadecimal.
    pub async fn dump(&self, table: &str) -> String {
        let (_, sql) = DUMPS.into_iter().find(|(name, _)| *name == table).expect("a table with a dump");
        let rows: Vec<(String,)> = self.db().query(sql).all().await.unwrap();
        rows.into_iter().map(|(row,)| row + "\n").collect::<String>().to_lowercase()
    }

    /// Allows this app to be dropped with work left to do.
    pub fn unfinished(mut self) -> Self {
        self.settled = false;
        self
    }

    /// Registers and confirms in one browser, which is signed in then.
    pub async fn signed_in_client(&self, email: &str) -> HttpClient {
        let client = self.client();
        assert_eq!(client.register(email, PASSWORD, "Ann").await.status, 303);
        self.settle().await;
        let token = self.mails_to(email).await.last().and_then(Letter::token).expect("a mail with a link");
        let confirmed = client.post("/confirm", &[("token", &token)]).await;
        assert_eq!(confirmed.status, 303, "{}", confirmed.body);
        client
    }
}

/// How far the events have come, by the tables alone.
#[derive(Debug)]
pub struct Progress {
    /// Still in the outbox.
    pub unpublished: i64,
    /// Of each queue, the events its listener has done and those it is bound to.
    pub queues: Vec<(&'static str, i64, i64)>,
}

impl Progress {
    /// What is due by this clock.
    pub async fn of(db: &Db, clock: &Clock) -> Self {
        // what was not meant for later is due even if the clock was put back since
        let sql = "select count(*) from outbox where published_at is null and (due_at <= $1 or due_at <= created_at)";
        let (unpublished,): (i64,) = db.query(sql).bind(clock.now()).one().await.unwrap();
        let sql = "select type, count(*) from outbox
                   where published_at is not null or due_at <= $1 or due_at <= created_at
                   group by type";
        let events: Vec<(String, i64)> = db.query(sql).bind(clock.now()).all().await.unwrap();
        let marks: Vec<(String, i64)> =
            db.query("select listener, count(*) from inbox group by listener").all().await.unwrap();
        let of_queue = |(queue, keys): (&'static str, &[&str])| {
            let bound = |kind: &str| keys.iter().any(|key| bellhop::messaging::topology::matches(key, kind));
            let wanted = events.iter().filter(|(kind, _)| bound(kind)).map(|(_, count)| count).sum();
            let done = marks.iter().find(|(listener, _)| listener == queue).map_or(0, |(_, count)| *count);
            (queue, done, wanted)
        };
        Self { unpublished, queues: bellhop::listeners::bindings().into_iter().map(of_queue).collect() }
    }

    pub fn is_all(&self) -> bool {
        self.unpublished == 0 && self.queues.iter().all(|(_, done, wanted)| done >= wanted)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let stop = self.stop.clone().drop_guard();
        if self.settled && !std::thread::panicking() && self.running.is_some() {
            let left = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    // what is under way may end; what is stuck must not go unnoticed
                    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
                    let mut poll = Poll::new();
                    loop {
                        poll.tick().await;
                        match self.unsettled().await {
                            Some(left) if tokio::time::Instant::now() > deadline => return Some(left),
                            Some(_) => {}
                            None => return None,
                        }
                    }
                })
            });
            assert_eq!(left, None, "dropped with work left to do");
        }
        drop(stop);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A statement for each table that gives its rows as one text each; a statement of ours is a constant.
const DUMPS: [(&str, Sql); 10] = [
    (
        "users",
        Sql {
            sqlite: "select json_array(hex(id), email, email_canonical, name, password_hash, locale) from users",
            postgres: "select t::text from users t",
        },
    ),
    (
        "registrations",
        Sql {
            sqlite:
                "select json_array(hex(id), email, email_canonical, name, password_hash, locale, hex(browser_hash),
                       created_at, expires_at, delivery, link_expires_at, hex(confirmed_user), next) from registrations",
            postgres: "select t::text from registrations t",
        },
    ),
    (
        "resets",
        Sql {
            sqlite: "select json_array(hex(id), email, email_canonical, locale, hex(browser_hash), delivery) from resets",
            postgres: "select t::text from resets t",
        },
    ),
    (
        "email_changes",
        Sql {
            sqlite: "select json_array(hex(id), email, email_canonical, former_email, delivery) from email_changes",
            postgres: "select t::text from email_changes t",
        },
    ),
    (
        "sessions",
        Sql {
            sqlite: "select json_array(hex(id), hex(token_hash), hex(user_id), ip, user_agent) from sessions",
            postgres: "select t::text from sessions t",
        },
    ),
    (
        "login_log",
        Sql {
            sqlite: "select json_array(hex(id), type, hex(user_id), at, ip, user_agent, reason, attempted) from login_log",
            postgres: "select t::text from login_log t",
        },
    ),
    (
        "outbox",
        Sql {
            sqlite: "select json_array(hex(id), type, body, traceparent, last_error) from outbox",
            postgres: "select t::text from outbox t",
        },
    ),
    (
        "setback",
        Sql {
            sqlite: "select json_array(listener, hex(event_id), attempt, reason) from setback",
            postgres: "select t::text from setback t",
        },
    ),
    (
        "inbox",
        Sql {
            sqlite: "select json_array(listener, hex(event_id)) from inbox",
            postgres: "select t::text from inbox t",
        },
    ),
    (
        "broker_message",
        Sql {
            sqlite: "select json_array(queue, hex(message_id), routing_key, type, body, reason) from broker_message",
            postgres: "select t::text from broker_message t",
        },
    ),
];

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a cookie that it sets.
    pub fn cookie(&self, name: &str) -> String {
        let lines = self.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
        let mut values = lines.filter_map(|line| line.strip_prefix(&format!("{name}="))?.split(';').next());
        values.next().unwrap_or_else(|| panic!("no cookie {name}: {self:?}")).to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// What a page or an answer says, but for the times in it.
pub fn without_times(text: &str) -> String {
    let times = regex::Regex::new(r"\d{4}-\d\d-\d\dT[0-9:.]+Z|\d\d:\d\d UTC").unwrap();
    times.replace_all(text, "TIME").into_owned()
}

/// An HTTP client that keeps cookies, follows no redirect, and says that its posts come from our own pages.
#[derive(Clone)]
pub struct HttpClient {
    pub http: reqwest::Client,
    pub url: String,
}

impl HttpClient {
    pub fn new(url: &str) -> Self {
        let http = reqwest::Client::builder()
            .cookie_store(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_mins(1))
            .user_agent("Bellhop-Test/1")
            .build()
            .unwrap();
        HttpClient { http, url: url.to_owned() }
    }

    /// What is answered; a call of the API answers as its document says (F40).
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let response = client.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, body: response.text().await.unwrap() };
        openapi::check(&method, &path, status, answer.header("content-type"), &answer.body);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    pub fn posting(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url)).header("sec-fetch-site", "same-origin")
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.posting(path).form(fields)).await
    }

    pub async fn post_json(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(self.posting(path).json(body)).await
    }

    pub async fn register(&self, email: &str, password: &str, name: &str) -> Answer {
        self.post("/register", &[("email", email), ("password", password), ("name", name)]).await
    }

    pub async fn login(&self, email: &str, password: &str) -> Answer {
        self.post("/login", &[("email", email), ("password", password)]).await
    }
}

/// Runs each story on both stacks.
macro_rules! on_both_stacks {
    ($($story:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                super::$story($crate::support::app::TestApp::start($crate::support::app::Stack::Small).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                super::$story($crate::support::app::TestApp::start($crate::support::app::Stack::Large).await).await;
            })*
        }
    };
}
pub(crate) use on_both_stacks;
