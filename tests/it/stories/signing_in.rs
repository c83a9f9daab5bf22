//! Signing in: one answer for all refusals, one row for every attempt, better hashes as time goes on.

use serde_json::json;

use crate::support::app::{Answer, HttpClient, OTHER_PASSWORD, PASSWORD, Stack, TestApp, on_both_stacks};

on_both_stacks!(
    every_refusal_looks_the_same,
    every_attempt_has_exactly_one_row,
    a_password_is_the_same_however_its_characters_are_composed,
    what_was_tried_is_logged_as_a_pseudonym,
    item_51_a_login_replaces_the_session_of_its_browser,
    item_51_who_shows_the_password_again_goes_on_under_another_id,
    item_51_two_people_in_turn_in_one_browser_never_see_each_other,
    a_login_leads_where_it_was_asked_for_and_nowhere_else,
    an_old_hash_is_made_anew_when_its_owner_signs_in,
);

fn seen(mut answer: Answer) -> (u16, Vec<(String, String)>, String) {
    for name in ["date", "x-request-id"] {
        answer.headers.remove(name);
    }
    let mut headers: Vec<(String, String)> =
        answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    (answer.status, headers, answer.body)
}

async fn every_refusal_looks_the_same(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    app.signed_in_client("gone@example.org").await;
    app.client().register("waits@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let mut tx = app.db().begin().await.unwrap();
    tx.query("update users set disabled_at = $1 where email_canonical = 'gone@example.org'")
        .bind(app.clock().now())
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let (long, nul) = ("x".repeat(300), "marble teapot\u{7}kestrel");
    let cases = [
        ("nobody@example.org", PASSWORD),
        ("ann@example.org", OTHER_PASSWORD),
        ("waits@example.org", PASSWORD),
        ("gone@example.org", PASSWORD),
        ("ann@example.org", ""),
        ("nobody@example.org", ""),
        ("ann@example.org", &long),
        ("nobody@example.org", &long),
        ("ann@example.org", nul),
        ("not an address", PASSWORD),
    ];
    let (mut pages, mut answers) = (Vec::new(), Vec::new());
    for (email, password) in cases {
        let mut page = seen(app.client().login(email, password).await);
        // what was typed is shown again, and nothing else differs
        page.2 = page.2.replace(email, "EMAIL");
        page.1.retain(|(name, _)| name != "content-length");
        pages.push(page);
        let login = json!({"email": email, "password": password});
        answers.push(seen(app.client().post_json("/api/v1/login", &login).await));
    }
    assert_eq!((pages[0].0, answers[0].0), (422, 401));
    for (case, page) in cases.iter().zip(&pages) {
        assert_eq!(page, &pages[0], "{case:?}");
    }
    for (case, answer) in cases.iter().zip(&answers) {
        assert_eq!(answer, &answers[0], "{case:?}");
    }
    app.settle().await;
    let reasons: Vec<(String,)> = app
        .db()
        .query("select distinct reason from login_log where reason is not null order by 1")
        .all()
        .await
        .unwrap();
    let reasons: Vec<&str> = reasons.iter().map(|(reason,)| reason.as_str()).collect();
    assert_eq!(reasons, ["disabled", "malformed", "unconfirmed", "unknown_address", "wrong_password"]);
}

async fn every_attempt_has_exactly_one_row(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    let attempts = (0..40).map(|n| {
        let client = app.client();
        let password = if n % 2 == 0 { PASSWORD } else { OTHER_PASSWORD };
        async move { client.login("ann@example.org", password).await.status }
    });
    let statuses = futures_util::future::join_all(attempts).await;
    app.settle().await;
    let rows: Vec<(String, i64)> =
        app.db().query("select type, count(*) from login_log group by type order by type").all().await.unwrap();
    let expected = [("login.failed", 20), ("login.succeeded", 20), ("user.confirmed", 1)];
    assert_eq!(rows, expected.map(|(kind, count)| (kind.to_owned(), count)));
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 20);
}

