//! Registering: what is answered, what is mailed, what is there afterwards.

use std::time::Duration;

use serde_json::json;

use crate::support::app::{Answer, Letter, OTHER_PASSWORD, PASSWORD, Stack, TestApp, on_both_stacks, within};

on_both_stacks!(
    a_person_registers_confirms_signs_in_and_sees_it_in_the_log,
    the_same_through_the_api,
    the_answer_is_the_same_for_new_pending_and_taken_addresses,
    many_registrations_of_one_address_at_once_make_one_account,
    a_mistake_is_shown_beside_its_field_with_what_was_typed,
    item_33_registrations_that_nobody_confirms_go_after_a_week,
    the_waiting_page_tells_the_truth,
    the_link_is_built_from_the_public_url_whatever_the_request_says,
    the_language_of_the_browser_is_the_language_of_the_mail_and_of_the_account,
    a_fresh_house_has_no_users,
);

async fn a_person_registers_confirms_signs_in_and_sees_it_in_the_log(app: TestApp) {
    let client = app.client();
    let answer = client.register("Ann@Example.org", PASSWORD, "Ann Lee").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/register/sent"));
    app.settle().await;

    let mails = app.mails_to("Ann@example.org").await;
    assert_eq!(mails.len(), 1, "{mails:?}");
    let token = mails[0].token().expect("a link");
    let page = client.get(&format!("/confirm?token={token}")).await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("type=\"password\""), "the browser that registered needs no password");
    let confirmed = client.post("/confirm", &[("token", &token)]).await;
    assert_eq!((confirmed.status, confirmed.header("location")), (303, "/account"));
    assert_eq!(client.get("/account").await.status, 200, "confirming signs in");

    let elsewhere = app.client();
    let answer = elsewhere.login("ann@EXAMPLE.ORG", PASSWORD).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/account"));
    app.settle().await;
    let account = elsewhere.get("/account").await;
    assert!(account.body.contains("Ann Lee") && account.body.contains("Ann@example.org"), "{}", account.body);
    let activity = elsewhere.get("/api/v1/me/activity").await.json();
    let kinds: Vec<_> = activity["items"].as_array().unwrap().iter().map(|item| item["type"].clone()).collect();
    assert_eq!(kinds, ["login.succeeded", "user.confirmed"], "{activity}");
    assert_eq!(activity["items"][0]["user_agent"], "Bellhop-Test/1");
    assert!(account.body.contains("127.0.0.1"), "the log is on the page: {}", account.body);
}

async fn the_same_through_the_api(app: TestApp) {
    let client = app.client();
    let wish = json!({"email": "ann@example.org", "password": PASSWORD, "name": "Ann"});
    let answer = client.post_json("/api/v1/register", &wish).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"status": "confirmation_pending"})));
    app.settle().await;
    let token = app.mails_to("ann@example.org").await[0].token().unwrap();

    let elsewhere = app.client();
    let missing = elsewhere.post_json("/api/v1/confirm", &json!({"token": token})).await;
    assert_eq!((missing.status, missing.json()["code"].as_str()), (422, Some("password-needed")));
    assert_eq!(missing.header("content-type"), "application/problem+json");
    let confirmed = elsewhere.post_json("/api/v1/confirm", &json!({"token": token, "password": PASSWORD})).await;
    assert_eq!(confirmed.status, 204, "{}", confirmed.body);

    assert_eq!(app.client().get("/api/v1/me").await.status, 401);
    let login = json!({"email": "ann@example.org", "password": PASSWORD});
    let answer = client.post_json("/api/v1/login", &login).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["user"]["email"], "ann@example.org");
    let me = client.get("/api/v1/me").await.json();
    assert_eq!(me, answer.json());

    let wrong = json!({"email": "ann@example.org", "password": OTHER_PASSWORD});
    for _ in 0..3 {
        assert_eq!(app.client().post_json("/api/v1/login", &wrong).await.status, 401);
    }
    app.settle().await;
    let first = client.get("/api/v1/me/activity?limit=3").await.json();
    let types: Vec<&str> =
        first["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["login.failed"; 3]);
    assert_eq!(first["items"][0]["reason"], "wrong_password");
    let next = first["next"].as_str().expect("there is an older one");
    let rest = client.get(&format!("/api/v1/me/activity?limit=3&before={next}")).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (2, &serde_json::Value::Null));
    assert_eq!(rest["items"][0]["type"], "login.succeeded");
    for wrong in ["limit=0", "limit=101", "limit=x", "before=x", "limit=-1", "limit=99999999999999999999"] {
        assert_eq!(client.get(&format!("/api/v1/me/activity?{wrong}")).await.status, 422, "{wrong}");
    }

    assert_eq!(client.send(client.posting("/api/v1/logout")).await.status, 204);
    assert_eq!(client.get("/api/v1/me").await.status, 401);
}

