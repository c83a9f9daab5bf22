//! What an answer's time tells a stranger: nothing (OWASP ASVS 6.3.8; Authentication cheat sheet, "Authentication
//! Responses").
//!
//! Classes of requests are sampled in random order, one request at a time, with the cost of a hash as in production. A
//! difference counts when it is more than chance (Welch's t over trimmed samples) and more than a twentieth of one
//! hash, measured in the same run: both are ratios, so a slow or busy machine makes the test blunter, never wrong.
//! The same statistics must tell a build without a dummy hash, and one whose dummy hash is half as dear, from ours.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bellhop::account::credentials::fair_queue::Client;
use bellhop::account::credentials::policy::Password;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};

use super::statistics::{Samples, differences};
use crate::support::app::{HttpClient, Letter, OTHER_PASSWORD, PASSWORD, Stack, TestApp};
use crate::support::chance::Chance;
use crate::support::smtp::{Phase, Script, Step};

/// A request: where, with which fields, and the status that answers it.
type Request = (&'static str, Vec<(&'static str, String)>, u16);

/// On the large stack, with the cost of a hash as in production.
async fn start() -> TestApp {
    TestApp::start_with(Stack::Large, |options| {
        (options.config.passwords.hash_memory, options.config.passwords.hash_passes) = (19_456, 2);
    })
    .await
}

fn login(email: &str, password: &str) -> Request {
    ("/login", vec![("email", email.to_owned()), ("password", password.to_owned())], 422)
}

/// The same through the API.
fn api_login(email: &str, password: &str) -> Request {
    let (_, fields, _) = login(email, password);
    ("/api/v1/login", fields, 401)
}

fn register(email: String) -> Request {
    ("/register", vec![("email", email), ("password", OTHER_PASSWORD.to_owned()), ("name", "Ann".to_owned())], 303)
}

/// One that has a mail server that obeys, one whose mail server does what `step` says, each with a user, a
/// registration that waits, and the mails so far delivered.
async fn healthy_and(step: Step) -> [TestApp; 2] {
    let (healthy, ill) = tokio::join!(start(), start());
    for app in [&healthy, &ill] {
        app.signed_in_client("ann@example.org").await;
        assert_eq!(app.client().register("waits@example.org", PASSWORD, "Ann").await.status, 303);
        app.settle().await;
    }
    ill.sink.as_ref().expect("the large stack has one").set(Script::default().on(Phase::Mail, step));
    [healthy, ill.unfinished()]
}

/// A hundred thousand registrations of one address that wait (F41).
async fn crowd(app: &TestApp, email: &'static str) {
    let mut tx = app.db().begin().await.expect("it answers");
    let rows = "insert into registrations
                  (id, email, email_canonical, name, password_hash, locale, browser_hash, created_at, expires_at, delivery)
                select gen_random_uuid(), $1, $1, 'Eve', '', 'en', uuid_send(gen_random_uuid()), now(), now() + interval '1 day', 'sent'
                from generate_series(1, 100000)";
    tx.query(rows).bind(email).execute().await.expect("rows");
    tx.commit().await.expect("it answers");
    let mut connection = PgConnection::connect(
        app.app.config.data.database_url.as_ref().expect("the large stack has one").expose_secret(),
    )
    .await
    .expect("it answers");
    // as autovacuum does a minute later
    sqlx::raw_sql("vacuum (analyze) registrations").execute(&mut connection).await.expect("a superuser");
}

/// How long the answer takes.
async fn time(client: &HttpClient, (path, fields, status): &Request) -> Duration {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let request = client.posting(path);
    let request = match path.strip_prefix("/api/") {
        Some(_) => request.json(&BTreeMap::from_iter(fields)),
        None => request.form(&fields),
    };
    let since = Instant::now();
    let answer = client.send(request).await;
    let took = since.elapsed();
    assert_eq!(answer.status, *status, "{}", answer.body);
    took
}

/// What differs in one sample and in another one taken after it, and in the same direction. Of the ninety pairs of a sample one
/// is past the threshold by chance now and then, on a machine that does other things too; what is no chance is there again.
#[derive(Default)]
struct Found {
    samples: usize,
    differences: Vec<String>,
}

impl Found {
    fn is_to_be_looked_into(&self) -> bool {
        self.samples == 0 || (self.samples == 1 && !self.differences.is_empty())
    }

    fn add(&mut self, mut differences: Vec<String>) {
        // the two classes and the sign of the gap
        let what = |text: &str| text.find(|c: char| c.is_ascii_digit()).map(|at| text[..at].to_owned());
        if self.samples > 0 {
            differences.retain(|now| self.differences.iter().any(|before| what(before) == what(now)));
        }
        self.samples += 1;
        self.differences = differences;
    }

    fn must_be_nothing(self) {
        assert_eq!(self.differences, Vec::<String>::new(), "in {} samples", self.samples);
    }
}

