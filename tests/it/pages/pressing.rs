//! Keys and clicks: Tab, Enter, a click too many, another language.

use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;

use crate::support::app::{PASSWORD, Stack, TestApp};
use crate::support::browser::Options;

use super::visit::Visit;

const EMAIL: &str = "ann@example.org";

/// Types into what has the focus.
async fn type_on(visit: &Visit, text: &str) {
    visit.active_element().await.unwrap().send_keys(text).await.unwrap();
}

/// F16.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tab_goes_from_field_to_field_and_enter_sends_the_form() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    let (tab, enter) = (char::from(Key::Tab).to_string(), char::from(Key::Enter).to_string());
    visit.open("/register").await;
    visit.press("#name").await;
    for typed in ["Ann", &tab, EMAIL, &tab, PASSWORD] {
        type_on(&visit, typed).await;
    }
    visit.focuses("#password").await;
    type_on(&visit, &tab).await;
    visit.focuses(".reveal").await;
    type_on(&visit, &tab).await;
    visit.focuses("main form button[type=submit]").await;
    visit.press("#password").await;
    type_on(&visit, &enter).await;
    visit.arrive("/register/sent").await;
    app.settle().await;
    let token = app.mails_to(EMAIL).await[0].token().unwrap();
    visit.open(&format!("/confirm?token={token}")).await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/account").await;
    visit.sign_out().await;

    visit.open("/login").await;
    visit.press("#email").await;
    for typed in [EMAIL, &tab, PASSWORD, &enter] {
        type_on(&visit, typed).await;
    }
    visit.arrive("/account").await;
    app.settle().await;
    visit.end(&[]).await;
}

/// F19, F54: with the script the second press goes nowhere, without it the server makes one of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_click_is_one_registration_and_one_confirmation() {
    let app = TestApp::start(Stack::Small).await;
    for javascript in [true, false] {
        let email = format!("ann-{javascript}@example.org");
        let visit = Visit::begin(&app, Options { javascript, ..Options::default() }).await;
        visit.open("/register").await;
        visit.fill(&[("name", "Ann"), ("email", &email), ("password", PASSWORD)]).await;
        double_click(&visit).await;
        visit.arrive("/register/sent").await;
        app.settle().await;
        assert_eq!(app.mails_to(&email).await.len(), 1);
        let token = app.mails_to(&email).await[0].token().unwrap();
        visit.open(&format!("/confirm?token={token}")).await;
        double_click(&visit).await;
        visit.arrive("/account").await;
        app.settle().await;
        visit.end(&[]).await;
    }
}

/// Two clicks on the button of the form, the second before the first has led anywhere.
async fn double_click(visit: &Visit) {
    let button = visit.find(Locator::Css("main form button[type=submit]")).await.unwrap();
    let (x, y, width, height) = button.rectangle().await.unwrap();
    visit.script("scrollTo(0, 0)").await;
    for kind in ["mousePressed", "mouseReleased", "mousePressed", "mouseReleased"] {
        let (x, y) = (x + width / 2.0, y + height / 2.0);
        visit
            .devtools(
                "Input.dispatchMouseEvent",
                json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}),
            )
            .await;
    }
}

/// F19.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_shows_that_it_works_and_rests_when_the_page_comes_back() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    visit.open("/login").await;
    visit.press("#email").await;
    let pressed = visit
        .script(
            "const button = document.querySelector('main form button[type=submit]');
             const sent = [];
             button.form.addEventListener('submit', (event) => { sent.push(event.defaultPrevented); event.preventDefault(); });
             button.click(); button.click();
             return [button.ariaBusy, sent];",
        )
        .await;
    assert_eq!(pressed, json!(["true", [false, true]]));
    visit.open("about:blank").await;
    visit.back().await.unwrap();
    visit.arrive("/login").await;
    assert_eq!(visit.script("return document.querySelector('[aria-busy]')").await, json!(null));
    visit.end(&[]).await;
}

/// F18.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_language_is_switched_where_one_is_and_stays() {
    let app = TestApp::start(Stack::Small).await;
    for javascript in [true, false] {
        let visit = Visit::begin(&app, Options { javascript, language: "fr", ..Options::default() }).await;
        visit.open("/login?next=%2Fapi").await;
        assert_eq!(visit.text(".languages [aria-current]").await, "English");
        visit.press(".languages [lang=zh-CN]").await;
        visit.see("html[lang=zh-CN]").await;
        assert!(visit.current_url().await.unwrap().as_str().ends_with("/login?next=%2Fapi"));
        assert_eq!(visit.text("h1").await, "登录");
        visit.open("/nowhere").await;
        assert_eq!(visit.text(".languages [aria-current]").await, "简体中文");
        visit.press(".languages [lang=en]").await;
        visit.see("html[lang=en]").await;
        visit.end(&["/nowhere: 404"]).await;
    }
}
