//! Confirming: whose link, whose password, how often, how long.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::app::{Letter, OTHER_PASSWORD, PASSWORD, TestApp, on_both_stacks};

on_both_stacks!(
    a_strangers_registration_never_opens_the_owners_account,
    another_browser_needs_the_password,
    a_link_makes_one_account_however_many_press_at_once,
    looking_at_a_link_does_not_use_it,
    a_link_lives_a_day_from_the_moment_its_mail_is_sent,
    item_45_unknown_expired_and_malformed_links_get_one_answer,
    item_45_a_link_of_any_kind_that_does_not_work_gets_one_answer,
    a_link_that_was_used_says_so_to_who_has_it,
    a_second_press_of_the_same_browser_signs_in_like_the_first,
    a_link_whose_account_is_gone_makes_no_other,
    nothing_is_usable_before_the_confirmation,
    the_token_is_nowhere_but_in_the_mail,
);

async fn token_for(app: &TestApp, email: &str) -> String {
    app.settle().await;
    app.mails_to(email).await.last().and_then(Letter::token).expect("a mail with a link")
}

async fn a_strangers_registration_never_opens_the_owners_account(app: TestApp) {
    // the stranger registers the victim's address and waits for the victim to press the button
    app.client().register("victim@example.org", OTHER_PASSWORD, "Eve").await;
    let strangers_link = token_for(&app, "victim@example.org").await;
    let victim = app.client();
    victim.register("victim@example.org", PASSWORD, "Ann").await;
    let own_link = token_for(&app, "victim@example.org").await;

    // the victim presses the button in the stranger's mail: their browser did not register that one
    let page = victim.get(&format!("/confirm?token={strangers_link}")).await;
    assert!(page.body.contains("type=\"password\""), "{}", page.body);
    let pressed = victim.post("/confirm", &[("token", &strangers_link)]).await;
    assert_eq!(pressed.status, 422);
    let typed = victim.post("/confirm", &[("token", &strangers_link), ("password", PASSWORD)]).await;
    assert_eq!(typed.status, 422, "the victim's password is not the stranger's");

    assert_eq!(victim.post("/confirm", &[("token", &own_link)]).await.status, 303);
    assert_eq!(app.client().login("victim@example.org", OTHER_PASSWORD).await.status, 422);
    assert_eq!(app.client().login("victim@example.org", PASSWORD).await.status, 303);
    let late = app.client().post("/confirm", &[("token", &strangers_link), ("password", OTHER_PASSWORD)]).await;
    assert_eq!((late.status, late.headers.contains_key("set-cookie")), (200, false), "the rival opens nothing");
    assert!(late.body.contains("Your address is confirmed"), "{}", late.body);
    app.settle().await;
}

async fn another_browser_needs_the_password(app: TestApp) {
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    let token = token_for(&app, "ann@example.org").await;
    let elsewhere = app.client();
    let missing = elsewhere.post("/confirm", &[("token", &token)]).await;
    assert_eq!(missing.status, 422);
    assert!(missing.body.contains("type=\"password\"") && missing.body.contains(&token));
    let wrong = elsewhere.post("/confirm", &[("token", &token), ("password", OTHER_PASSWORD)]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("not the password that was chosen"), "{}", wrong.body);
    assert_eq!(elsewhere.get("/api/v1/me").await.status, 401);
    let right = elsewhere.post("/confirm", &[("token", &token), ("password", PASSWORD)]).await;
    assert_eq!(right.status, 303);
    assert_eq!(elsewhere.get("/api/v1/me").await.status, 200);
}

async fn a_link_makes_one_account_however_many_press_at_once(app: TestApp) {
    for round in 0..10 {
        let email = format!("ann{round}@example.org");
        let client = app.client();
        client.register(&email, PASSWORD, "Ann").await;
        let token = token_for(&app, &email).await;
        let press = (0..20).map(|_| {
            let (client, token) = (client.clone(), token.clone());
            async move { client.post("/confirm", &[("token", &token)]).await.status }
        });
        let statuses = futures_util::future::join_all(press).await;
        // one that comes when the answer to the first has taken the cookie away is told that all is done
        assert!(statuses.iter().all(|status| [303, 200].contains(status)), "{statuses:?}");
        assert!(statuses.contains(&303) && client.get("/account").await.status == 200, "{statuses:?}");
    }
    let (users,): (i64,) = app.db().query("select count(*) from users").one().await.unwrap();
    assert_eq!(users, 10);
}

