//! What others try: on the person's own machine afterwards, from their own sites, with their own names.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};

use crate::support::app::{OTHER_PASSWORD, PASSWORD, Stack, TestApp};
use crate::support::browser::Options;
use crate::support::ports;

use super::visit::Visit;

/// Names that would run in a page that believes them.
const NAMES: [&str; 4] = [
    "<script>window.ran = 1; alert(1)</script>",
    "\"><img src=x onerror=\"window.ran = 1; alert(1)\">",
    "</title><svg/onload=\"window.ran = 1; alert(1)\">{{7*7}}",
    "' autofocus onfocus='window.ran = 1; alert(1)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_never_runs_and_nothing_is_left_to_see_after_signing_out() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    for (number, name) in NAMES.into_iter().enumerate() {
        let email = format!("ann{number}@example.org");
        visit.open("/register").await;
        visit.fill(&[("name", name), ("email", &email), ("password", "short")]).await;
        visit.press("main form button[type=submit]").await;
        visit.see("[role=alert]").await;
        assert_eq!(visit.property("#name", "value").await, name);
        visit.fill(&[("password", PASSWORD)]).await;
        visit.press("main form button[type=submit]").await;
        visit.see("[data-delivery=sent]").await;
        visit.press("main a[href='/mailbox']").await;
        visit.press("td.what a").await;
        assert!(visit.text(".letter pre").await.starts_with("Hello"));
        visit.press(".letter pre a").await;
        visit.press("main form button[type=submit]").await;
        visit.arrive("/account").await;
        assert_eq!(visit.text("h1").await, format!("Good to see you, {name}."));
        visit.open("/").await;
        assert!(visit.text(".signed-in").await.contains(name));
        // a dialog would have made any of these commands fail
        assert_eq!(visit.script("return window.ran === undefined").await, true);

        visit.open("/account").await;
        visit.sign_out().await;
        visit.back().await.unwrap();
        visit.arrive("/login").await;
        let page = visit.source().await.unwrap();
        assert!(!page.contains(&email), "the way back shows nothing: {page}");
    }
    visit.end(&["/register: 422"]).await;
}

/// Whatever a form can be sent to.
const DOORS: [&str; 7] =
    ["/login", "/logout", "/register", "/confirm", "/api/v1/logout", "/api/v1/login", "/api/v1/register"];

/// A site with a form for each of the doors, in their order; its port.
async fn another_site(home: &str) -> u16 {
    let (email, other, password) = ("mallory@example.org", "new@example.org", OTHER_PASSWORD);
    let form = |path: &str, fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, value)| format!("<input name='{name}' value='{value}'>"));
        format!("<form method=post action='{home}{path}'>{}<button>go</button></form>", fields.collect::<String>())
    };
    let json = |path: &str, body: &Value| {
        let text = body.to_string();
        let (start, end) = text.split_at(text.len() - 2);
        // name=value, as text/plain is sent, with the = inside of a JSON text
        let fields = form(path, &[(&format!("{start}x"), end)]);
        fields.replace("method=post", "method=post enctype=text/plain")
    };
    let [login, logout, register, confirm, api_logout, api_login, api_register] = DOORS;
    let page = [
        form(login, &[("email", email), ("password", password)]),
        form(logout, &[]),
        form(register, &[("email", other), ("password", password), ("name", "Mallory")]),
        form(confirm, &[("token", "x"), ("password", password)]),
        form(api_logout, &[]),
        json(api_login, &json!({"email": email, "password": password})),
        json(api_register, &json!({"email": other, "password": password, "name": "Mallory"})),
    ];
    let page = format!("<!doctype html><title>Win a prize</title>{}", page.concat());
    let listener = ports::listen().await;
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(|| async { Html(page) }))).await });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_signs_nobody_in_or_out() {
    let app = TestApp::start(Stack::Small).await;
    app.signed_in_client("ann@example.org").await;
    let mallory = app.client();
    mallory.register("mallory@example.org", OTHER_PASSWORD, "Mallory").await;
    app.settle().await;
    let token = app.mails_to("mallory@example.org").await[0].token().unwrap();
    assert_eq!(mallory.post("/confirm", &[("token", &token)]).await.status, 303);
    let visit = Visit::begin(&app, Options::default()).await;
    visit.open("/login").await;
    visit.sign_in("ann@example.org", PASSWORD).await;
    visit.arrive("/account").await;
    app.settle().await;

    let all = async || {
        let mut all = String::new();
        for table in ["users", "registrations", "sessions", "login_log", "outbox"] {
            all.push_str(&app.dump(table).await);
        }
        let found = visit.devtools("Network.getCookies", json!({"urls": [app.url]})).await;
        let mut cookies = found["cookies"].as_array().expect("a list").clone();
        // the browser has them in no particular order
        cookies.sort_by_key(|cookie| cookie["name"].to_string());
        (all, cookies)
    };
    let before = all().await;
    // the session and the device
    assert_eq!(before.1.len(), 2, "{:?}", before.1);
    let port = another_site(&app.url).await;
    // the first is of our site, though not of our origin; the second is a stranger
    for host in ["127.0.0.1", "localhost"] {
        for (form, path) in DOORS.into_iter().enumerate() {
            visit.open(&format!("http://{host}:{port}/")).await;
            visit.press(&format!("form:nth-of-type({}) button", form + 1)).await;
            visit.arrive(path).await;
            let refusal = visit.text("body").await;
            assert!(refusal.contains("403"), "{path} from {host}: {refusal}");
        }
    }
    assert_eq!(all().await, before);
    visit.open("/account").await;
    visit.arrive("/account").await;
    assert!(visit.text("main").await.contains("ann@example.org"), "still the same person");
}
