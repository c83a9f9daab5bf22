//! The whole story: register, wait, confirm, sign out, sign in, and find it in the log.

use crate::support::app::{OTHER_PASSWORD, PASSWORD, Stack, TestApp};
use crate::support::browser::Options;
use crate::support::smtp::{Phase, Script, Step};

use super::visit::Visit;

const EMAIL: &str = "ann@example.org";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_finds_every_step_in_one_tab_with_nothing_configured() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    register(&visit).await;
    assert_eq!(visit.text("[data-delivery=sent] .trail span:last-of-type").await, "Handed over");
    assert!(visit.text(".delivery-words").await.contains("local mailbox"), "there is no other inbox to look into");
    visit.press("main a[href='/mailbox']").await;
    confirm_from_the_mailbox(&visit).await;
    come_back(&app, &visit).await;
    visit.end(&["/login: 422"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_page_follows_its_mail_to_the_account() {
    let app = TestApp::start(Stack::Large).await;
    let sink = app.sink.as_ref().unwrap();
    sink.set(Script::default().on(Phase::Rcpt, Step::reply("451 4.7.1 greylisted")));
    let visit = Visit::begin(&app, Options::default()).await;
    register(&visit).await;
    visit.script("window.same = true").await;
    visit.see("[data-delivery=delayed]").await;
    assert!(visit.text(".delivery-words").await.contains("We keep trying"));
    sink.set(Script::default());
    visit.see("[data-delivery=sent]").await;
    assert!(visit.text(".delivery-words").await.contains("Look in your inbox"));
    assert_eq!(visit.script("return window.same").await, true, "the script did it, no new page");
    assert!(visit.find_all(fantoccini::Locator::Css("a[href='/mailbox']")).await.unwrap().is_empty());

    let waiting = visit.window().await.unwrap();
    let tab = visit.new_window(true).await.unwrap().handle;
    visit.switch_to_window(tab).await.unwrap();
    let link = app.mails_to(EMAIL).await.remove(0);
    visit.open(&format!("/confirm?token={}", link.token().unwrap())).await;
    visit.press("form button[type=submit]").await;
    visit.arrive("/account").await;
    visit.close_window().await.unwrap();
    visit.switch_to_window(waiting).await.unwrap();
    visit.arrive("/account").await;
    come_back(&app, &visit).await;
    visit.end(&["/login: 422"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_without_javascript() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options { javascript: false, ..Options::default() }).await;
    register(&visit).await;
    visit.see("[data-delivery=sent]").await;
    let waiting = visit.window().await.unwrap();
    let tab = visit.new_window(true).await.unwrap().handle;
    visit.switch_to_window(tab).await.unwrap();
    visit.open("/mailbox").await;
    confirm_from_the_mailbox(&visit).await;
    visit.close_window().await.unwrap();
    visit.switch_to_window(waiting).await.unwrap();
    // the page reloads itself
    visit.arrive("/account").await;
    come_back(&app, &visit).await;
    visit.end(&["/login: 422"]).await;
}

async fn register(visit: &Visit) {
    visit.open("/").await;
    visit.press(".hero a[href='/register']").await;
    visit.arrive("/register").await;
    visit.fill(&[("name", "Ann Porter"), ("email", EMAIL), ("password", PASSWORD)]).await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/register/sent").await;
    assert_eq!(visit.text("h1").await, "Check your inbox");
    assert_eq!(visit.text(".destination").await, EMAIL);
}

async fn confirm_from_the_mailbox(visit: &Visit) {
    visit.arrive("/mailbox").await;
    visit.press("td.what a").await;
    assert_eq!(visit.text(".letter h1").await, "Please confirm your email address");
    assert!(visit.text(".letter pre").await.starts_with("Hello,"));
    visit.press(".letter pre a").await;
    visit.arrive("/confirm").await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/account").await;
}

/// From the account just confirmed, out and in again, once with a slip.
async fn come_back(app: &TestApp, visit: &Visit) {
    assert_eq!(visit.text("h1").await, "Good to see you, Ann Porter.");
    let first = visit.text(".rows tbody tr:nth-child(1)").await;
    assert!(first.contains("Signed in") && first.contains("The session you are looking from"), "{first}");
    visit.sign_out().await;
    visit.press("nav a[href='/login']").await;
    visit.arrive("/login").await;
    visit.sign_in(EMAIL, OTHER_PASSWORD).await;
    visit.see("[role=alert]").await;
    visit.sign_in(EMAIL, PASSWORD).await;
    visit.arrive("/account").await;
    // F10: at once, whether or not the log has it
    let row = visit.text(".rows tbody tr:nth-child(1)").await;
    assert!(row.contains("Signed in") && row.contains("The session you are looking from"), "{row}");
    app.settle().await;
    visit.refresh().await.unwrap();
    let row = visit.text(".rows tbody tr:nth-child(1)").await;
    assert!(row.contains("Signed in") && row.contains("Chrome on Linux") && row.contains("127.0.0.1"), "{row}");
    let slip = visit.text(".rows tbody tr:nth-child(2)").await;
    assert!(slip.contains("Sign-in refused: wrong password"), "{slip}");
    let begun = visit.text(".rows tbody tr:nth-child(3)").await;
    assert!(begun.contains("Signed in by confirming the address"), "{begun}");
    visit.sign_out().await;
}
