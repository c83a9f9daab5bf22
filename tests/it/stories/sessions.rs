//! Sessions: what the cookie is, how long it lasts, how soon it ends everywhere.

use std::time::{Duration, Instant};

use bellhop::app::Parts;
use bellhop::clock::Timestamp;

use crate::support::app::{HttpClient, OTHER_PASSWORD, PASSWORD, TestApp, on_both_stacks, within};

on_both_stacks!(
    the_cookie_is_for_the_server_alone_and_the_table_holds_its_hash,
    a_logout_ends_the_session_on_every_node,
    item_53_a_session_ends_when_it_is_not_used_and_after_a_month_in_any_case,
    item_55_whatever_ends_all_sessions_ends_them_within_a_second_on_every_node,
    no_cookie_but_a_good_one_is_anybody,
    what_a_signed_in_person_sees_is_kept_by_nobody,
    nobody_logs_out_by_looking,
    an_account_that_is_disabled_opens_nothing,
);

/// A client that is another browser with the same session.
fn copy_of(cookie: &str, url: &str) -> reqwest::RequestBuilder {
    reqwest::Client::new().get(format!("{url}/api/v1/me")).header("cookie", format!("bellhop={cookie}"))
}

async fn signed_in(app: &TestApp, email: &str) -> (HttpClient, String) {
    app.signed_in_client(email).await;
    let client = app.client();
    let answer = client.login(email, PASSWORD).await;
    let cookie = answer.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    (client, cookie)
}

async fn the_cookie_is_for_the_server_alone_and_the_table_holds_its_hash(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    let answer = app.client().login("ann@example.org", PASSWORD).await;
    let cookie = answer.header("set-cookie");
    let value = cookie.strip_prefix("bellhop=").and_then(|rest| rest.split(';').next()).unwrap();
    assert_eq!(value.len(), 43, "256 bits of base64url");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && cookie.len() < 4_096);
    assert!(!answer.body.contains(value) && !answer.header("location").contains(value));
    assert!(!app.dump("sessions").await.contains(&value.to_lowercase()));
    app.settle().await;
}

