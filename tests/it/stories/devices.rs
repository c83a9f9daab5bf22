//! Sign-ins that are out of the ordinary, and what their person can do about them; sessions that are kept.

use std::time::Duration;

use bellhop::account::purge::purges;
use bellhop::app::Parts;
use bellhop::messaging::broker::{Publication, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::topology::EVENTS;
use serde_json::json;
use uuid::Uuid;

use crate::support::app::{Answer, HttpClient, Letter, OTHER_PASSWORD, PASSWORD, TestApp, on_both_stacks};

on_both_stacks!(
    item_20_a_sign_in_by_a_new_device_is_told_once_and_can_be_disowned,
    item_20_a_sign_in_after_many_refusals_is_told,
    item_20_every_change_of_a_password_or_an_address_is_told_once,
    who_has_signed_in_with_nothing_yet_is_told_nothing,
    somebody_who_knows_the_password_cannot_fill_the_mailbox,
    a_session_that_is_kept_has_no_idle_limit_and_one_that_is_not_ends_with_the_browser,
);

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36";
const UNKNOWN: &str = "visit evil.example now";

async fn login(client: &HttpClient, agent: &str, password: &str) -> Answer {
    let form = [("email", "ann@example.org"), ("password", password)];
    client.send(client.posting("/login").header("user-agent", agent).form(&form)).await
}

/// The warnings so far.
async fn warnings(app: &TestApp) -> Vec<Letter> {
    app.settle().await;
    let mails = app.mails_to("ann@example.org").await;
    mails.into_iter().filter(|mail| mail.text.contains("/login/not-me?token=")).collect()
}

async fn is_in(client: &HttpClient) -> bool {
    client.get("/api/v1/me").await.status == 200
}

async fn item_20_a_sign_in_by_a_new_device_is_told_once_and_can_be_disowned(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    assert_eq!(login(&ann, "", PASSWORD).await.status, 303);
    assert!(warnings(&app).await.is_empty(), "the browser that confirmed");
    let stranger = app.client();
    let begun = login(&stranger, CHROME, PASSWORD).await;
    assert_eq!(begun.status, 303);
    assert!(begun.headers.get_all("set-cookie").iter().any(|cookie| {
        let cookie = cookie.to_str().unwrap();
        cookie.starts_with("bellhop-device=") && cookie.contains("HttpOnly")
    }));
    let told = warnings(&app).await;
    let [mail] = &told[..] else { panic!("{told:?}") };
    assert_eq!(mail.subject, "A new device has signed in to your account");
    for part in ["Chrome on Linux", "127.0.0.1", "Hello Ann"] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
    // a broker may deliver twice
    let (id, body): (Uuid, String) =
        app.db().query("select id, body from outbox where type = 'login.new_device'").one().await.unwrap();
    let kind = "login.new_device".to_owned();
    let message = Message { id, kind: kind.clone(), body: body.into(), traceparent: None, attempt: 0, failure: None };
    let again = Publication { exchange: EVENTS, routing_key: kind, message };
    assert_eq!(app.app.broker.publish(vec![again]).await, [Published::Confirmed]);
    // known from now on: by its cookie elsewhere, and by its program and network without
    for (client, agent) in [(&stranger, "another/1"), (&app.client(), CHROME)] {
        assert_eq!(login(client, agent, PASSWORD).await.status, 303);
    }
    assert_eq!(warnings(&app).await.len(), 1, "once");

    // looking changes nothing; scanners do
    let token = mail.token().unwrap();
    let (path, reader) = (format!("/login/not-me?token={token}"), app.client());
    let page = reader.get(&path).await;
    assert!(page.status == 200 && page.body.contains("action=\"/login/not-me\""), "{}", page.body);
    assert_eq!((page.header("referrer-policy"), page.header("cache-control")), ("no-referrer", "no-store"));
    let sessions = ann.get("/api/v1/me/sessions").await.json();
    let devices: Vec<&str> =
        sessions["items"].as_array().unwrap().iter().map(|one| one["device"].as_str().unwrap()).collect();
    assert!(devices.contains(&"Chrome on Linux") && devices.contains(&"Unknown device"), "{devices:?}");

    let third = app.client();
    assert_eq!(login(&third, UNKNOWN, PASSWORD).await.status, 303);
    let told = warnings(&app).await;
    assert_eq!(told.len(), 2);
    assert!(told[1].text.contains("Unknown device") && !told[1].text.contains("evil"), "{}", told[1].text);
    let token = told[1].token().unwrap();
    assert!(is_in(&third).await);
    for _ in 0..2 {
        let answer = reader.post("/login/not-me", &[("token", &token)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/forgot/sent"));
        assert!(!is_in(&third).await, "it is signed out");
    }
    // a program does it too
    let said = reader.post_json("/api/v1/login/not-me", &json!({ "token": token })).await;
    assert_eq!(said.status, 204, "{}", said.body);
    assert!(!said.cookie("bellhop-reset").is_empty());
    assert!(is_in(&ann).await, "nobody else is");
    assert!(reader.get("/forgot/sent").await.body.contains("ann@example.org"));
    app.settle().await;
    let mails = app.mails_to("ann@example.org").await;
    let resets: Vec<&Letter> = mails.iter().filter(|mail| mail.text.contains("/reset?token=")).collect();
    assert_eq!(resets.len(), 1, "pressed twice, sent once");
    let reset = resets[0].token().unwrap();
    assert_eq!(reader.post("/reset", &[("token", &reset), ("password", OTHER_PASSWORD)]).await.status, 303);
    // what was disowned is new again
    assert_eq!(login(&third, UNKNOWN, OTHER_PASSWORD).await.status, 303);
    assert_eq!(warnings(&app).await.len(), 3);

    for wrong in [String::new(), token[..65].to_owned(), token.replacen(&token[40..42], "AA", 1) + "A"] {
        assert_eq!(reader.get(&format!("/login/not-me?token={wrong}")).await.status, 404);
        assert_eq!(reader.post("/login/not-me", &[("token", &wrong)]).await.status, 422);
        let program = reader.post_json("/api/v1/login/not-me", &json!({ "token": wrong })).await;
        assert_eq!((program.status, &program.json()["code"]), (422, &json!("invalid-token")));
    }
    app.clock().advance(Duration::from_hours(30 * 24 + 1));
    assert_eq!(reader.get(&format!("/login/not-me?token={token}")).await.status, 404, "its time is over");
    app.settle().await;
}

async fn item_20_a_sign_in_after_many_refusals_is_told(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    for (refusals, told) in [(4, 0), (5, 1), (0, 1)] {
        for _ in 0..refusals {
            assert_eq!(login(&ann, "", OTHER_PASSWORD).await.status, 422);
        }
        // the log is written a moment later
        app.settle().await;
        assert_eq!(login(&ann, "", PASSWORD).await.status, 303);
        let mails = warnings(&app).await;
        assert_eq!(mails.len(), told, "{mails:?}");
        assert!(mails.iter().all(|mail| mail.subject == "Somebody has signed in to your account after many tries"));
    }
    // those of yesterday are forgotten
    for _ in 0..5 {
        login(&ann, "", OTHER_PASSWORD).await;
    }
    app.settle().await;
    app.clock().advance(Duration::from_hours(25));
    assert_eq!(login(&ann, "", PASSWORD).await.status, 303);
    assert_eq!(warnings(&app).await.len(), 1);
}

async fn item_20_every_change_of_a_password_or_an_address_is_told_once(app: TestApp) {
    const THIRD_PASSWORD: &str = "copper lantern orchid meadow";
    let ann = app.signed_in_client("ann@example.org").await;
    let told = async |to: &str, subject: &str| {
        app.settle().await;
        app.mails_to(to).await.iter().filter(|mail| mail.subject.contains(subject)).count()
    };
    let token = async |to: &str| {
        app.settle().await;
        app.mails_to(to).await.last().unwrap().token().unwrap()
    };
    let fields = [("current_password", PASSWORD), ("password", OTHER_PASSWORD)];
    assert_eq!(ann.post("/account/password", &fields).await.status, 303);
    assert_eq!(told("ann@example.org", "password was changed").await, 1);
    assert_eq!(ann.post("/forgot", &[("email", "ann@example.org")]).await.status, 303);
    let fields = [("token", token("ann@example.org").await), ("password", THIRD_PASSWORD.to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(ann.post("/reset", &fields).await.status, 303);
    assert_eq!(told("ann@example.org", "password was changed").await, 2);
    assert_eq!(ann.login("ann@example.org", THIRD_PASSWORD).await.status, 303);
    let fields = json!({ "current_password": THIRD_PASSWORD, "password": PASSWORD });
    assert_eq!(ann.post_json("/api/v1/me/password", &fields).await.status, 204);
    assert_eq!(told("ann@example.org", "password was changed").await, 3);
    let fields = [("email", "ann@example.net"), ("current_password", PASSWORD)];
    assert_eq!(ann.post("/account/email", &fields).await.status, 303);
    let link = token("ann@example.net").await;
    assert_eq!(told("ann@example.org", "email address was changed").await, 0, "nothing is changed yet");
    assert_eq!(ann.post("/email/confirm", &[("token", &link)]).await.status, 303);
    assert_eq!(told("ann@example.org", "email address was changed").await, 1, "to the former address");
}

/// Accounts from before devices were known.
async fn who_has_signed_in_with_nothing_yet_is_told_nothing(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    let mut tx = app.db().begin().await.unwrap();
    tx.query("delete from known_devices").execute().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(login(&app.client(), CHROME, PASSWORD).await.status, 303);
    assert!(warnings(&app).await.is_empty());
    assert_eq!(login(&app.client(), UNKNOWN, PASSWORD).await.status, 303);
    assert_eq!(warnings(&app).await.len(), 1);
}

async fn somebody_who_knows_the_password_cannot_fill_the_mailbox(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    let mut config = (*app.app.config).clone();
    config.http.limits = true;
    let limited = app.node(Parts::only(["web"]).unwrap(), config).await;
    for number in 0..13 {
        let answer = login(&limited.client(), &format!("program/{number}"), PASSWORD).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
    }
    assert_eq!(warnings(&app).await.len(), 10);
}

async fn a_session_that_is_kept_has_no_idle_limit_and_one_that_is_not_ends_with_the_browser(app: TestApp) {
    let first = app.signed_in_client("ann@example.org").await;
    let credentials = [("email", "ann@example.org"), ("password", PASSWORD)];
    let short = app.client();
    let answer = short.post("/login", &credentials).await;
    assert!(!answer.header("set-cookie").contains("Max-Age"), "{:?}", answer.headers);
    let long = app.client();
    let answer = long.post("/login", &[credentials[0], credentials[1], ("keep", "on")]).await;
    assert!(answer.header("set-cookie").contains("; Max-Age=2592000;"), "{:?}", answer.headers);
    let mut by_api = [app.client(), app.client()];
    for (client, keep) in by_api.iter_mut().zip([false, true]) {
        let body = json!({"email": "ann@example.org", "password": PASSWORD, "keep": keep});
        let answer = client.post_json("/api/v1/login", &body).await;
        assert_eq!(answer.header("set-cookie").contains("Max-Age"), keep, "{:?}", answer.headers);
    }
    let [api_short, api_long] = &by_api;

    // who changes the password stays as they were
    let fields = [("current_password", PASSWORD), ("password", OTHER_PASSWORD)];
    let changed = long.post("/account/password", &fields).await;
    assert!(changed.status == 303 && changed.header("set-cookie").contains("; Max-Age=2592000;"), "{changed:?}");
    for (client, keep) in [(&short, false), (api_long, true)] {
        let body = json!({"email": "ann@example.org", "password": OTHER_PASSWORD, "keep": keep});
        assert_eq!(client.post_json("/api/v1/login", &body).await.status, 200);
    }
    app.settle().await;
    app.clock().advance(Duration::from_hours(13));
    for purge in purges(&app.app.accounts.lifetimes) {
        purge.run(app.db(), app.clock(), 100).await.unwrap();
    }
    for (client, stays) in [(&first, false), (&short, false), (api_short, false), (&long, true), (api_long, true)] {
        assert_eq!(is_in(client).await, stays);
    }
    app.clock().advance(Duration::from_hours(30 * 24 - 12));
    assert!(!is_in(&long).await && !is_in(api_long).await, "a month in any case");

    // the form comes back as it was
    let refused = app.client().post("/login", &[credentials[0], ("password", "wrong"), ("keep", "on")]).await;
    assert!(
        refused.body.contains("name=\"keep\" type=\"checkbox\" value=\"on\" aria-describedby=\"keep-hint\" checked")
    );
    assert!(!app.client().get("/login").await.body.contains(" checked"));
    // confirming asks as well
    app.client().register("bob@example.org", PASSWORD, "Bob").await;
    app.settle().await;
    let token = app.mails_to("bob@example.org").await[0].token().unwrap();
    let fields = [("token", token.as_str()), ("password", PASSWORD), ("keep", "on")];
    let confirmed = app.client().post("/confirm", &fields).await;
    assert!(confirmed.header("set-cookie").contains("; Max-Age=2592000;"), "{confirmed:?}");
    app.settle().await;
}
