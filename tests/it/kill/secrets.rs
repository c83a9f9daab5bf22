//! The canary sweep (OWASP ASVS 13.3.1, 14.2.1, 16.2.5): after a whole story at the finest log, with a crash in it, no
//! file of ours or of our servers holds a password, cookie, token or key in any form; only the mail holds the link.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{Connection as _, PgConnection};

use crate::support::app::{HttpClient, Letter, within};
use crate::support::canary::{Canary, sweep};
use crate::support::process::Bellhop;
use crate::support::smtp::{Phase, Script, Sink, Step};
use crate::support::{postgres, rabbit};

const CHOSEN: &str = "marble teapot kestrel CANARY-one ü?";
const WRONG: &str = "velvet anchor thimble CANARY-two/+";
const KEY: &str = "CANARY-key-9f8e7d6c5b4a39281706f5e4d3c2b1a0";

/// Registers, crashes, confirms on another machine, signs in by page and API, is refused, signs out. What must not be
/// found, token first.
async fn story(app: &mut Bellhop) -> Vec<Canary> {
    let ann = app.client();
    let registered = ann.register("ann@example.org", CHOSEN, "Ann").await;
    assert_eq!(registered.status, 303, "{}", registered.body);
    let token = app.token("ann@example.org").await;
    app.kill9();
    app.start().await;

    let elsewhere = HttpClient::new(&app.url);
    assert_eq!(elsewhere.get(&format!("/confirm?token={token}")).await.status, 200);
    let refused = elsewhere.post("/confirm", &[("token", &token), ("password", WRONG)]).await;
    assert_eq!(refused.status, 422);
    let confirmed = elsewhere.post("/confirm", &[("token", &token), ("password", CHOSEN)]).await;
    assert_eq!(confirmed.status, 303, "{}", confirmed.body);
    assert_eq!(elsewhere.get("/account").await.status, 200);
    assert_eq!(app.client().login("ann@example.org", WRONG).await.status, 422);
    assert_eq!(app.client().login("nobody@example.org", WRONG).await.status, 422);
    let login = serde_json::json!({"email": "ann@example.org", "password": CHOSEN});
    let by_api = app.client();
    let signed_in = by_api.post_json("/api/v1/login", &login).await;
    assert_eq!((signed_in.status, by_api.get("/api/v1/me").await.status), (200, 200));
    assert_eq!(by_api.post("/logout", &[]).await.status, 303);
    within("every attempt in the log", async || {
        elsewhere.get("/api/v1/me/activity").await.json()["items"].as_array().is_some_and(|items| items.len() >= 2)
    })
    .await;
    vec![
        Canary::token("the mail's token", &token),
        Canary::text("the password", CHOSEN),
        Canary::text("the wrong password", WRONG),
        Canary::text("the secret key", KEY),
        Canary::token("the registration's cookie", &registered.cookie("bellhop-reg")),
        Canary::token("the cookie from confirming", &confirmed.cookie("bellhop")),
        Canary::token("the cookie from the API", &signed_in.cookie("bellhop")),
    ]
}

fn command_line(app: &Bellhop) -> Vec<u8> {
    std::fs::read(format!("/proc/{}/cmdline", app.pid())).expect("it runs")
}

