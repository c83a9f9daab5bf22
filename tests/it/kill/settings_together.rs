//! Settings that are right each, and what they mean together: what does not start, and what is said at the start.

use std::process::Output;
use std::sync::Arc;

use bellhop::db::Db;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::support::app::{HttpClient, PASSWORD, Stack};
use crate::support::postgres;
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;

const KEY: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a0aabbccdd";

/// The one line that it ended with.
fn refused(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.matches('\n').count()), (Some(code), 1), "{said}");
    said
}

/// F15: each made a key of its own, in silence, and refused the links that the other had written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_another_key_than_the_databases_does_not_start_and_says_what_to_do() {
    let database = postgres::database().await;
    let node = async || Bellhop::new().await.with("DATABASE_URL", &database);
    let mut first = node().await;
    first.start().await;
    let second = node().await;
    let said = refused(&second.call(&[]).await, 78);
    assert!(said.contains("BELLHOP_SECRET_KEY") && said.contains("bellhop secrets adopt"), "{said}");
    assert!(!second.data().join("secret.key").exists(), "a key that nobody can use");
    let wrong = node().await.with("SECRET_KEY", KEY);
    let said = refused(&wrong.call(&[]).await, 78);
    assert!(!said.contains(KEY), "{said}");

    let key = std::fs::read_to_string(first.data().join("secret.key")).expect("the first one's");
    let mut same = node().await.with("SECRET_KEY", &key);
    same.start().await;
    // a command signs nothing, and may be called with no key at all
    assert!(second.call(&["users", "list"]).await.status.success());

    let adopted = wrong.call(&["secrets", "adopt"]).await;
    assert!(adopted.status.success(), "{adopted:?}");
    let mut wrong = wrong;
    wrong.start().await;
    first.kill9();
    refused(&first.call(&[]).await, 78);
    let dump = "select string_agg(name || '=' || value, ' ') from installation";
    let (kept,): (String,) = sqlx::query_as(dump)
        .fetch_one(&mut PgConnection::connect(&database).await.expect("it answers"))
        .await
        .expect("a table");
    assert!(kept.contains("secret-key=") && !kept.contains(KEY), "{kept}");
}

/// F21: a writable data directory was wanted for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_database_mail_server_and_key_nothing_is_written_beside_them() {
    let app = Bellhop::new().await.with("DATABASE_URL", &postgres::database().await).with("SECRET_KEY", KEY);
    let mut app = app.mailing(Arc::new(Sink::start().await)).with("DATA_DIR", "/dev/null/data");
    app.start().await;
    app.signed_in_client("ann@example.org").await;
}

/// As before the last migration.
async fn make_older(db: &Db) {
    let mut tx = db.begin().await.expect("the database");
    for sql in ["drop table installation", "delete from _sqlx_migrations where version = 6"] {
        tx.query(sql).execute().await.expect(sql);
    }
    tx.commit().await.expect("the database");
}

/// F38, F55: `users list` migrated the database, and `serve` with `BELLHOP_MIGRATE=false` was ready on an empty one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_looks_never_migrates_and_serve_without_migrating_wants_the_schema_to_be_there() {
    let commands: &[&[&str]] = &[
        &["users", "list"],
        &["users", "promote", "ann@example.org"],
        &["queues"],
        &["dead-letters", "list"],
        &["replay", "--since", "1h"],
        &["secrets", "adopt"],
    ];
    let serve: &[&[&str]] = &[&["serve"]];
    for stack in [Stack::Small, Stack::Large] {
        let mut app = Bellhop::new().await.with("MIGRATE", "false");
        if stack == Stack::Large {
            app = app.with("DATABASE_URL", &postgres::database().await);
        }
        let all = || commands.iter().chain(serve);
        for command in all() {
            let said = refused(&app.call(command).await, 1);
            assert!(said.contains("bellhop migrate"), "{command:?}: {said}");
        }
        assert!(app.call(&["migrate"]).await.status.success());
        make_older(&app.db().await).await;
        for command in all() {
            let said = refused(&app.call(command).await, 1);
            assert!(said.contains("bellhop migrate") && said.contains("older"), "{command:?}: {said}");
        }
        assert!(app.call(&["migrate"]).await.status.success());
        app.start().await;
        for command in commands.iter().filter(|command| command.get(1) != Some(&"promote")) {
            let output = app.call(command).await;
            assert!(output.status.success(), "{command:?}: {output:?}");
        }
    }
}

