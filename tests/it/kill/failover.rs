//! A server that takes no writes, or no connection, for a while; another one that takes its place.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::support::app::{PASSWORD, within};
use crate::support::postgres;
use crate::support::process::Bellhop;
use crate::support::proxy::Proxy;

async fn sql(connection: &mut PgConnection, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.expect(text);
}

async fn until_not_ready(app: &Bellhop, reason: &str) {
    within(reason, async || {
        let answer = app.client().get("/readyz").await;
        answer.status == 503 && answer.body.contains(reason)
    })
    .await;
}

async fn refused(app: &Bellhop) {
    for (path, fields) in [
        ("/register", &[("email", "eve@example.org"), ("password", PASSWORD), ("name", "Eve")][..]),
        ("/login", &[("email", "ann@example.org"), ("password", PASSWORD)]),
    ] {
        let answer = app.client().post(path, fields).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|wait| wait >= 1), "{path}");
    }
}

/// F6: 500 and "ready".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_read_only_is_a_503_until_it_takes_writes_again() {
    let server = postgres::Private::new().await;
    let mut app = Bellhop::new().await.with("DATABASE_URL", server.url());
    app.start().await;
    let ann = app.signed_in_client("ann@example.org").await;
    app.until_it_answers("/readyz").await;
    let mut operator = PgConnection::connect(server.url()).await.expect("a superuser");
    sql(&mut operator, "alter system set default_transaction_read_only = on").await;
    sql(&mut operator, "select pg_reload_conf()").await;
    // it reloads at leisure
    within("a refusal", async || app.client().login("ann@example.org", PASSWORD).await.status == 503).await;
    refused(&app).await;
    until_not_ready(&app, "the database is read only").await;
    for path in ["/", "/api", "/account"] {
        assert_eq!(ann.get(path).await.status, 200, "{path} is only read");
    }
    sql(&mut operator, "alter system reset default_transaction_read_only").await;
    sql(&mut operator, "select pg_reload_conf()").await;
    within("readiness", async || app.client().get("/readyz").await.status == 200).await;
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    app.signed_in_client("bob@example.org").await;
}

/// A server, the way to it, and a program that knows only the way.
async fn behind_an_address() -> (postgres::Private, Proxy, Bellhop) {
    let primary = postgres::Private::new().await;
    let (address, url) = Proxy::before(primary.url()).await;
    let mut app = Bellhop::new().await.with("DATABASE_URL", &url);
    app.start().await;
    (primary, address, app)
}

/// F6, with a real standby: reached before it is promoted it is read only, and what was accepted before goes on after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_in_a_dead_primarys_place_is_a_503_until_it_is_promoted() {
    let (primary, address, app) = behind_an_address().await;
    let ann = app.signed_in_client("ann@example.org").await;
    let waiting = app.client();
    waiting.register("waits@example.org", PASSWORD, "Ann").await;
    let standby = primary.standby().await;
    primary.kill9().await;
    address.redirect(standby.url()).await;
    until_not_ready(&app, "the database is read only").await;
    refused(&app).await;
    assert_eq!(ann.get("/account").await.status, 200, "it is only read");
    standby.promote().await;
    within("readiness", async || app.client().get("/readyz").await.status == 200).await;
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    let confirmed = waiting.post("/confirm", &[("token", &app.token("waits@example.org").await)]).await;
    assert_eq!(confirmed.status, 303, "{}", confirmed.body);
    app.signed_in_client("bob@example.org").await;
}

/// F65: the address has moved to a new primary, and what is open still leads to the old one, which takes no writes any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_an_old_primary_are_given_up_for_the_new_one() {
    let (old, address, app) = behind_an_address().await;
    app.signed_in_client("ann@example.org").await;
    let mut operator = PgConnection::connect(old.url()).await.expect("a superuser");
    sql(&mut operator, "alter system set default_transaction_read_only = on").await;
    sql(&mut operator, "select pg_reload_conf()").await;
    within("a refusal", async || app.client().login("ann@example.org", PASSWORD).await.status == 503).await;
    let new = old.standby().await;
    new.promote().await;
    let mut operator = PgConnection::connect(new.url()).await.expect("a superuser");
    // it has copied that as well
    sql(&mut operator, "alter system reset default_transaction_read_only").await;
    sql(&mut operator, "select pg_reload_conf()").await;
    address.redirect(new.url()).await;
    within("readiness", async || app.client().get("/readyz").await.status == 200).await;
    for number in 0..20 {
        let answer = app.client().register(&format!("bob{number}@example.org"), PASSWORD, "Bob").await;
        assert_eq!(answer.status, 303, "registration {number}: {}", answer.body);
    }
    within("their mails", async || app.letters().iter().filter(|letter| letter.to.starts_with("bob")).count() == 20)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_no_connection_left_is_a_503_that_says_so() {
    let database = postgres::database().await;
    let mut operator = PgConnection::connect(&database).await.expect("a superuser");
    let role = format!("r_{}", Uuid::now_v7().simple());
    sql(&mut operator, &format!("create role {role} login; grant all on schema public to {role}")).await;
    let mut url: Url = database.parse().expect("a URL");
    url.set_username(&role).expect("a name");
    let mut app = Bellhop::new().await.with("DATABASE_URL", url.as_str());
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    sql(&mut operator, &format!("alter role {role} connection limit 0")).await;
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
    sql(&mut operator, &end).await;
    refused(&app).await;
    until_not_ready(&app, "the database has no connection left").await;
    sql(&mut operator, &format!("alter role {role} connection limit -1")).await;
    within("readiness", async || app.client().get("/readyz").await.status == 200).await;
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
}