async fn a_logout_ends_the_session_on_every_node(app: TestApp) {
    let other = app.another_node(Parts::only(["web"]).unwrap()).await;
    let (client, cookie) = signed_in(&app, "ann@example.org").await;
    // both nodes know the session, and answer from their memory once they hear each other
    for url in [&app.url, &other.url] {
        within("both nodes to know the session", async || copy_of(&cookie, url).send().await.unwrap().status() == 200)
            .await;
    }
    let answer = client.post("/logout", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"));
    assert_eq!(answer.header("clear-site-data"), "\"cache\", \"storage\"", "cookies are the whole domain's");
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(copy_of(&cookie, &app.url).send().await.unwrap().status(), 401, "at once where it was said");
    within("the other node to refuse it", async || copy_of(&cookie, &other.url).send().await.unwrap().status() == 401)
        .await;
    app.settle().await;
}

/// By the clock of the server.
async fn item_53_a_session_ends_when_it_is_not_used_and_after_a_month_in_any_case(app: TestApp) {
    let (client, _) = signed_in(&app, "ann@example.org").await;
    let idle = Duration::from_hours(12);
    let clock = app.clock();
    let alive = async |client: &HttpClient| client.get("/api/v1/me").await.status == 200;
    let last_use = async || {
        let sql = "select max(last_seen_at) from sessions";
        app.db().query(sql).one::<(Timestamp,)>().await.unwrap().0
    };
    // exactly then, whatever time has passed by itself meanwhile
    let until = |at: Timestamp| clock.advance((at - clock.now()).to_std().unwrap());
    for _ in 0..2 {
        let used = last_use().await;
        until(used + idle - Duration::from_mins(1));
        assert!(alive(&client).await, "a minute before");
        assert!(last_use().await > used, "using it begins the time anew");
    }
    let used = last_use().await;
    until(used + idle);
    assert!(!alive(&client).await, "unused for twelve hours");

    let client = app.client();
    client.login("ann@example.org", PASSWORD).await;
    let (ends,): (Timestamp,) = app.db().query("select max(expires_at) from sessions").one().await.unwrap();
    let began = last_use().await;
    assert_eq!(ends - began, chrono::TimeDelta::days(30));
    while ends - clock.now() > chrono::TimeDelta::hours(11) {
        assert!(alive(&client).await);
        clock.advance(Duration::from_hours(11));
    }
    assert!(alive(&client).await);
    until(ends - Duration::from_mins(1));
    assert!(alive(&client).await, "a minute before");
    until(ends);
    assert!(!alive(&client).await, "30 days");
    app.settle().await;
}

/// A node remembers for less than a second who is signed in, and is told before: no request is answered that was sent a second
/// after the end or later.
async fn item_55_whatever_ends_all_sessions_ends_them_within_a_second_on_every_node(app: TestApp) {
    let other = app.another_node(Parts::only(["web"]).unwrap()).await;
    let ends = ["disabled", "deleted", "changed", "reset"];
    for (nth, end) in ends.into_iter().enumerate() {
        let email = format!("ann{nth}@example.org");
        let (here, cookie) = signed_in(&app, &email).await;
        let sessions = "select count(*) from users u join sessions s on s.user_id = u.id where u.email_canonical = $1";
        assert_eq!(app.db().query(sessions).bind(email.clone()).one::<(i64,)>().await.unwrap().0, 2);
        let fields = [("current_password", PASSWORD), ("password", OTHER_PASSWORD)];
        let token = if end == "reset" {
            app.client().post("/forgot", &[("email", &email)]).await;
            app.settle().await;
            app.mails_to(&email).await.last().unwrap().token().unwrap()
        } else {
            String::new()
        };
        within("the other node to know it", async || {
            copy_of(&cookie, &other.url).send().await.unwrap().status() == 200
        })
        .await;
        let status = match end {
            "disabled" => {
                let mut tx = app.db().begin().await.unwrap();
                let disable = "update users set disabled_at = $1 where email_canonical = $2";
                tx.query(disable).bind(app.clock().now()).bind(email.clone()).execute().await.unwrap();
                tx.commit().await.unwrap();
                303
            }
            // from another browser, which stays
            "deleted" => {
                let elsewhere = app.client();
                elsewhere.login(&email, PASSWORD).await;
                elsewhere.post("/account/delete", &fields[..1]).await.status
            }
            "changed" => {
                let elsewhere = app.client();
                elsewhere.login(&email, PASSWORD).await;
                elsewhere.post("/account/password", &fields).await.status
            }
            _ => app.client().post("/reset", &[("token", &token), ("password", OTHER_PASSWORD)]).await.status,
        };
        let ended = Instant::now();
        assert_eq!(status, 303, "{end}");
        for (node, url) in [("here", &app.url), ("there", &other.url)] {
            let mut last = ended;
            within("it to be refused", async || {
                let sent = Instant::now();
                let status = copy_of(&cookie, url).send().await.unwrap().status();
                last = if status == 200 { sent } else { last };
                status == 401
            })
            .await;
            assert!(last - ended < Duration::from_secs(1), "{end}, {node}: {:?}", last - ended);
        }
        drop(here);
        app.settle().await;
    }
}

async fn no_cookie_but_a_good_one_is_anybody(app: TestApp) {
    let (_, good) = signed_in(&app, "ann@example.org").await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let status = async |cookie: &[u8], path: &str| {
        let cookie = reqwest::header::HeaderValue::from_bytes(cookie).unwrap();
        let request = client.get(format!("{}{path}", app.url)).header("cookie", cookie);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(format!("bellhop={good}").as_bytes(), "/api/v1/me").await, 200);
    let tampered = format!("{}A", &good[..42]);
    for bad in [
        "bellhop=".to_owned(),
        "bellhop=x".to_owned(),
        format!("bellhop={good}x"),
        format!("bellhop={}", &good[1..]),
        format!("bellhop={tampered}x"),
        format!("bellhop={good}; bellhop={good}"),
        format!("bellhop={}", "a".repeat(4_000)),
        format!("__Host-bellhop={good}"),
        format!("BELLHOP={good}"),
        "bellhop=' or 1=1 --".to_owned(),
        "bellhop=\u{e9}".to_owned(),
    ] {
        assert_eq!(status(bad.as_bytes(), "/api/v1/me").await, 401, "{bad}");
        assert_eq!(status(bad.as_bytes(), "/account").await, 303, "{bad}");
    }
    assert_eq!(status(b"bellhop=\xff\xfe", "/api/v1/me").await, 401);
    app.settle().await;
}

async fn what_a_signed_in_person_sees_is_kept_by_nobody(app: TestApp) {
    let (client, _) = signed_in(&app, "ann@example.org").await;
    for path in ["/", "/account", "/api/v1/me", "/api/v1/me/activity", "/register/status", "/confirm?token=x", "/login"]
    {
        assert_eq!(client.get(path).await.header("cache-control"), "no-store", "{path}");
    }
    app.settle().await;
}

async fn nobody_logs_out_by_looking(app: TestApp) {
    let (client, _) = signed_in(&app, "ann@example.org").await;
    assert_eq!(client.get("/logout").await.status, 405);
    assert_eq!(client.get("/api/v1/logout").await.status, 405);
    assert_eq!(client.get("/api/v1/me").await.status, 200);
    app.settle().await;
}

async fn an_account_that_is_disabled_opens_nothing(app: TestApp) {
    let (client, cookie) = signed_in(&app, "ann@example.org").await;
    assert_eq!(client.get("/api/v1/me").await.status, 200);
    let mut tx = app.db().begin().await.unwrap();
    tx.query("update users set disabled_at = $1").bind(app.clock().now()).execute().await.unwrap();
    tx.commit().await.unwrap();
    within("what nodes remember to be over", async || copy_of(&cookie, &app.url).send().await.unwrap().status() == 401)
        .await;
    assert_eq!(client.get("/account").await.status, 303);
    let refused = app.client().login("ann@example.org", PASSWORD).await;
    assert_eq!((refused.status, refused.headers.contains_key("set-cookie")), (422, false));
    app.settle().await;
    let (reason,): (Option<String>,) =
        app.db().query("select reason from login_log where type = 'login.failed'").one().await.unwrap();
    assert_eq!(reason.as_deref(), Some("disabled"));
}