/// Everything a stranger sees, but for what differs by nature.
fn seen(mut answer: Answer) -> (u16, Vec<(String, String)>, String) {
    for name in ["date", "x-request-id"] {
        answer.headers.remove(name);
    }
    let cookie = answer.headers.remove("set-cookie").map(|cookie| cookie.to_str().unwrap().len().to_string());
    let mut headers: Vec<(String, String)> =
        answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.extend(cookie.map(|length| ("set-cookie length".to_owned(), length)));
    headers.sort();
    (answer.status, headers, answer.body)
}

async fn the_answer_is_the_same_for_new_pending_and_taken_addresses(app: TestApp) {
    app.signed_in_client("taken@example.org").await;
    app.client().register("pending@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let mut pages = Vec::new();
    let mut answers = Vec::new();
    for email in ["new@example.org", "pending@example.org", "taken@example.org"] {
        pages.push(seen(app.client().register(email, PASSWORD, "Ann").await));
        let wish = json!({"email": email, "password": PASSWORD, "name": "Ann"});
        answers.push(seen(app.client().post_json("/api/v1/register", &wish).await));
    }
    assert_eq!(pages[0].0, 303);
    assert_eq!(answers[0].0, 202);
    assert!(pages.iter().all(|page| *page == pages[0]), "{pages:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

/// F45, F47: the same for an address that somebody has and one that nobody has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_31_an_address_gets_three_mails_an_hour_whoever_has_it() {
    for stack in [Stack::Small, Stack::Large] {
        let app = TestApp::start_with(stack, |options| options.config.http.limits = true).await;
        app.signed_in_client("ann@example.org").await;
        app.clock().advance(Duration::from_secs(3_601));
        for email in ["ANN@example.org", "free@example.org"] {
            for _ in 0..5 {
                assert_eq!(app.client().register(email, OTHER_PASSWORD, "Eve").await.status, 303);
            }
        }
        app.settle().await;
        assert_eq!(app.mails_to("free@example.org").await.len(), 3);
        let told = app.mails_to("ann@example.org").await;
        assert_eq!(told.len(), 1 + 3, "the first mail and three notices: {told:?}");
        assert_eq!(told[1].token(), None, "a notice has no link to confirm with");
        assert!(told[1].text.contains("/login"), "{}", told[1].text);
        assert!(!told[1].text.contains("Eve"), "what a stranger typed is not passed on: {}", told[1].text);

        app.clock().advance(Duration::from_secs(3_601));
        app.client().register("ann@example.org", OTHER_PASSWORD, "Eve").await;
        app.settle().await;
        assert_eq!(app.mails_to("ann@example.org").await.len(), 5);
        let stranger = app.client().login("ann@example.org", OTHER_PASSWORD).await;
        assert_eq!(stranger.status, 422, "the stranger gets nothing");
        assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    }
}

async fn many_registrations_of_one_address_at_once_make_one_account(app: TestApp) {
    let clients: Vec<_> = (0..50).map(|_| app.client()).collect();
    let answers = futures_util::future::join_all(
        clients.iter().map(|client| client.register("ann@example.org", PASSWORD, "Ann")),
    );
    assert!(answers.await.iter().all(|answer| answer.status == 303));
    app.settle().await;
    let mails = app.mails_to("ann@example.org").await;
    assert_eq!(mails.len(), 50, "one mail for each");
    let tokens: Vec<String> = mails.iter().filter_map(Letter::token).collect();
    let client = app.client();
    let confirm = tokens.iter().map(|token| {
        let client = client.clone();
        async move { client.post("/confirm", &[("token", token), ("password", PASSWORD)]).await.status }
    });
    let statuses = futures_util::future::join_all(confirm).await;
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [303, 200].contains(status)), "{statuses:?}");
    let (users,): (i64,) = app.db().query("select count(*) from users").one().await.unwrap();
    let (left,): (i64,) = app.db().query("select count(*) from registrations").one().await.unwrap();
    assert_eq!((users, left), (1, 50), "rivals open nothing, and stay until their time is over");
}