async fn looking_at_a_link_does_not_use_it(app: TestApp) {
    let client = app.client();
    client.register("ann@example.org", PASSWORD, "Ann").await;
    let token = token_for(&app, "ann@example.org").await;
    let page = format!("/confirm?token={token}");
    for agent in ["Microsoft Office Protection", "GoogleImageProxy", "Mozilla/5.0"] {
        let scanner = app.client();
        let url = format!("{}{page}", app.url);
        let head = scanner.send(scanner.http.head(&url).header("user-agent", agent)).await;
        assert_eq!(head.status, 200);
        for _ in 0..5 {
            let looked = scanner.send(scanner.http.get(&url).header("user-agent", agent)).await;
            assert_eq!((looked.status, looked.header("referrer-policy")), (200, "no-referrer"));
        }
    }
    assert_eq!(client.post("/confirm", &[("token", &token)]).await.status, 303);
}

async fn a_link_lives_a_day_from_the_moment_its_mail_is_sent(app: TestApp) {
    let (early, late) = (app.client(), app.client());
    early.register("early@example.org", PASSWORD, "Ann").await;
    late.register("late@example.org", PASSWORD, "Ann").await;
    let (early_token, late_token) =
        (token_for(&app, "early@example.org").await, token_for(&app, "late@example.org").await);
    app.clock().advance(Duration::from_mins(1439));
    assert_eq!(early.post("/confirm", &[("token", &early_token)]).await.status, 303, "a minute before");
    app.clock().advance(Duration::from_secs(61));
    assert_eq!(late.get(&format!("/confirm?token={late_token}")).await.status, 404, "a second after");
    assert_eq!(late.post("/confirm", &[("token", &late_token)]).await.status, 422);
}

async fn item_45_unknown_expired_and_malformed_links_get_one_answer(app: TestApp) {
    let (used, expired) = (app.client(), app.client());
    used.register("used@example.org", PASSWORD, "Ann").await;
    let used_token = token_for(&app, "used@example.org").await;
    assert_eq!(used.post("/confirm", &[("token", &used_token)]).await.status, 303);
    expired.register("expired@example.org", PASSWORD, "Ann").await;
    let expired_token = token_for(&app, "expired@example.org").await;
    // of a link that was used, all but the code: who guesses learns nothing of it
    let guessed = format!("{}{}", &used_token[..24], &expired_token[24..]);
    let garbled = client_answers(&app, &guessed).await;
    app.clock().advance(Duration::from_hours(25));
    let unknown = format!("A{}", &expired_token[1..]);
    for token in [used_token.as_str(), &expired_token, &unknown, "x", "", "🛎", "a b"] {
        assert_eq!(client_answers(&app, token).await, garbled, "{token}");
    }
    assert_eq!((garbled.0, garbled.2), (404, 422));
}

/// Looking at a link and pressing its button: statuses and pages, but for the way back from choosing a language, which has
/// the link in it.
async fn client_answers(app: &TestApp, token: &str) -> (u16, String, u16, String) {
    answers_of(app, "/confirm", &[("token", token), ("password", PASSWORD)]).await
}

