//! Pages that follow what happens elsewhere: in another browser, on another device.

use serde_json::json;

use crate::support::app::{PASSWORD, Stack, TestApp, within};
use crate::support::browser::Options;
use crate::support::smtp::{Script, Step};

use super::visit::Visit;

const EMAIL: &str = "ann@example.org";
const PHONE: (u32, u32) = (390, 844);

async fn register(visit: &Visit, email: &str) {
    visit.open("/register").await;
    visit.fill(&[("name", "Ann"), ("email", email), ("password", PASSWORD)]).await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/register/sent").await;
}

/// Presses the link in a browser of its own, where the password is asked for.
async fn confirm_elsewhere(app: &TestApp) {
    let other = Visit::begin(app, Options { size: PHONE, ..Options::default() }).await;
    let token = app.mails_to(EMAIL).await.last().unwrap().token().unwrap();
    other.open(&format!("/confirm?token={token}")).await;
    other.fill(&[("password", PASSWORD)]).await;
    other.press("main form button[type=submit]").await;
    other.arrive("/account").await;
    other.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_page_moves_on_when_the_link_is_pressed_in_another_browser() {
    for javascript in [true, false] {
        let app = TestApp::start(Stack::Small).await;
        let visit = Visit::begin(&app, Options { javascript, ..Options::default() }).await;
        register(&visit, EMAIL).await;
        visit.see("[data-delivery=sent]").await;
        confirm_elsewhere(&app).await;
        visit.arrive("/login").await;
        assert!(visit.text("[role=status]").await.contains("Your address is confirmed"));
        visit.sign_in(EMAIL, PASSWORD).await;
        visit.arrive("/account").await;
        app.settle().await;
        visit.end(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_was_refused_is_corrected_where_one_is_on_a_telephone_too() {
    for javascript in [true, false] {
        let app = TestApp::mailing(Stack::Small, |_| {}).await;
        let sink = app.sink.as_ref().unwrap();
        sink.set(Script::default().on_recipient("typo@example.org", Step::reply("550 5.1.1 no such user")));
        let visit = Visit::begin(&app, Options { javascript, size: PHONE, ..Options::default() }).await;
        register(&visit, "typo@example.org").await;
        visit.see("[data-delivery=rejected]").await;
        visit.see("form[action='/register/correct'] #email").await;
        assert_eq!(visit.property("#email", "value").await, "typo@example.org");
        visit.fill(&[("email", "no address")]).await;
        visit.press("form[action='/register/correct'] button").await;
        visit.see("[role=alert]").await;
        assert_eq!(visit.property("#email", "value").await, "no address");
        visit.fill(&[("email", EMAIL)]).await;
        visit.press("form[action='/register/correct'] button").await;
        visit.see("[data-delivery=sent]").await;
        assert_eq!(visit.text(".destination").await, EMAIL);
        // another mail, and the way to the form while nothing was refused
        visit.press("form[action='/register/resend'] button").await;
        visit.see(".notice.good").await;
        within("the second mail", async || app.mails_to(EMAIL).await.len() == 2).await;
        visit.press("[data-correct]").await;
        visit.see("form[action='/register/correct'] #email").await;
        assert_eq!(visit.property("#email", "value").await, EMAIL);
        app.settle().await;
        visit.end(&["/register/correct: 422"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_account_shows_a_new_sign_in_and_leaves_when_its_session_is_ended_elsewhere() {
    let app = TestApp::start(Stack::Small).await;
    app.signed_in_client(EMAIL).await;
    let elsewhere = app.client();
    for path in ["/account", "/account/sessions"] {
        let visit = Visit::begin(&app, Options::default()).await;
        visit.open("/login").await;
        visit.sign_in(EMAIL, PASSWORD).await;
        visit.arrive("/account").await;
        visit.open(path).await;
        visit.script("window.same = true").await;
        let rows = "return document.querySelectorAll('[data-events] tbody tr').length";
        let before = visit.script(rows).await.as_u64().unwrap();
        assert_eq!(elsewhere.login(EMAIL, PASSWORD).await.status, 303);
        // a client that signs in again has another session in the place of the one before
        within("the sign-in to be seen", async || {
            let sessions = elsewhere.get("/api/v1/me/sessions").await.json();
            let new = sessions["items"].as_array().unwrap().iter().find(|one| one["current"] == true).unwrap().clone();
            let row = format!("[data-session='{}']", new["id"].as_str().unwrap());
            visit.script(&format!("return document.querySelector(\"{row}\") !== null")).await == true
        })
        .await;
        assert!(visit.script(rows).await.as_u64().unwrap() >= before.min(2), "on {path}");
        assert_eq!(visit.script("return document.querySelector('[data-told]').textContent !== ''").await, true);
        assert_eq!(visit.script("return window.same").await, true, "the script did it, no new page");
        assert_eq!(elsewhere.post("/account/sessions/end-others", &[]).await.status, 303);
        visit.arrive("/login").await;
        assert!(!visit.source().await.unwrap().contains(EMAIL));
        app.settle().await;
        visit.end(&[]).await;
    }
}

/// Past the places there are a page asks now and then, and shows the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_without_a_stream_follows_its_mail_all_the_same() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    let blocked = json!({ "urls": ["*/register/sent/events*"] });
    visit.devtools("Network.enable", json!({})).await;
    visit.devtools("Network.setBlockedURLs", blocked).await;
    register(&visit, EMAIL).await;
    visit.see("[data-delivery=sent]").await;
    visit.script("window.same = true").await;
    confirm_elsewhere(&app).await;
    visit.arrive("/login").await;
    app.settle().await;
}