async fn a_password_is_the_same_however_its_characters_are_composed(app: TestApp) {
    let (composed, decomposed) = ("caf\u{e9} marble kestrel orbit 🛎", "cafe\u{301} marble kestrel orbit 🛎");
    app.client().register("ann@example.org", decomposed, "Ann").await;
    app.settle().await;
    let token = app.mails_to("ann@example.org").await[0].token().unwrap();
    let client = app.client();
    assert_eq!(client.post("/confirm", &[("token", &token), ("password", composed)]).await.status, 303);
    assert_eq!(app.client().login("ann@example.org", composed).await.status, 303);
    assert_eq!(app.client().login("ann@example.org", decomposed).await.status, 303);
    for other in [composed.to_uppercase(), format!(" {composed}"), format!("{composed} ")] {
        assert_eq!(app.client().login("ann@example.org", &other).await.status, 422, "{other:?}");
    }
    app.settle().await;
}

async fn what_was_tried_is_logged_as_a_pseudonym(app: TestApp) {
    // people type their password into the wrong field
    for _ in 0..2 {
        app.client().login(OTHER_PASSWORD, "").await;
        app.client().login("canary@example.org", "wrong but long enough").await;
    }
    app.settle().await;
    let dump = app.dump("login_log").await + &app.dump("outbox").await;
    assert!(!dump.contains("canary") && !dump.contains("velvet"), "{dump}");
    let rows: Vec<(String, i64)> = app
        .db()
        .query("select attempted, count(*) from login_log group by attempted order by attempted")
        .all()
        .await
        .unwrap();
    assert_eq!(rows.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2, 2], "equal tries can be told: {rows:?}");
    assert!(rows.iter().all(|(attempted, _)| attempted.len() == 32), "{rows:?}");
}

async fn item_51_a_login_replaces_the_session_of_its_browser(app: TestApp) {
    let client = app.signed_in_client("ann@example.org").await;
    let count = async || {
        let (count,): (i64,) = app.db().query("select count(*) from sessions").one().await.unwrap();
        count
    };
    assert_eq!(count().await, 1);
    assert_eq!(client.login("ann@example.org", PASSWORD).await.status, 303);
    assert_eq!(count().await, 1, "the old one died");
    // a planted id is never adopted
    let planted = "A".repeat(43);
    let fixed = HttpClient::new(&app.url);
    let login = fixed.posting("/login").header("cookie", format!("bellhop={planted}"));
    let answer = fixed.send(login.form(&[("email", "ann@example.org"), ("password", PASSWORD)])).await;
    assert_eq!(answer.status, 303);
    assert!(!answer.header("set-cookie").contains(&planted));
    let me = fixed.http.get(format!("{}/api/v1/me", app.url)).header("cookie", format!("bellhop={planted}"));
    assert_eq!(HttpClient::new(&app.url).send(me).await.status, 401);
    app.settle().await;
}

/// By a form and by the API; the session goes on as it was, and the id of before is nobody's.
async fn item_51_who_shows_the_password_again_goes_on_under_another_id(app: TestApp) {
    let client = app.client();
    app.signed_in_client("ann@example.org").await;
    let fields = [("email", "ann@example.org"), ("password", PASSWORD), ("keep", "on")];
    let mut cookies = vec![client.post("/login", &fields).await.cookie("bellhop")];
    let session = async || {
        let all = client.get("/api/v1/me/sessions").await.json();
        let current = all["items"].as_array().unwrap().iter().find(|one| one["current"] == true).cloned();
        current.unwrap()
    };
    let before = session().await;
    app.clock().advance(app.app.accounts.lifetimes.fresh_for);
    let wrong = client.post("/account/export", &[("current_password", OTHER_PASSWORD)]).await;
    assert_eq!((wrong.status, wrong.headers.contains_key("set-cookie")), (422, false));
    let form = client.post("/account/export", &[("current_password", PASSWORD)]).await;
    let program = client.post_json("/api/v1/me/proof", &json!({ "current_password": PASSWORD })).await;
    for answer in [&form, &program] {
        assert!(answer.header("set-cookie").contains("; Max-Age=2592000;"), "kept as it was: {answer:?}");
        cookies.push(answer.cookie("bellhop"));
    }
    let after = session().await;
    assert_eq!((&before["id"], &before["begun_at"]), (&after["id"], &after["begun_at"]));
    for (nth, cookie) in cookies.iter().enumerate() {
        let me = app.client().http.get(format!("{}/api/v1/me", app.url)).header("cookie", format!("bellhop={cookie}"));
        assert_eq!(app.client().send(me).await.status, if nth == 2 { 200 } else { 401 }, "the id number {nth}");
    }
    app.settle().await;
}