/// F22, F17: a proxy on this machine made the mailbox everybody's, and people elsewhere were sent to look in their junk
/// folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_site_without_a_mail_server_shows_no_mailbox_and_says_that_no_mail_comes() {
    for (mailbox, status) in [("auto", 404), ("on", 200), ("off", 404)] {
        let mut app = Bellhop::new().await.with("PUBLIC_URL", "https://id.example.org").with("MAILBOX", mailbox);
        app.start().await;
        // as nginx passes it on when nobody tells it to pass the host
        for path in ["/mailbox", "/mailbox.json"] {
            assert_eq!(app.client().get(path).await.status, status, "{mailbox}: {path}");
        }
        assert!(app.printed().contains("warning       no mail server"), "{}", app.printed());
        assert_eq!(app.printed().contains("/mailbox (from this machine only)"), status == 200);
        // a visitor through the proxy
        let registered = app.client().register("ann@example.org", PASSWORD, "Ann").await;
        assert_eq!(registered.status, 303);
        let cookie = format!("__Host-bellhop-reg={}", registered.cookie("__Host-bellhop-reg"));
        app.token("ann@example.org").await;
        let waiting = app.client().http.get(format!("{}/register/sent", app.url));
        let waiting =
            waiting.header("cookie", cookie).header("x-forwarded-for", "192.0.2.1").header("accept-language", "en");
        crate::support::app::within("the truth", async || {
            let page = app.client().send(waiting.try_clone().expect("no body")).await.body;
            assert!(!page.contains("junk folder"), "{page}");
            page.contains(r#"aria-live="polite">This site has no mail server"#)
        })
        .await;
    }
    let mut local = Bellhop::new().await;
    local.start().await;
    assert_eq!(local.client().get("/mailbox").await.status, 200);
    assert!(!local.printed().contains("warning"), "{}", local.printed());
}

/// F33: no word was said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_no_mail_server_takes_is_warned_of() {
    let sink = Arc::new(Sink::start().await);
    for (from, warned) in [(None, true), (Some("Example <no-reply@example.org>"), false)] {
        let mut app = Bellhop::new().await.mailing(Arc::clone(&sink));
        if let Some(from) = from {
            app = app.with("MAIL_FROM", from);
        }
        app.start().await;
        assert_eq!(app.printed().contains("warning       mails come from localhost"), warned, "{}", app.printed());
        assert_eq!(app.printed().contains("BELLHOP_MAIL_FROM"), warned);
    }
}

