//! Getting back in after a password was forgotten, changing it, ending sessions.

use std::time::Duration;

use bellhop::account::session;
use bellhop::app::Parts;
use serde_json::json;

use crate::support::app::{
    Answer, HttpClient, Letter, OTHER_PASSWORD, PASSWORD, Stack, TestApp, on_both_stacks, within, without_times,
};

on_both_stacks!(
    item_46_a_forgotten_password_is_set_by_its_link_once_and_every_session_ends,
    who_asks_learns_nothing_about_the_address,
    a_link_ends_with_its_time_and_with_the_password_that_it_replaces,
    a_form_that_is_sent_twice_is_one_request,
    item_8_a_changed_password_ends_every_other_session_and_its_owner_is_told,
    item_56_sessions_are_seen_and_ended_one_or_all,
    a_program_does_all_of_it_too,
    a_name_and_a_language_are_changed_by_their_owner,
    the_whole_log_is_read_page_by_page_and_by_what_was_refused,
);

const THIRD_PASSWORD: &str = "copper lantern orchid meadow";

async fn forgot(client: &HttpClient, email: &str) -> Answer {
    client.post("/forgot", &[("email", email)]).await
}

/// The mail that came last.
async fn last_mail(app: &TestApp, email: &str) -> Letter {
    app.settle().await;
    app.mails_to(email).await.pop().expect("a mail")
}

async fn reset_token(app: &TestApp, email: &str) -> String {
    assert_eq!(forgot(&app.client(), email).await.status, 303);
    let mail = last_mail(app, email).await;
    assert!(mail.text.contains("/reset?token="), "{}", mail.text);
    mail.token().expect("a link")
}

async fn is_signed_in(client: &HttpClient) -> bool {
    client.get("/api/v1/me").await.status == 200
}

async fn resets(app: &TestApp, email: &str) -> usize {
    app.settle().await;
    app.mails_to(email).await.iter().filter(|mail| mail.text.contains("/reset?token=")).count()
}

/// Every session ends, nobody is signed in by it, its person is told, and no link of before works any more.
async fn item_46_a_forgotten_password_is_set_by_its_link_once_and_every_session_ends(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    let others = [app.client(), app.client()];
    for other in &others {
        assert_eq!(other.login("ann@example.org", PASSWORD).await.status, 303);
    }
    let older = [reset_token(&app, "ann@example.org").await, reset_token(&app, "ann@example.org").await];
    let token = reset_token(&app, "ann@example.org").await;
    let elsewhere = app.client();
    let page = elsewhere.get(&format!("/reset?token={token}")).await;
    assert!(page.status == 200 && page.body.contains("autocomplete=\"new-password\""), "{}", page.body);
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let weak = elsewhere.post("/reset", &[("token", &token), ("password", "password password password")]).await;
    assert!(weak.status == 422 && weak.body.contains(&token), "the link stays good: {}", weak.body);
    assert!(is_signed_in(&ann).await);
    let set = elsewhere.post("/reset", &[("token", &token), ("password", OTHER_PASSWORD)]).await;
    assert_eq!((set.status, set.header("location")), (303, "/login"));
    assert_eq!(set.cookie("bellhop"), "", "nobody is signed in by it");
    assert!(!is_signed_in(&elsewhere).await);
    let next = elsewhere.get("/login").await;
    assert!(next.body.contains("Your new password is set"), "{}", next.body);
    assert!(!elsewhere.get("/login").await.body.contains("Your new password is set"), "said once");
    for client in [&ann, &others[0], &others[1]] {
        assert!(!is_signed_in(client).await, "every session has ended");
    }
    for token in &older {
        assert_eq!(elsewhere.get(&format!("/reset?token={token}")).await.status, 404, "it was of the former password");
        let late = elsewhere.post("/reset", &[("token", token), ("password", THIRD_PASSWORD)]).await;
        assert_eq!(late.status, 422);
    }
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 422);
    assert_eq!(app.client().login("ann@example.org", OTHER_PASSWORD).await.status, 303);
    let again = elsewhere.post("/reset", &[("token", &token), ("password", THIRD_PASSWORD)]).await;
    assert_eq!(again.status, 422, "a link works once");
    assert_eq!(elsewhere.get(&format!("/reset?token={token}")).await.status, 404);
    app.settle().await;
    let mails = app.mails_to("ann@example.org").await;
    let told: Vec<&Letter> = mails.iter().filter(|mail| mail.subject.contains("password was changed")).collect();
    assert!(told.len() == 1 && told[0].text.contains("/forgot"), "{told:?}");
    assert_eq!(elsewhere.login("ann@example.org", OTHER_PASSWORD).await.status, 303);
    app.settle().await;
    let activity = elsewhere.get("/api/v1/me/activity").await.json();
    let rows = activity["items"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["type"] == "password.changed"), "{activity}");
    for table in ["outbox", "resets", "login_log", "users"] {
        assert!(
            !app.dump(table).await.contains(&token.to_lowercase()),
            "the token is in the mail alone, not in {table}"
        );
    }
}