async fn item_51_two_people_in_turn_in_one_browser_never_see_each_other(app: TestApp) {
    for email in ["ann@example.org", "ben@example.net"] {
        app.signed_in_client(email).await;
    }
    let browser = app.client();
    let mut cookies = Vec::new();
    for (email, other) in [("ann@example.org", "ben@example.net"), ("ben@example.net", "ann@example.org")].repeat(2) {
        let answer = browser.login(email, PASSWORD).await;
        assert_eq!(answer.status, 303);
        cookies.push(answer.cookie("bellhop"));
        app.settle().await;
        for path in ["/", "/account", "/account/sessions", "/account/activity", "/account/email", "/account/export"] {
            let page = browser.get(path).await;
            assert!(page.status == 200 && !page.body.contains(other), "{path} of {email}: {}", page.body);
        }
        assert_eq!(browser.get("/api/v1/me").await.json()["user"]["email"], email);
    }
    for cookie in &cookies[..3] {
        let me = app.client().http.get(format!("{}/api/v1/me", app.url)).header("cookie", format!("bellhop={cookie}"));
        assert_eq!(app.client().send(me).await.status, 401, "each ended the one before");
    }
}

async fn a_login_leads_where_it_was_asked_for_and_nowhere_else(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    for (next, leads) in [
        ("", "/account"),
        ("/account?tab=1", "/account?tab=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/%2fevil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
    ] {
        let client = app.client();
        let fields = [("email", "ann@example.org"), ("password", PASSWORD), ("next", next)];
        let answer = client.post("/login", &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, leads), "{next:?}");
    }
    app.settle().await;
}

async fn an_old_hash_is_made_anew_when_its_owner_signs_in(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    let hash = async || {
        let (hash,): (String,) = app.db().query("select password_hash from users").one().await.unwrap();
        hash
    };
    let old = hash().await;
    let dearer = app.with_hash_passes(3).await;
    assert_eq!(dearer.client().login("ann@example.org", OTHER_PASSWORD).await.status, 422);
    assert_eq!(hash().await, old, "a refusal changes nothing");
    assert_eq!(dearer.client().login("ann@example.org", PASSWORD).await.status, 303);
    let new = hash().await;
    assert!(new.contains("t=3"), "{new}");
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    assert_eq!(hash().await, new, "and never back");
    assert_eq!(dearer.client().login("ann@example.org", PASSWORD).await.status, 303);
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_waiting_room_people_are_told_to_come_back() {
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.passwords.hash_threads = std::num::NonZeroUsize::MIN;
        options.config.passwords.hash_queue = 1;
        (options.config.passwords.hash_memory, options.config.passwords.hash_passes) = (65_536, 4);
    })
    .await;
    let attempts = (0..12).map(|_| {
        let client = app.client();
        async move { client.login("nobody@example.org", PASSWORD).await }
    });
    let answers = futures_util::future::join_all(attempts).await;
    let busy: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(busy.len() >= 9, "one at work and one in the room: {} were told to come back", busy.len());
    assert!(busy.iter().all(|answer| answer.header("retry-after").parse::<u32>().unwrap() >= 1));
    assert!(busy.iter().all(|answer| answer.body.contains("All hands are busy")), "{}", busy[0].body);
    assert!(answers.iter().all(|answer| [422, 503].contains(&answer.status)));
    app.settle().await;
}
