//! After signing out nothing of the person is to be seen again: not by the way back, not in another tab (F14).

use serde_json::json;

use crate::support::app::{PASSWORD, Stack, TestApp, within};
use crate::support::browser::Options;

use super::visit::Visit;

const EMAIL: &str = "ann@example.org";

/// Notes in the tab's own storage, which outlives its pages, what is to be seen at the moment a kept page comes back.
const WATCH: &str = "addEventListener('pageshow', (event) => {
    const seen = document.documentElement.checkVisibility() ? 'something' : 'nothing';
    sessionStorage.setItem('back', JSON.stringify({ kept: event.persisted, seen }));
})";
const BACK: &str = "return JSON.parse(sessionStorage.getItem('back')) ?? {}";

async fn signed_in() -> (TestApp, Visit) {
    let app = TestApp::start(Stack::Small).await;
    app.signed_in_client(EMAIL).await;
    let visit = Visit::begin(&app, Options::default()).await;
    visit.open("/login").await;
    visit.sign_in(EMAIL, PASSWORD).await;
    visit.arrive("/account").await;
    app.settle().await;
    (app, visit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_after_signing_out_shows_nothing_of_the_person() {
    let (_app, visit) = signed_in().await;
    visit.script(WATCH).await;
    visit.sign_out().await;
    visit.back().await.unwrap();
    visit.arrive("/login").await;
    // whether the browser keeps the page is its own affair
    assert_ne!(visit.script(BACK).await["seen"], "something");
    assert!(!visit.source().await.unwrap().contains(EMAIL));
    visit.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_the_browser_kept_whole_is_out_of_sight_until_the_server_has_been_asked() {
    let (app, visit) = signed_in().await;
    // Chromium keeps no page that hears a stream which may not be stored
    visit.open("/account/profile").await;
    visit.script(WATCH).await;
    end_all_sessions(&app).await;
    visit.open("about:blank").await;
    visit.back().await.unwrap();
    visit.arrive("/login").await;
    assert_eq!(visit.script(BACK).await, json!({"kept": true, "seen": "nothing"}));
    visit.end(&[]).await;
}

async fn end_all_sessions(app: &TestApp) {
    let mut tx = app.db().begin().await.unwrap();
    tx.query("delete from sessions").execute().await.unwrap();
    tx.commit().await.unwrap();
    // the node remembers who is signed in for less than this
    app.clock().advance(std::time::Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_shows_the_account_while_one_is_signed_in_and_no_password_that_was_typed() {
    let (_app, visit) = signed_in().await;
    visit.script(WATCH).await;
    visit.press("footer a[href='/api']").await;
    visit.arrive("/api").await;
    visit.back().await.unwrap();
    visit.arrive("/account").await;
    assert!(visit.text("main").await.contains(EMAIL));
    visit.sign_out().await;

    visit.open("/login").await;
    visit.fill(&[("email", EMAIL), ("password", PASSWORD)]).await;
    visit.press(".stub a[href^='/register']").await;
    visit.arrive("/register").await;
    visit.back().await.unwrap();
    visit.arrive("/login").await;
    assert_eq!(visit.property("#email", "value").await, EMAIL, "what is no secret is there to go on with");
    assert_eq!(visit.property("#password", "value").await, "");
    visit.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tab_leaves_too_when_one_signs_out_or_another_person_signs_in() {
    let (app, visit) = signed_in().await;
    let waiting = visit.window().await.unwrap();
    let tab = visit.new_window(true).await.unwrap().handle;
    visit.switch_to_window(tab).await.unwrap();
    visit.open("/account").await;
    visit.sign_out().await;
    visit.switch_to_window(waiting).await.unwrap();
    visit.arrive("/login").await;
    assert!(!visit.source().await.unwrap().contains(EMAIL));

    // a session that ends elsewhere is noticed when the page is looked at
    visit.sign_in(EMAIL, PASSWORD).await;
    visit.arrive("/account").await;
    app.settle().await;
    end_all_sessions(&app).await;
    within("the page to leave", async || {
        // Chromium without a screen shows all tabs at once
        visit.script("document.dispatchEvent(new Event('visibilitychange'))").await;
        visit.current_url().await.unwrap().path() == "/login"
    })
    .await;
    visit.end(&["/api/v1/me: 401"]).await;
}