async fn who_asks_learns_nothing_about_the_address(app: TestApp) {
    app.signed_in_client("known@example.org").await;
    app.client().register("waits@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let mut shown = Vec::new();
    for email in ["known@example.org", "waits@example.org", "nobody@example.org"] {
        let client = app.client();
        let answer = forgot(&client, email).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/forgot/sent"));
        app.settle().await;
        let status = without_times(&client.get("/forgot/status").await.body);
        let page = without_times(&client.get("/forgot/sent").await.body.replace(email, "ADDRESS"));
        shown.push((answer.body, page, status));
    }
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:#?}");
    assert!(shown[0].2.contains("sent"), "{}", shown[0].2);
    // what the mails say is the owner's alone
    assert!(last_mail(&app, "known@example.org").await.text.contains("/reset?token="));
    let waits = app.mails_to("waits@example.org").await;
    assert_eq!(waits.len(), 2, "the confirmation came again");
    assert_eq!(waits[0].token(), waits[1].token(), "with the same link");
    let fields = [("token", waits[1].token().unwrap()), ("password", PASSWORD.to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(app.client().post("/confirm", &fields).await.status, 303);
    let nobody = last_mail(&app, "nobody@example.org").await;
    assert!(nobody.subject.contains("no account") && nobody.token().is_none(), "{}", nobody.text);
    let malformed = forgot(&app.client(), "not an address").await;
    assert!(malformed.status == 422 && malformed.body.contains("not an address"), "{}", malformed.body);
}

async fn a_link_ends_with_its_time_and_with_the_password_that_it_replaces(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    let late = reset_token(&app, "ann@example.org").await;
    app.clock().advance(app.app.accounts.lifetimes.reset);
    assert_eq!(app.client().get(&format!("/reset?token={late}")).await.status, 404);
    assert_eq!(app.client().post("/reset", &[("token", &late), ("password", OTHER_PASSWORD)]).await.status, 422);
    let outdated = reset_token(&app, "ann@example.org").await;
    let fields = [("current_password", PASSWORD), ("password", OTHER_PASSWORD)];
    assert_eq!(ann.post("/account/password", &fields).await.status, 303);
    assert_eq!(app.client().get(&format!("/reset?token={outdated}")).await.status, 404, "its password is gone");
    for wrong in ["", "x", &outdated[1..], &"A".repeat(66)] {
        assert_eq!(app.client().get(&format!("/reset?token={wrong}")).await.status, 404, "{wrong:?}");
    }
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_31_an_address_gets_no_more_mails_than_its_budget_and_nobody_is_shown_that() {
    for stack in [Stack::Small, Stack::Large] {
        spend(TestApp::start_with(stack, |options| options.config.http.limits = true).await).await;
        ask_for_nobody(TestApp::start_with(stack, |options| options.config.http.limits = true).await).await;
        get_in_all_the_same(TestApp::start_with(stack, |options| options.config.http.limits = true).await).await;
    }
}

/// Who has no account is told so once a day.
async fn ask_for_nobody(app: TestApp) {
    for told in [1, 2] {
        for _ in 0..2 {
            forgot(&app.client(), "nobody@example.org").await;
        }
        app.settle().await;
        assert_eq!(app.mails_to("nobody@example.org").await.len(), told);
        app.clock().advance(Duration::from_hours(24) + Duration::from_mins(1));
    }
}

async fn spend(app: TestApp) {
    const ANN: &str = "ann@example.org";
    app.signed_in_client(ANN).await;
    app.clock().advance(Duration::from_hours(24));
    let mut last = app.client();
    for _ in 0..6 {
        last = app.client();
        assert_eq!(forgot(&last, "Ann@Example.org").await.status, 303);
    }
    assert_eq!(resets(&app, ANN).await, 3, "three an hour");
    assert!(last.get("/forgot/status").await.body.contains("sent"), "as if it had been sent");
    app.clock().advance(Duration::from_mins(21));
    for _ in 0..2 {
        forgot(&app.client(), ANN).await;
    }
    assert_eq!(resets(&app, ANN).await, 4, "one more each twenty minutes");
    for _ in 0..12 {
        app.clock().advance(Duration::from_mins(61));
        forgot(&app.client(), ANN).await;
        app.settle().await;
    }
    let day = resets(&app, ANN).await;
    // and one in six hours that leads back in
    assert!((10..=17).contains(&day), "{day}: ten a day, and what comes back meanwhile");
}

/// Whoever uses up the mails of somebody's address keeps them out by that no more than for the moment.
async fn get_in_all_the_same(app: TestApp) {
    const ANN: &str = "ann@example.org";
    app.signed_in_client(ANN).await;
    app.clock().advance(Duration::from_hours(24));
    for _ in 0..4 {
        assert_eq!(app.client().register(ANN, OTHER_PASSWORD, "Eve").await.status, 303);
    }
    app.settle().await;
    assert_eq!(app.mails_to(ANN).await.len(), 4, "the first, and three by a stranger");
    let ann = app.client();
    forgot(&ann, ANN).await;
    assert_eq!(resets(&app, ANN).await, 1);
    // and what does not go is charged to nobody
    for _ in 0..4 {
        forgot(&app.client(), "newcomer@example.org").await;
    }
    app.settle().await;
    let newcomer = app.client();
    newcomer.register("newcomer@example.org", PASSWORD, "New").await;
    app.settle().await;
    assert_eq!(app.mails_to("newcomer@example.org").await.len(), 2, "no account, and the link to one");
}

async fn a_form_that_is_sent_twice_is_one_request(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    let client = app.client();
    let page = client.get("/forgot").await.body;
    let once = page.split("name=\"once\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let fields = [("email", "ann@example.org"), ("once", once)];
    let (first, second) = tokio::join!(client.post("/forgot", &fields), client.post("/forgot", &fields));
    assert_eq!((first.status, second.status), (303, 303));
    assert_eq!(resets(&app, "ann@example.org").await, 1);
}

/// The present password is asked for, the new one is checked as any new one, this session gets a new id, all others end, and the
/// owner is told once.
async fn item_8_a_changed_password_ends_every_other_session_and_its_owner_is_told(app: TestApp) {
    let node = app.another_node(Parts::only(["web"]).unwrap()).await;
    let ann = app.signed_in_client("ann@example.org").await;
    let phone = HttpClient::new(&node.url);
    assert_eq!(phone.login("ann@example.org", PASSWORD).await.status, 303);
    assert!(is_signed_in(&phone).await);
    let before = ann.get("/api/v1/me/sessions").await.json();
    let wrong = [("current_password", OTHER_PASSWORD), ("password", THIRD_PASSWORD)];
    let wrong = ann.post("/account/password", &wrong).await;
    assert!(wrong.status == 422 && wrong.body.contains("not your current password"), "{}", wrong.body);
    let weak = ann.post("/account/password", &[("current_password", PASSWORD), ("password", "short")]).await;
    assert!(weak.status == 422 && weak.body.contains("shorter than 15"), "{}", weak.body);
    for (weak, says) in [("password password password", "attackers try first"), ("ann@example.org", "too close to")] {
        let refused = ann.post("/account/password", &[("current_password", PASSWORD), ("password", weak)]).await;
        assert!(refused.status == 422 && refused.body.contains(says), "{weak}: {}", refused.body);
    }
    assert!(is_signed_in(&phone).await, "nothing has changed");
    let right = [("current_password", PASSWORD), ("password", OTHER_PASSWORD)];
    let changed = ann.post("/account/password", &right).await;
    assert_eq!((changed.status, changed.header("location")), (303, "/account"), "{}", changed.body);
    assert!(ann.get("/account").await.body.contains("Your password is changed"));
    within("the other node to know", async || !is_signed_in(&phone).await).await;
    let after = ann.get("/api/v1/me/sessions").await.json();
    assert_eq!(after["items"].as_array().unwrap().len(), 1, "{after}");
    let is_old = |id: &serde_json::Value| before["items"].as_array().unwrap().iter().any(|old| old["id"] == *id);
    assert!(!is_old(&after["items"][0]["id"]), "this one has a new id");
    assert_eq!(app.client().login("ann@example.org", OTHER_PASSWORD).await.status, 303);
    app.settle().await;
    let mails = app.mails_to("ann@example.org").await;
    assert_eq!(mails.iter().filter(|mail| mail.subject.contains("password was changed")).count(), 1, "{mails:?}");
    let stranger = app.client();
    let answer = stranger.get("/account/password").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?next=%2Faccount%2Fpassword"));
    assert_eq!(stranger.post("/account/password", &right).await.status, 303);
}

/// By who has shown the password lately.
async fn item_56_sessions_are_seen_and_ended_one_or_all(app: TestApp) {
    let node = app.another_node(Parts::only(["web"]).unwrap()).await;
    let ann = app.signed_in_client("ann@example.org").await;
    let bob = app.signed_in_client("bob@example.org").await;
    let phone = HttpClient::new(&node.url);
    phone.login("ann@example.org", PASSWORD).await;
    let items = ann.get("/api/v1/me/sessions").await.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 2);
    let other = items.iter().find(|one| one["current"] == json!(false)).unwrap();
    let end = format!("/account/sessions/{}/end", other["id"].as_str().unwrap());
    let page = ann.get("/account/sessions").await.body;
    assert!(page.contains(&end) && page.matches("action=\"/account/sessions/").count() == 2, "{page}");
    assert_eq!(bob.post(&end, &[]).await.status, 303);
    assert!(is_signed_in(&phone).await, "somebody else's session is not his to end");
    assert_eq!(ann.post(&end, &[]).await.status, 303);
    assert!(ann.get("/account/sessions").await.body.contains("That session is ended"));
    within("the other node to know", async || !is_signed_in(&phone).await).await;
    let rest: Vec<HttpClient> = (0..3).map(|_| app.client()).collect();
    for client in &rest {
        client.login("ann@example.org", PASSWORD).await;
    }
    assert_eq!(ann.post("/account/sessions/end-others", &[]).await.status, 303);
    for client in &rest {
        assert!(!is_signed_in(client).await);
    }
    assert!(is_signed_in(&ann).await && is_signed_in(&bob).await);

    // a browser that was left open ends nobody's session
    phone.login("ann@example.org", PASSWORD).await;
    app.clock().advance(app.app.accounts.lifetimes.fresh_for);
    let items = ann.get("/api/v1/me/sessions").await.json()["items"].as_array().unwrap().clone();
    let other = items.iter().find(|one| one["current"] == json!(false)).unwrap()["id"].as_str().unwrap();
    let (page, call) = (format!("/account/sessions/{other}/end"), format!("/api/v1/me/sessions/{other}"));
    for path in [page.as_str(), "/account/sessions/end-others"] {
        let asked = ann.post(path, &[]).await;
        let form = format!("action=\"{path}\"");
        assert!(asked.status == 200 && asked.body.contains(&form), "{}", asked.body);
        assert!(asked.body.contains("autocomplete=\"current-password\""), "{}", asked.body);
        assert_eq!(ann.post(path, &[("current_password", OTHER_PASSWORD)]).await.status, 422);
    }
    for path in [call.as_str(), "/api/v1/me/sessions"] {
        let request = ann.http.delete(format!("{}{path}", ann.url)).header("sec-fetch-site", "same-origin");
        let refused = ann.send(request).await;
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("password-needed")), "{path}");
    }
    assert!(is_signed_in(&phone).await);
    assert_eq!(ann.post(&page, &[("current_password", PASSWORD)]).await.status, 303);
    within("the other node to know", async || !is_signed_in(&phone).await).await;
    assert!(is_signed_in(&ann).await, "under a new cookie");
    // an operator ends what is left
    assert_eq!(session::end_every(&app.app.accounts, "ann@example.org").await.unwrap(), Some(1));
    within("every session to end", async || !is_signed_in(&ann).await).await;
    assert!(is_signed_in(&bob).await);
    app.settle().await;
}

async fn a_program_does_all_of_it_too(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    let client = app.client();
    let asked = client.post_json("/api/v1/forgot", &json!({ "email": "ann@example.org" })).await;
    assert_eq!((asked.status, &asked.json()["status"]), (202, &json!("mail_pending")));
    let malformed = client.post_json("/api/v1/forgot", &json!({ "email": "nobody" })).await;
    assert_eq!((malformed.status, &malformed.json()["errors"][0]["field"]), (422, &json!("email")));
    let token = last_mail(&app, "ann@example.org").await.token().unwrap();
    let weak = client.post_json("/api/v1/reset", &json!({ "token": token, "password": "short" })).await;
    assert_eq!((weak.status, &weak.json()["errors"][0]["field"]), (422, &json!("password")));
    let set = client.post_json("/api/v1/reset", &json!({ "token": token, "password": OTHER_PASSWORD })).await;
    assert_eq!(set.status, 204, "{}", set.body);
    assert!(!is_signed_in(&ann).await);
    let used = client.post_json("/api/v1/reset", &json!({ "token": token, "password": THIRD_PASSWORD })).await;
    assert_eq!((used.status, &used.json()["code"]), (422, &json!("invalid-token")));

    assert_eq!(client.login("ann@example.org", OTHER_PASSWORD).await.status, 303);
    let phone = app.client();
    phone.login("ann@example.org", OTHER_PASSWORD).await;
    let wrong = json!({ "current_password": PASSWORD, "password": THIRD_PASSWORD });
    let wrong = client.post_json("/api/v1/me/password", &wrong).await;
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["field"]), (422, &json!("current_password")));
    let right = json!({ "current_password": OTHER_PASSWORD, "password": THIRD_PASSWORD });
    assert_eq!(client.post_json("/api/v1/me/password", &right).await.status, 204);
    assert!(is_signed_in(&client).await && !is_signed_in(&phone).await);

    phone.login("ann@example.org", THIRD_PASSWORD).await;
    let delete = async |client: &HttpClient, path: &str| {
        let request = client.http.delete(format!("{}{path}", client.url)).header("sec-fetch-site", "same-origin");
        client.send(request).await.status
    };
    let items = client.get("/api/v1/me/sessions").await.json()["items"].as_array().unwrap().clone();
    let other = items.iter().find(|one| one["current"] == json!(false)).unwrap()["id"].as_str().unwrap();
    assert_eq!(delete(&client, &format!("/api/v1/me/sessions/{other}")).await, 204);
    assert_eq!(delete(&client, &format!("/api/v1/me/sessions/{other}")).await, 404, "gone");
    assert!(!is_signed_in(&phone).await);
    phone.login("ann@example.org", THIRD_PASSWORD).await;
    assert_eq!(delete(&client, "/api/v1/me/sessions").await, 204);
    assert!(!is_signed_in(&phone).await && is_signed_in(&client).await);
    assert_eq!(delete(&app.client(), "/api/v1/me/sessions").await, 401);
    app.settle().await;
}