#[test]
fn what_is_found_once_is_looked_into_and_what_is_found_twice_is_no_chance() {
    let text = |gap: &str| vec![format!("a | b: {gap}% of a hash, t = 5.0")];
    for (first, second, left) in [("6.8", "7.1", 1), ("6.8", "-7.1", 0), ("-6.8", "-9.0", 1)] {
        let mut found = Found::default();
        found.add(text(first));
        assert!(found.is_to_be_looked_into());
        found.add(text(second));
        assert_eq!((found.differences.len(), found.is_to_be_looked_into()), (left, false), "{first}, {second}");
    }
    let mut nothing = Found::default();
    nothing.add(Vec::new());
    assert!(!nothing.is_to_be_looked_into());
}

/// How long one hash takes on an idle thread of the pool.
async fn one_hash(app: &TestApp) -> Duration {
    let password = Password::normalise(PASSWORD).expect("a password");
    let since = Instant::now();
    app.app.accounts.hasher.hash(&Client::default(), password).await.expect("an idle pool");
    since.elapsed()
}

/// How many rounds somebody wants who has the time: `TEST_TIMING_ROUNDS`.
fn rounds_asked_for() -> Option<usize> {
    std::env::var("TEST_TIMING_ROUNDS").ok().map(|rounds| rounds.parse().expect("TEST_TIMING_ROUNDS is a number"))
}