/// F37: links led to 0.0.0.0, and every real host was 421. F9: "listening on http://[::]:0".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_every_address_and_any_port_the_real_one_is_printed_and_links_lead_to_this_machine() {
    for (listen, local) in [("127.0.0.1:0", true), ("0.0.0.0:0", false), ("[::]:0", false)] {
        let mut app = Bellhop::new().await.with("LISTEN", listen);
        app.spawn();
        let line =
            || app.printed().lines().find_map(|line| Some(line.split_once("listening on  http://")?.1.to_owned()));
        crate::support::app::within("its address", async || line().is_some()).await;
        let line = line().expect("waited for");
        let (address, url) = line.split_once(" (public: ").expect("both");
        let port = address.rsplit_once(':').expect("a port").1;
        assert!(port.parse::<u16>().is_ok_and(|port| port != 0), "{line}");
        let name = if local { "127.0.0.1" } else { "localhost" };
        assert_eq!(url, format!("http://{name}:{port})"));
        assert!(app.printed().contains(&format!("http://{name}:{port}/mailbox")), "{}", app.printed());
        assert_eq!(app.printed().contains("set BELLHOP_PUBLIC_URL to what"), !local, "{}", app.printed());
        app.url = format!("http://127.0.0.1:{port}");
        app.until_it_answers("/readyz").await;
        for (host, status) in [("localhost:9000", 200), ("192.168.1.5:9000", 200), ("evil.example", 421)] {
            let got = app.client().http.get(format!("{}/login", app.url)).header("host", host);
            let expected = if local { 421 } else { status };
            assert_eq!(app.client().send(got).await.status, expected, "{listen} as {host}");
        }
        if !local {
            // by that address a form works too
            let client = HttpClient::new(&app.url);
            let form = client.http.post(format!("{}/login", app.url)).header("host", "192.168.1.5:9000");
            let form =
                form.header("origin", "http://192.168.1.5:9000").form(&[("email", "a@example.org"), ("password", "x")]);
            assert_eq!(client.send(form).await.status, 422);
        }
    }
}

/// F57: it started, and a name beyond Latin-1 was a 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_hold_every_name_is_refused() {
    let mut url: Url = postgres::database().await.parse().expect("a URL");
    let mut operator = PgConnection::connect(url.as_str()).await.expect("a superuser");
    let name = format!("t_{}", Uuid::now_v7().simple());
    let create = format!("create database {name} encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut operator).await.expect("a superuser creates databases");
    url.set_path(&name);
    let app = Bellhop::new().await.with("DATABASE_URL", url.as_str());
    for command in [&["serve"][..], &["migrate"]] {
        let said = refused(&app.call(command).await, 1);
        assert!(said.contains("LATIN1") && said.contains("UTF8 is needed"), "{said}");
    }
}

/// F1: exit code 78. F23: no word in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_call_it_bellhop_and_a_host_that_does_not_fit_is_told_once() {
    let mut app = Bellhop::new().await.with("LOG", "info,bellhop::cli=debug");
    for (name, value) in [
        ("PORT", "tcp://10.0.0.7:8080"),
        ("SERVICE_HOST", "10.0.0.7"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT_8080_TCP", "tcp://10.0.0.7:8080"),
        ("PORT_8080_TCP_ADDR", "10.0.0.7"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("PORT_8080_TCP_PROTO", "tcp"),
    ] {
        app = app.with(name, value);
    }
    app.start().await;
    assert!(app.log().contains("BELLHOP_PORT_8080_TCP_PROTO"), "{}", app.log());
    for _ in 0..3 {
        let other = app.client().http.get(format!("{}/login", app.url)).header("host", "id.example.org");
        assert_eq!(app.client().send(other).await.status, 421);
    }
    app.until_it_says("BELLHOP_PUBLIC_URL").await;
    assert_eq!(app.log().matches("requests for another host are refused").count(), 1, "{}", app.log());
    assert!(app.log().contains("id.example.org") && app.log().contains(&app.url), "{}", app.log());
}

/// It started on SQLite, in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_past_a_pooler_without_a_pooler_stops_the_start() {
    let said = refused(&Bellhop::new().await.with("DATABASE_DIRECT_URL", "postgres://localhost/x").call(&[]).await, 78);
    assert!(said.contains("BELLHOP_DATABASE_DIRECT_URL") && said.contains("BELLHOP_DATABASE_URL"), "{said}");
}

/// "pool timed out" said nothing of the cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_reached_at_the_start_is_said_with_its_cause() {
    let nobody = Bellhop::new().await.with("DATABASE_URL", "postgres://x@127.0.0.1:1/x");
    let said = refused(&nobody.call(&[]).await, 1);
    assert!(said.contains("Connection refused"), "{said}");
}