async fn a_mistake_is_shown_beside_its_field_with_what_was_typed(app: TestApp) {
    let client = app.client();
    for (email, password, name, expected) in [
        ("not an address", PASSWORD, "Ann", "does not look like an email address"),
        ("", PASSWORD, "Ann", "enter your email address"),
        ("ann@example.org", "short", "Ann", "shorter than 15"),
        ("ann@example.org", "passwordpassword", "Ann", "attackers try first|easy to guess"),
        ("ann@example.org", "ann@example.org", "Ann", "too close to your name"),
        ("ann@example.org", PASSWORD, "", "tell us your name"),
        ("ann@example.org", PASSWORD, "A\u{202e}nn", "cannot be shown"),
    ] {
        let answer = client.register(email, password, name).await;
        assert_eq!(answer.status, 422, "{email:?} {password:?} {name:?}");
        assert!(expected.split('|').any(|text| answer.body.contains(text)), "{expected}: {}", answer.body);
        assert!(answer.body.contains("aria-invalid=\"true\""), "{}", answer.body);
        assert!(email.is_empty() || answer.body.contains(&format!("value=\"{email}\"")), "{}", answer.body);
        assert!(
            !answer.body.contains(&format!("\"{password}\"")) || password == email,
            "a password is never sent back"
        );
        let wish = json!({"email": email, "password": password, "name": name});
        let answer = client.post_json("/api/v1/register", &wish).await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 1, "{}", answer.body);
    }
    app.settle().await;
    assert!(app.mails().await.is_empty(), "a mistake sends no mail");
}

/// With all that was known of its person; the address can be registered again.
async fn item_33_registrations_that_nobody_confirms_go_after_a_week(app: TestApp) {
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let count = async || {
        let (count,): (i64,) = app.db().query("select count(*) from registrations").one().await.unwrap();
        count
    };
    app.clock().advance(Duration::from_mins(7 * 24 * 60 - 1));
    app.purge().await;
    assert_eq!(count().await, 1);
    app.clock().advance(Duration::from_mins(2));
    app.settle().await;
    app.purge().await;
    assert_eq!(count().await, 0);
    for table in ["registrations", "outbox", "inbox", "broker_message", "setback", "login_log", "users", "resets"] {
        let dump = app.dump(table).await;
        for personal in ["ann@", "bellhop-test", "127.0.0.1"] {
            assert!(!dump.contains(personal), "{personal} is in {table}: {dump}");
        }
    }
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    // what was published a week ago is purged too, so that nothing is left to count by
    within("the address to be registered again", async || app.mails_to("ann@example.org").await.len() == 2).await;
}

