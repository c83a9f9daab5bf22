//! The real Chromium.

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::response::Html;
use axum::routing::get;
use fantoccini::Locator;
use serde_json::json;

use crate::support::browser::{Browser, Options};
use crate::support::{ports, processes};

/// A page that says which language was asked for and whether its script ran; its address.
async fn page() -> String {
    let answer = |headers: HeaderMap| async move {
        let language = headers.get(ACCEPT_LANGUAGE).map_or("", |value| value.to_str().expect("ASCII")).to_owned();
        Html(format!(
            "<p id=language>{language}</p><p id=script>off</p>\
             <script>document.getElementById('script').textContent = 'on'</script>"
        ))
    };
    let listener = ports::listen().await;
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(answer))).await });
    format!("http://{address}/")
}

async fn text(browser: &Browser, selector: &str) -> String {
    browser.find(Locator::Css(selector)).await.expect("it is on the page").text().await.expect("it has a text")
}

#[tokio::test]
async fn it_opens_a_page_takes_its_picture_and_leaves_no_process() {
    let browser = Browser::open(Options::default()).await;
    browser.goto("data:text/html,<title>Lobby</title><h1>Welcome</h1>").await.expect("the page opens");
    assert_eq!(browser.title().await.expect("a title"), "Lobby");
    assert_eq!(text(&browser, "h1").await, "Welcome");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("lobby.png");
    browser.screenshot(&file).await;
    assert!(std::fs::read(file).expect("a file").starts_with(b"\x89PNG"));

    let all = browser.processes();
    assert!(all.len() > 2 && all.iter().all(|&pid| processes::alive(pid)), "driver, browser, renderers: {all:?}");
    drop(browser);
    assert!(!all.iter().any(|&pid| processes::alive(pid)), "one of {all:?} is still there");
}

#[tokio::test]
async fn it_looks_with_the_eyes_of_the_person() {
    let address = page().await;
    let person = Options { size: (390, 844), dark: true, language: "zh-CN", ..Options::default() };
    let browser = Browser::open(person).await;
    browser.goto(&address).await.expect("the page opens");
    assert_eq!(text(&browser, "#script").await, "on");
    assert!(text(&browser, "#language").await.starts_with("zh-CN"), "{}", text(&browser, "#language").await);
    let seen = browser
        .execute(
            "return [innerWidth, innerHeight, matchMedia('(prefers-color-scheme: dark)').matches, navigator.language]",
            vec![],
        )
        .await
        .expect("scripts run");
    assert_eq!(seen, json!([390, 844, true, "zh-CN"]));
}

#[tokio::test]
async fn it_looks_without_javascript() {
    let address = page().await;
    let browser = Browser::open(Options { javascript: false, ..Options::default() }).await;
    browser.goto(&address).await.expect("the page opens");
    assert_eq!(text(&browser, "#script").await, "off");
    assert!(text(&browser, "#language").await.starts_with("en"));
}