/// The same of any page behind a link.
async fn answers_of(app: &TestApp, path: &str, fields: &[(&str, &str)]) -> (u16, String, u16, String) {
    let client = app.client();
    let without_way_back = |body: String| {
        let next = body.split("name=\"next\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        body.replacen(next.expect("the way back"), "", 1)
    };
    let page = client.get(&format!("{path}?token={}", fields[0].1)).await;
    let pressed = client.post(path, fields).await;
    (page.status, without_way_back(page.body), pressed.status, without_way_back(pressed.body))
}

/// Of each kind: one that was used, overtaken or called off, that has expired, that nobody was sent, that is none.
async fn item_45_a_link_of_any_kind_that_does_not_work_gets_one_answer(app: TestApp) {
    let email = "ann@example.org";
    let ann = app.signed_in_client(email).await;
    let link = async |to: &str, path: &str| {
        app.settle().await;
        let mails = app.mails_to(to).await;
        mails.iter().rev().find(|mail| mail.text.contains(path)).and_then(Letter::token).expect("a mail with a link")
    };
    // a sign-in that its person was warned of
    let stranger = app.client();
    let login = stranger.posting("/login").header("user-agent", "another/1");
    stranger.send(login.form(&[("email", email), ("password", PASSWORD)])).await;
    let not_me = link(email, "/login/not-me").await;
    // a deletion, called off
    assert_eq!(ann.post("/account/delete", &[("current_password", PASSWORD)]).await.status, 303);
    let restore = link(email, "/account/restore").await;
    assert_eq!(ann.post("/account/restore", &[("token", &restore)]).await.status, 303);
    // a change of the address, overtaken; another, undone
    let change = async |to: &str| {
        let fields = [("email", to), ("current_password", PASSWORD)];
        assert_eq!(ann.post("/account/email", &fields).await.status, 303);
        link(to, "/email/confirm").await
    };
    let overtaken = change("one@example.net").await;
    let moved = change("two@example.net").await;
    assert_eq!(ann.post("/email/confirm", &[("token", &moved)]).await.status, 303);
    let undo = link(email, "/email/undo").await;
    assert_eq!(ann.post("/email/undo", &[("token", &undo)]).await.status, 303);
    // a forgotten password, set; another request, whose link lives until its time is over
    let forgot = async || {
        assert_eq!(app.client().post("/forgot", &[("email", email)]).await.status, 303);
        link(email, "/reset").await
    };
    let used = forgot().await;
    let fields = [("token", used.as_str()), ("password", OTHER_PASSWORD)];
    assert_eq!(app.client().post("/reset", &fields).await.status, 303);
    let reset = forgot().await;
    assert_eq!(app.client().get(&format!("/reset?token={reset}")).await.status, 200);
    assert_eq!(app.client().get(&format!("/login/not-me?token={not_me}")).await.status, 200);
    app.clock().advance(Duration::from_hours(31 * 24));
    for (path, tokens) in [
        ("/reset", [used, reset]),
        ("/email/confirm", [overtaken, moved]),
        ("/email/undo", [undo.clone(), undo]),
        ("/account/restore", [restore.clone(), restore]),
        ("/login/not-me", [not_me.clone(), not_me]),
    ] {
        let [one, other] = tokens;
        let unknown = format!("{}{}", if one.starts_with('A') { "B" } else { "A" }, &one[1..]);
        let forged = format!("{}{}", &one[..40], "A".repeat(26));
        let mut fields = vec![("token", other.as_str())];
        // with a password that may be chosen, where one is asked for
        fields.extend((path == "/reset").then_some(("password", "copper lantern orchid meadow")));
        let wanted = answers_of(&app, path, &fields).await;
        assert_eq!((wanted.0, wanted.2), (404, 422), "{path}");
        for token in [one.as_str(), &unknown, &forged, "", "x", "\u{1f6ce}"] {
            fields[0].1 = token;
            assert_eq!(answers_of(&app, path, &fields).await, wanted, "{path} {token}");
        }
    }
    app.settle().await;
}

/// F4: in the browser that is signed in, in another one, by the link of another mail; a stranger's guess is in
/// [`item_45_unknown_expired_and_malformed_links_get_one_answer`].
async fn a_link_that_was_used_says_so_to_who_has_it(app: TestApp) {
    let client = app.client();
    client.register("ann@example.org", PASSWORD, "Ann").await;
    let first = token_for(&app, "ann@example.org").await;
    client.register("ann@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let mut tokens: Vec<String> = app.mails_to("ann@example.org").await.iter().filter_map(Letter::token).collect();
    tokens.retain(|token| *token != first);
    assert_eq!(client.post("/confirm", &[("token", &first), ("password", PASSWORD)]).await.status, 303);
    let elsewhere = app.client();
    for token in [&first, &tokens[0]] {
        for (client, way) in [(&client, "href=\"/account\""), (&elsewhere, "href=\"/login\"")] {
            let looked = client.get(&format!("/confirm?token={token}")).await;
            let pressed = client.post("/confirm", &[("token", token), ("password", OTHER_PASSWORD)]).await;
            for answer in [looked, pressed] {
                assert_eq!((answer.status, answer.headers.contains_key("set-cookie")), (200, false));
                assert!(answer.body.contains("Your address is confirmed"), "{}", answer.body);
                assert!(answer.body.split("<main").nth(1).unwrap().contains(way), "{way}: {}", answer.body);
            }
        }
        let program = elsewhere.post_json("/api/v1/confirm", &serde_json::json!({"token": token})).await;
        assert_eq!((program.status, program.json()["code"].as_str()), (422, Some("already-confirmed")));
    }
    assert_eq!(elsewhere.get("/api/v1/me").await.status, 401);
    app.clock().advance(Duration::from_hours(25));
    assert_eq!(
        client.get(&format!("/confirm?token={first}")).await.status,
        404,
        "as long as the link could have lived"
    );
    app.settle().await;
}

/// F54.
async fn a_second_press_of_the_same_browser_signs_in_like_the_first(app: TestApp) {
    let client = app.client();
    let browser = client.register("ann@example.org", PASSWORD, "Ann").await.cookie("bellhop-reg");
    let token = token_for(&app, "ann@example.org").await;
    // its cookies as they were before the answer to the first press
    let press = async |cookie: &str| {
        let request = app.client().posting("/confirm").header("cookie", format!("bellhop-reg={cookie}"));
        app.client().send(request.form(&[("token", &token)])).await
    };
    let (first, second) = tokio::join!(press(&browser), press(&browser));
    for answer in [first, second, press(&browser).await] {
        assert_eq!((answer.status, answer.header("location")), (303, "/account"), "{}", answer.body);
        let cookie = answer.cookie("bellhop");
        let me = app.client().http.get(format!("{}/api/v1/me", app.url)).header("cookie", format!("bellhop={cookie}"));
        assert_eq!(app.client().send(me).await.status, 200);
    }
    let stranger = press(&"A".repeat(43)).await;
    assert_eq!((stranger.status, stranger.headers.contains_key("set-cookie")), (200, false));
    app.clock().advance(Duration::from_mins(11));
    let late = press(&browser).await;
    assert_eq!((late.status, late.headers.contains_key("set-cookie")), (200, false), "no second key that lies about");
    let (users,): (i64,) = app.db().query("select count(*) from users").one().await.unwrap();
    assert_eq!(users, 1);
    app.settle().await;
}

async fn a_link_whose_account_is_gone_makes_no_other(app: TestApp) {
    let client = app.client();
    let browser = client.register("ann@example.org", PASSWORD, "Ann").await.cookie("bellhop-reg");
    let token = token_for(&app, "ann@example.org").await;
    assert_eq!(client.post("/confirm", &[("token", &token)]).await.status, 303);
    let mut tx = app.db().begin().await.unwrap();
    tx.query("delete from users").execute().await.unwrap();
    tx.commit().await.unwrap();
    // with the browser's cookie from before, with the password, and with neither
    for (cookie, fields) in [
        (browser.as_str(), &[("token", token.as_str())][..]),
        ("", &[("token", &token), ("password", PASSWORD)]),
        ("", &[("token", &token)]),
    ] {
        let request = app.client().posting("/confirm").header("cookie", format!("bellhop-reg={cookie}"));
        let pressed = app.client().send(request.form(fields)).await;
        assert_eq!((pressed.status, pressed.headers.contains_key("set-cookie")), (422, false), "{}", pressed.body);
    }
    assert_eq!(app.client().get(&format!("/confirm?token={token}")).await.status, 404);
    let (users,): (i64,) = app.db().query("select count(*) from users").one().await.unwrap();
    assert_eq!(users, 0);
    // nor does it open the account that somebody has made for the address since
    let other = app.client();
    other.register("ann@example.org", OTHER_PASSWORD, "Ann").await;
    let others = token_for(&app, "ann@example.org").await;
    assert_eq!(other.post("/confirm", &[("token", &others)]).await.status, 303);
    let request = app.client().posting("/confirm").header("cookie", format!("bellhop-reg={browser}"));
    let pressed = app.client().send(request.form(&[("token", &token), ("password", &PASSWORD.to_owned())])).await;
    assert_eq!((pressed.status, pressed.headers.contains_key("set-cookie")), (200, false), "{}", pressed.body);
    app.settle().await;
}

async fn nothing_is_usable_before_the_confirmation(app: TestApp) {
    let client = app.client();
    client.register("ann@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    assert_eq!(client.login("ann@example.org", PASSWORD).await.status, 422);
    let account = client.get("/account").await;
    assert_eq!((account.status, account.header("location")), (303, "/login"));
    assert_eq!(client.get("/api/v1/me").await.status, 401);
    let (sessions,): (i64,) = app.db().query("select count(*) from sessions").one().await.unwrap();
    assert_eq!(sessions, 0);
    app.settle().await;
}

async fn the_token_is_nowhere_but_in_the_mail(app: TestApp) {
    let client = app.client();
    let answer = client.register("ann@example.org", PASSWORD, "Ann").await;
    let cookie = answer.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    let token = token_for(&app, "ann@example.org").await;
    // every text and blob of every table, as the database shows it to whoever steals it
    let mut dump = String::new();
    for table in ["registrations", "outbox", "inbox", "broker_message", "sessions", "users", "login_log"] {
        dump.push_str(&app.dump(table).await);
    }
    assert!(dump.contains("ann@example.org"), "the dump shows what there is");
    for secret in [&token, &token[24..64], &cookie] {
        let bytes = URL_SAFE_NO_PAD.decode(secret).unwrap();
        let mut hex = String::new();
        for byte in bytes {
            write!(hex, "{byte:02x}").unwrap();
        }
        for form in [secret.to_lowercase(), hex] {
            assert!(!dump.contains(&form), "{form} is in the database: {dump}");
        }
    }
    assert!(!dump.contains(PASSWORD));
    let events = app.dump("outbox").await + &app.dump("broker_message").await;
    assert!(!events.contains("example.org"), "an event carries ids, not addresses: {events}");
}