async fn the_waiting_page_tells_the_truth(app: TestApp) {
    let client = app.client();
    let status = async || client.get("/register/status").await.json()["state"].as_str().unwrap().to_owned();
    assert_eq!(status().await, "unknown");
    client.register("ann@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    assert_eq!(status().await, "sent");
    let page = client.get("/register/sent").await;
    assert!(page.body.contains("ann@example.org"), "{}", page.body);
    let stranger = app.client().get("/register/sent").await;
    assert!(!stranger.body.contains("ann@example.org"), "another browser is told nothing");
    let token = app.mails_to("ann@example.org").await[0].token().unwrap();
    client.post("/confirm", &[("token", &token)]).await;
    assert_eq!(status().await, "confirmed");
}

async fn the_link_is_built_from_the_public_url_whatever_the_request_says(app: TestApp) {
    let fields = [("email", "ann@example.org"), ("password", PASSWORD), ("name", "Ann")];
    let client = app.client();
    let request = client
        .posting("/register")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "host=evil.example")
        .header("x-original-url", "http://evil.example/")
        .form(&fields);
    assert_eq!(client.send(request).await.status, 303);
    let evil = client.send(client.posting("/register").header("host", "evil.example").form(&fields)).await;
    assert_eq!(evil.status, 421);
    app.settle().await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text.contains(&format!("{}/confirm?token=", app.url)), "{}", mails[0].text);
    assert!(!mails[0].text.contains("evil") && !mails[0].html.contains("evil"));
}

async fn the_language_of_the_browser_is_the_language_of_the_mail_and_of_the_account(app: TestApp) {
    let client = app.client();
    let fields = [("email", "li@example.org"), ("password", PASSWORD), ("name", "李雷")];
    let request = client.posting("/register").header("accept-language", "zh-CN,zh;q=0.9,en;q=0.5").form(&fields);
    assert_eq!(client.send(request).await.status, 303);
    app.settle().await;
    let mail = app.mails_to("li@example.org").await.remove(0);
    assert!(mail.text.contains("确认"), "{}", mail.text);
    client.post("/confirm", &[("token", &mail.token().unwrap())]).await;
    let account = client.get("/account").await;
    assert!(account.body.contains("lang=\"zh-CN\""), "remembered on the account: {}", account.body);
}

async fn a_fresh_house_has_no_users(app: TestApp) {
    let (users,): (i64,) = app.db().query("select count(*) from users").one().await.unwrap();
    assert_eq!(users, 0);
    for name in ["admin", "root", "administrator", "test", "guest", "bellhop", "user", "demo"] {
        for password in [name, "password", "admin", "changeme", "123456", ""] {
            let answer = app.client().login(&format!("{name}@example.org"), password).await;
            assert_eq!(answer.status, 422, "{name} {password}");
        }
    }
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_hash_is_argon2id_at_the_floor_with_a_salt_of_its_own() {
    let app = TestApp::start_with(Stack::Small, |options| {
        (options.config.passwords.hash_memory, options.config.passwords.hash_passes) = (19_456, 2);
    })
    .await;
    for n in 0..3 {
        app.client().register(&format!("ann{n}@example.org"), PASSWORD, "Ann").await;
    }
    app.settle().await;
    let hashes: Vec<(String,)> = app.db().query("select password_hash from registrations").all().await.unwrap();
    let salts: std::collections::HashSet<&str> = hashes.iter().map(|(hash,)| hash.split('$').nth(4).unwrap()).collect();
    assert_eq!(salts.len(), 3);
    for (hash,) in &hashes {
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_from_the_operators_list_cannot_be_chosen() {
    let list = tempfile::NamedTempFile::new().unwrap();
    // SHA-1 of PASSWORD, among others
    let hashes = [
        "0000000000000000000000000000000000000000",
        "8B09CC699BBF26C3DA34E20BCAAE875E20DEAABF",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    ];
    std::fs::write(list.path(), hashes.map(|hash| format!("{hash}:3\r\n")).concat()).unwrap();
    let path = list.path().to_owned();
    let app = TestApp::start_with(Stack::Small, |options| options.config.passwords.breached = Some(path)).await;
    let refused = app.client().register("ann@example.org", PASSWORD, "Ann").await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("attackers try first"), "{}", refused.body);
    assert_eq!(app.client().register("ann@example.org", OTHER_PASSWORD, "Ann").await.status, 303);
    app.settle().await;
}