/// Samples every class of every app in random order, again and again: at least `least` rounds, and more until `limit`;
/// with each round a hash of what `hashing` costs.
async fn sample(
    chance: &mut Chance,
    hashing: &TestApp,
    apps: &[(&'static str, &TestApp)],
    least: usize,
    limit: Duration,
    classes: impl Fn(usize) -> Vec<(&'static str, Request)>,
) -> (BTreeMap<String, Samples>, Duration) {
    let clients: Vec<(&str, HttpClient)> = apps.iter().map(|(name, app)| (*name, app.client())).collect();
    let mut samples: BTreeMap<String, Samples> = BTreeMap::new();
    let mut hashes = Samples::default();
    let since = Instant::now();
    let least = rounds_asked_for().unwrap_or(least);
    for round in 0.. {
        if round > least && since.elapsed() > limit {
            break;
        }
        let mut turns: Vec<(String, usize, Request)> = Vec::new();
        for (at, (state, _)) in clients.iter().enumerate() {
            turns.extend(
                classes(round).into_iter().map(|(name, request)| (format!("{name}, mail {state}"), at, request)),
            );
        }
        chance.shuffle(&mut turns);
        hashes.push(one_hash(hashing).await);
        for (name, at, request) in turns {
            // a connection each, and no cookie of the one before: a class is all that differs
            clients[at].1.get("/livez").await;
            let took = time(&clients[at].1, &request).await;
            // the first round warms up
            if round > 0 {
                samples.entry(name).or_default().push(took);
            }
        }
    }
    (samples, hashes.median())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_12_43_a_refused_login_takes_the_same_time_whatever_the_cause_and_however_the_mail_server_does() {
    let mut chance = Chance::new();
    let [healthy, refusing] = healthy_and(Step::reply("421 4.3.2 going down")).await;
    let apps = [("healthy", &healthy), ("refusing", &refusing)];
    for app in apps.map(|(_, app)| app) {
        crowd(app, "crowded@example.org").await;
    }
    let long = "x".repeat(300);
    let mut found = Found::default();
    while found.is_to_be_looked_into() {
        let (samples, hash) = sample(&mut chance, &healthy, &apps, 30, Duration::from_secs(50), |_| {
            vec![
                ("unknown", login("nobody@example.org", PASSWORD)),
                ("wrong password", login("ann@example.org", OTHER_PASSWORD)),
                ("unconfirmed", login("waits@example.org", PASSWORD)),
                ("unconfirmed, a crowd", login("crowded@example.org", PASSWORD)),
                ("unknown, API", api_login("nobody@example.org", PASSWORD)),
                ("wrong password, API", api_login("ann@example.org", OTHER_PASSWORD)),
                ("unconfirmed, API", api_login("waits@example.org", PASSWORD)),
                ("empty, known", login("ann@example.org", "")),
                ("empty, unknown", login("nobody@example.org", "")),
                ("too long, known", login("ann@example.org", &long)),
                ("too long, unknown", login("nobody@example.org", &long)),
            ]
        })
        .await;
        // a page takes longer to make than a problem document, whoever asks
        let (api, pages): (BTreeMap<_, _>, BTreeMap<_, _>) =
            samples.into_iter().partition(|(class, _)| class.contains(", API, "));
        found.add([differences(&pages, hash), differences(&api, hash)].concat());
    }
    found.must_be_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_23_43_a_registration_takes_the_same_time_for_a_new_and_a_taken_address_however_the_mail_server_does() {
    let mut chance = Chance::new();
    let [healthy, hanging] = healthy_and(Step::hang()).await;
    let apps = [("healthy", &healthy), ("hanging", &hanging)];
    let mut found = Found::default();
    while found.is_to_be_looked_into() {
        let turn = found.samples;
        let (samples, hash) = sample(&mut chance, &healthy, &apps, 30, Duration::from_secs(30), |round| {
            vec![
                ("new", register(format!("client-{turn}-{round}@example.org"))),
                ("taken", register("ann@example.org".to_owned())),
                ("waiting", register("waits@example.org".to_owned())),
            ]
        })
        .await;
        found.add(differences(&samples, hash));
    }
    found.must_be_nothing();
}

/// Who asks for a new password learns nothing by how long that takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_43_asking_for_a_new_password_takes_the_same_time_for_every_address_however_the_mail_server_does() {
    let mut chance = Chance::new();
    let [healthy, hanging] = healthy_and(Step::hang()).await;
    let apps = [("healthy", &healthy), ("hanging", &hanging)];
    let forgot = |email: &str| -> Request { ("/forgot", vec![("email", email.to_owned())], 303) };
    let mut found = Found::default();
    while found.is_to_be_looked_into() {
        let (samples, hash) = sample(&mut chance, &healthy, &apps, 40, Duration::from_secs(20), |_| {
            vec![
                ("known", forgot("ann@example.org")),
                ("waiting", forgot("waits@example.org")),
                ("unknown", forgot("nobody@example.org")),
            ]
        })
        .await;
        found.add(differences(&samples, hash));
    }
    found.must_be_nothing();
}

/// A link that does not work is refused as quickly whatever is the matter with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_45_a_link_that_does_not_work_takes_the_same_time_whatever_is_the_matter() {
    let mut chance = Chance::new();
    let app = start().await;
    let mut links = Vec::new();
    for email in ["ann@example.org", "ben@example.org"] {
        app.signed_in_client(email).await;
        assert_eq!(app.client().post("/forgot", &[("email", email)]).await.status, 303);
        app.settle().await;
        links.push(app.mails_to(email).await.last().and_then(Letter::token).expect("a link"));
    }
    let [used, forged] = <[String; 2]>::try_from(links).expect("two");
    let set = [("token", used.as_str()), ("password", OTHER_PASSWORD)];
    assert_eq!(app.client().post("/reset", &set).await.status, 303);
    let unknown = format!("{}{}", if used.starts_with('A') { "B" } else { "A" }, &used[1..]);
    let forged = format!("{}{}", &forged[..40], "A".repeat(26));
    let reset = |token: &str| -> Request {
        ("/reset", vec![("token", token.to_owned()), ("password", PASSWORD.to_owned())], 422)
    };
    let mut found = Found::default();
    while found.is_to_be_looked_into() {
        let (samples, hash) = sample(&mut chance, &app, &[("healthy", &app)], 60, Duration::from_secs(10), |_| {
            vec![
                ("used", reset(&used)),
                ("forged", reset(&forged)),
                ("unknown", reset(&unknown)),
                ("malformed", reset("x")),
            ]
        })
        .await;
        found.add(differences(&samples, hash));
    }
    found.must_be_nothing();
}

/// Shows that the alarm rings, at builds of our own program: one whose dummy hash costs next to nothing, which is a build
/// without one in all but its source, and one whose dummy hash is half as dear as a stored hash, which is a build that forgot
/// it when the parameters rose. The same statistics with far fewer samples must tell the unknown address from the known
/// one at both, and not at ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statistics_tell_a_missing_and_a_cheap_dummy_hash_from_ours() {
    let mut chance = Chance::new();
    let app = start().await;
    app.signed_in_client("ann@example.org").await;
    let (none, half) = tokio::join!(app.with_hash_cost(64, 1), app.with_hash_cost(19_456, 1));
    for (name, program) in [("ours", &app), ("no dummy hash", &none), ("cheap dummy hash", &half)] {
        println!("{name}:");
        let (samples, hash) = sample(&mut chance, &app, &[("healthy", program)], 80, Duration::ZERO, |_| {
            vec![
                ("unknown", login("nobody@example.org", OTHER_PASSWORD)),
                ("wrong password", login("ann@example.org", OTHER_PASSWORD)),
            ]
        })
        .await;
        let found = differences(&samples, hash);
        assert_eq!(found.is_empty(), name == "ours", "{name}: {found:?}");
    }
}

/// F43: where the parameters have risen, a person who was not seen since is refused as slowly as nobody is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_takes_the_same_time_for_a_hash_of_older_parameters() {
    let mut chance = Chance::new();
    let app = start().await;
    app.signed_in_client("ann@example.org").await;
    for (memory, passes) in [(19_456, 4), (32_768, 3)] {
        let risen = app.with_hash_cost(memory, passes).await;
        let mut found = Found::default();
        while found.is_to_be_looked_into() {
            let (samples, hash) = sample(&mut chance, &risen, &[("healthy", &risen)], 60, Duration::ZERO, |_| {
                vec![
                    ("unknown", login("nobody@example.org", OTHER_PASSWORD)),
                    ("wrong password", login("ann@example.org", OTHER_PASSWORD)),
                ]
            })
            .await;
            found.add(differences(&samples, hash));
        }
        found.must_be_nothing();
    }
}