async fn a_name_and_a_language_are_changed_by_their_owner(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    let form = ann.get("/account/profile").await.body;
    assert!(
        form.contains("value=\"Ann\"") && form.contains("value=\"en\" autocomplete=\"language\" checked"),
        "{form}"
    );
    let wrong = ann.post("/account/profile", &[("name", " "), ("locale", "tlh")]).await;
    assert!(
        wrong.status == 422 && wrong.body.contains("tell us your name") && wrong.body.contains("one of the languages")
    );
    let saved = ann.post("/account/profile", &[("name", "Ann Lee"), ("locale", "zh-CN")]).await;
    assert_eq!((saved.status, saved.header("location")), (303, "/account"));
    let account = ann.get("/account").await.body;
    assert!(account.contains("Ann Lee") && account.contains("<html lang=\"zh-CN\""), "{account}");
    let patch = async |body: serde_json::Value| {
        let request = ann.http.patch(format!("{}/api/v1/me", ann.url)).header("sec-fetch-site", "same-origin");
        ann.send(request.json(&body)).await
    };
    let changed = patch(json!({ "name": "Anna" })).await;
    assert_eq!((changed.status, &changed.json()["user"]["name"]), (200, &json!("Anna")));
    assert_eq!(changed.json()["user"]["locale"], "zh-CN", "what is left out stays");
    let wrong = patch(json!({ "locale": "tlh" })).await;
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["field"]), (422, &json!("locale")));
    assert_eq!(patch(json!({ "admin": true })).await.status, 422, "nothing else is bound");
    assert_eq!(patch(json!({})).await.status, 200);
    app.settle().await;
    let (told,): (i64,) =
        app.db().query("select count(*) from outbox where type = 'user.updated'").one().await.unwrap();
    assert_eq!(told, 2, "what stays as it was is no event");
    assert_eq!(app.client().get("/account/profile").await.status, 303);
}

async fn the_whole_log_is_read_page_by_page_and_by_what_was_refused(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    for attempt in 0..60 {
        let password = if attempt % 20 == 0 { OTHER_PASSWORD } else { PASSWORD };
        app.client().login("ann@example.org", password).await;
    }
    app.settle().await;
    let rows = |page: &str| page.matches("<tr role=\"row\" class=").count();
    let first = ann.get("/account/activity").await.body;
    assert_eq!(rows(&first), 50);
    let older = first.split("href=\"/account/activity?before=").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let second = ann.get(&format!("/account/activity?before={older}")).await.body;
    assert_eq!(rows(&second), 11, "sixty and the confirmation");
    assert!(!second.contains("href=\"/account/activity?before="), "there is nothing older");
    let refused = ann.get("/account/activity?show=refused").await.body;
    assert_eq!((rows(&refused), refused.matches("class=\"refused\"").count()), (3, 3));
    for odd in ["?before=x", "?before=00000000-0000-0000-0000-000000000000", "?show=all"] {
        assert_eq!(ann.get(&format!("/account/activity{odd}")).await.status, 200, "{odd}");
    }
}