fn assert_clean(folders: &[(&Path, &str)], canaries: &[Canary], command_line: &[u8]) {
    for (folder, except) in folders {
        assert_eq!(sweep(folder, canaries, except), Vec::<String>::new());
    }
    for canary in canaries {
        assert_eq!(canary.in_bytes(command_line), Vec::<&str>::new(), "{} in the command line", canary.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_file_but_the_mailbox_on_sqlite() {
    let mut app = Bellhop::new().await.with("LOG", "trace").with("SECRET_KEY", KEY);
    app.start().await;
    let canaries = story(&mut app).await;
    assert!(app.log().contains("DEBUG"), "the finest log was on");
    let wal = app.data().join("bellhop.sqlite-wal");
    assert!(std::fs::metadata(&wal).is_ok_and(|file| file.len() > 0), "rows are in {} too", wal.display());
    let run = command_line(&app);
    // the database, its log, and ours; once while it runs and once after it wrote everything back
    assert_clean(&[(app.folder(), "mailbox")], &canaries, &run);
    app.terminate();
    app.end().await;
    assert_clean(&[(app.folder(), "mailbox")], &canaries, &run);
    // and the sweep does find: the token lies where it should
    let mailbox = app.data().join("mailbox");
    assert!(!sweep(&mailbox, &canaries[..1], "").is_empty(), "the mail holds the link");
    assert_eq!(sweep(&mailbox, &canaries[1..], ""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_file_but_the_mail_on_postgres_and_rabbit() {
    let (database, broker) = tokio::join!(postgres::Private::new(), rabbit::Private::new());
    broker.ctl(&["add_user", "canary", "CANARY-broker-word-5170"]).await;
    broker.ctl(&["set_permissions", "canary", ".*", ".*", ".*"]).await;
    let broker_url = broker.url().replace("guest:guest", "canary:CANARY-broker-word-5170");
    // the server believes everybody on the loopback: what counts is where the word goes
    let database_url = database.url().replace("postgres@", "postgres:CANARY-database-word-5170@");
    // F58: a part that nobody knows
    let separator = if database_url.contains('?') { '&' } else { '?' };
    let database_url = format!("{database_url}{separator}sslpassword=CANARY-query-word-5170");
    let sink = Arc::new(Sink::start().await);
    // a mail that is late, parked and tried again leaves its traces in every queue, and what the server repeats of it (F46)
    sink.set(Script::default().on(Phase::Dot, Step::reply("451 4.3.0 <{to}> {link} later").times(1)));
    let app = Bellhop::on(&database_url, &broker_url, Arc::clone(&sink)).await;
    // F66: whoever has the frames
    let mut app = app.with("LOG", "trace,lapin=trace,sqlx_postgres=trace").with("SECRET_KEY", KEY);
    app.start().await;
    let mut canaries = story(&mut app).await;
    canaries.push(Canary::text("a part of the database's URL", "CANARY-query-word-5170"));
    canaries.push(Canary::text("the broker's password", "CANARY-broker-word-5170"));
    canaries.push(Canary::text("the database's password", "CANARY-database-word-5170"));
    assert!(app.log().contains("DEBUG"), "the finest log was on");
    assert!(app.log().contains("(451 4.3.0)") && !app.log().contains("ann@example"), "{}", app.log());
    let mut connection = PgConnection::connect(database.url()).await.expect("it answers");
    sqlx::raw_sql("checkpoint").execute(&mut connection).await.expect("a superuser");
    let run = command_line(&app);
    let servers: [PathBuf; 2] = [database.folder().to_owned(), broker.folder().to_owned()];
    assert!(
        !sweep(&servers[0], &[Canary::text("address", "ann@example.org")], "").is_empty(),
        "the sweep reads the rows"
    );
    assert!(!sweep(&servers[1], &[Canary::text("queue", "bellhop.confirmation")], "").is_empty(), "and the queues");
    assert_clean(&[(app.folder(), ""), (&servers[0], ""), (&servers[1], "")], &canaries, &run);
    let mails = sink.mails();
    let token = &canaries[0];
    assert!(
        mails.iter().any(|mail| !token.in_bytes(mail.parsed().text.as_bytes()).is_empty()),
        "the mail holds the link"
    );
}

/// F46: the tables and queues are looked at in `stories::refusals`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mail_server_repeats_of_a_mail_is_in_no_log() {
    let sink = Arc::new(Sink::start().await);
    let quoting = "554 5.7.1 <{to}> canary.lovelace: {link} is listed by CANARY-LIST";
    sink.set(Script::default().on(Phase::Dot, Step::reply(quoting).keeping_the_mail()));
    let mut app = Bellhop::new().await.mailing(Arc::clone(&sink)).with("LOG", "trace");
    app.start().await;
    assert_eq!(app.client().register("canary.lovelace@canary.example", CHOSEN, "Ann").await.status, 303);
    within("a mail to be parked", async || app.log().contains("parked")).await;
    let token = Letter::from(&sink.mails()[0]).token().expect("a link");
    let log = app.log();
    assert!(log.contains("(554 5.7.1)") && log.contains("is listed by"), "the operator is told: {log}");
    let about_it = |line: &&str| line.contains("WARN") && line.contains("(554 5.7.1)") && !line.contains("degraded");
    let lines: Vec<&str> = log.lines().filter(about_it).collect();
    assert!(matches!(lines[..], [line] if line.contains("parked")), "once: {lines:#?}");
    for private in ["canary.lovelace", "canary.example", "confirm?token", &token, &token[20..44]] {
        assert!(!log.contains(private), "{private} is in {log}");
    }
    assert_eq!(Canary::token("the mail's token", &token).in_bytes(log.as_bytes()), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_of_the_mail_server_is_in_no_log() {
    let sink = Sink::start().await;
    let url = sink.url().replace("smtp://", "smtp://user:CANARY-mail-word-5170@");
    let mut app = Bellhop::new().await.with("SMTP_URL", &url).with("LOG", "trace");
    // sent in the clear it would be read on the way: refused at the start, or never sent
    app.spawn();
    let canaries = [Canary::text("the mail server's password", "CANARY-mail-word-5170")];
    let mut ended = false;
    within("it serves or refuses", async || {
        ended = !app.runs();
        ended || app.log().contains("mail") && app.client().http.get(format!("{}/livez", app.url)).send().await.is_ok()
    })
    .await;
    if !ended {
        assert_eq!(app.client().register("ann@example.org", CHOSEN, "Ann").await.status, 303);
        within("a try at the mail", async || app.log().contains("parked") || !sink.mails().is_empty()).await;
    }
    assert_eq!(sweep(app.folder(), &canaries, ""), Vec::<String>::new());
    assert!(sink.mails().iter().all(|mail| canaries[0].in_bytes(&mail.raw).is_empty()));
}
