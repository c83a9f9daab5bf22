//! Every page, on a desk and a telephone, by day and by night, in both languages, with texts that are as long as allowed.

use serde_json::{Value, json};

use crate::support::app::{PASSWORD, Stack, TestApp, within};
use crate::support::browser::Options;

use super::visit::Visit;

/// Nothing of it can be broken at a blank.
fn long_name() -> String {
    "W".repeat(100)
}

fn long_address(locale: &str) -> String {
    format!("{}@{}.{locale}.example", "m".repeat(64), "w".repeat(63))
}

async fn set_language(visit: &Visit, language: &str) {
    let agent = visit.script("return navigator.userAgent").await;
    visit.devtools("Emulation.setUserAgentOverride", json!({"userAgent": agent, "acceptLanguage": language})).await;
}

/// Looks at the page that is open; what it is shall be its first heading's text, so that the right page is looked at.
async fn look(visit: &Visit, language: &str, heading: &str) {
    assert!(visit.text("h1").await.contains(heading), "{heading}: {}", visit.text("h1").await);
    assert_eq!(visit.script("return document.documentElement.lang").await, language, "{heading}");
    for (width, height) in [(1280, 900), (390, 844)] {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        visit.devtools("Emulation.setDeviceMetricsOverride", screen).await;
        within("the width", async || visit.script("return innerWidth").await == width).await;
        let mut grounds = Vec::new();
        for scheme in ["light", "dark"] {
            let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            visit.devtools("Emulation.setEmulatedMedia", media).await;
            let seen: Value = visit
                .script(
                    "const all = document.documentElement;
                     return {
                       wide: all.scrollWidth - all.clientWidth,
                       ground: getComputedStyle(document.body).backgroundColor,
                       small: [...document.querySelectorAll('main .button, main input:not([type=hidden], [type=checkbox]), main label:has([type=checkbox])')]
                         .filter(it => it.getBoundingClientRect().height < 44).length,
                     }",
                )
                .await;
            let place = format!("{heading} in {language}, {width} wide, {scheme}");
            assert_eq!(seen["wide"], 0, "it can be pushed aside: {place}");
            assert_eq!(seen["small"], 0, "a finger misses it: {place}");
            grounds.push(seen["ground"].clone());
        }
        assert_ne!(grounds[0], grounds[1], "day and night: {heading}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_a_desk_and_a_telephone_by_day_and_by_night_in_both_languages() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    for (language, words) in [
        (
            "en",
            [
                "Check in now.",
                "Create your account",
                "Sign in",
                "API",
                "Nothing at this address",
                "Check your inbox",
                "This link does not work",
                "Local mailbox",
                "Please confirm",
                "Confirm your address",
                "Good to see you",
            ],
        ),
        (
            "zh-CN",
            [
                "先办入住",
                "创建账号",
                "登录",
                "API",
                "这里什么也没有",
                "请查收邮件",
                "这个链接已无法使用",
                "本地邮箱",
                "请确认您的邮箱",
                "确认邮箱",
                "您好",
            ],
        ),
    ] {
        set_language(&visit, language).await;
        let [home, register, login, api, nowhere, sent, invalid, mailbox, mail, confirm, account] = words;
        for (path, heading) in [
            ("/", home),
            ("/register", register),
            ("/login", login),
            ("/api", api),
            ("/nowhere", nowhere),
            ("/register/sent", sent),
            ("/confirm?token=x", invalid),
        ] {
            visit.open(path).await;
            look(&visit, language, heading).await;
        }
        let (name, email) = (long_name(), long_address(&language.to_lowercase()));
        visit.open("/login").await;
        visit.sign_in(&email, PASSWORD).await;
        visit.see("[role=alert]").await;
        look(&visit, language, login).await;
        visit.open("/register").await;
        visit.fill(&[("name", &name), ("email", &email), ("password", "short")]).await;
        visit.press("main form button[type=submit]").await;
        visit.see("[role=alert]").await;
        look(&visit, language, register).await;
        visit.fill(&[("password", PASSWORD)]).await;
        visit.press("main form button[type=submit]").await;
        visit.see("[data-delivery=sent]").await;
        look(&visit, language, sent).await;
        visit.open("/register/sent?correct=").await;
        visit.see("#email").await;
        look(&visit, language, sent).await;
        visit.open("/mailbox").await;
        look(&visit, language, mailbox).await;
        visit.press("td.what a").await;
        visit.see(".letter").await;
        look(&visit, language, mail).await;
        visit.press(".letter pre a").await;
        visit.arrive("/confirm").await;
        look(&visit, language, confirm).await;
        visit.press("main form button[type=submit]").await;
        visit.arrive("/account").await;
        look(&visit, language, account).await;
        // a session more, and a failure: rows in the log
        assert_eq!(app.client().login(&email, "wrong").await.status, 422);
        assert_eq!(app.client().login(&email, PASSWORD).await.status, 303);
        app.settle().await;
        visit.refresh().await.unwrap();
        visit.see(".rows .refused").await;
        look(&visit, language, account).await;
        visit.sign_out().await;
    }
    visit.end(&["/nowhere: 404", "/confirm: 404", "/login: 422", "/register: 422"]).await;
}
