//! What a form does when something is wrong with it, and what it does for those who do not type.

use fantoccini::elements::Element;
use serde_json::json;

use crate::support::app::{Letter, OTHER_PASSWORD, PASSWORD, Stack, TestApp};
use crate::support::browser::Options;

use super::visit::Visit;

const EMAIL: &str = "ann@example.org";

async fn top(element: &Element) -> f64 {
    element.rectangle().await.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_stands_beside_its_field_and_only_the_password_is_typed_again() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    visit.open("/register").await;
    visit.fill(&[("name", "Ann Porter"), ("email", "ann at example"), ("password", "short")]).await;
    visit.press("main form button[type=submit]").await;

    let summary = visit.see("[role=alert]").await;
    visit.focuses("[role=alert]").await;
    assert_eq!(summary.find_all(fantoccini::Locator::Css("a")).await.unwrap().len(), 2);
    for (field, below, words) in [("email", "password", "name@example.org"), ("password", "", "15 characters")] {
        let mistake = visit.see(&format!("#{field}-mistake")).await;
        assert!(mistake.text().await.unwrap().contains(words));
        let at = top(&mistake).await;
        assert!(at > top(&visit.see(&format!("#{field}")).await).await, "below its field");
        if !below.is_empty() {
            assert!(at < top(&visit.see(&format!("#{below}")).await).await, "and above the next");
        }
        let input = visit.see(&format!("#{field}")).await;
        assert_eq!(input.attr("aria-invalid").await.unwrap().as_deref(), Some("true"));
        let described = input.attr("aria-describedby").await.unwrap().unwrap();
        assert!(described.contains(&format!("{field}-mistake")), "{described}");
        visit.press(&format!("[role=alert] a[href='#{field}']")).await;
        visit.focuses(&format!("#{field}")).await;
    }
    assert_eq!(visit.property("#name", "value").await, "Ann Porter");
    assert_eq!(visit.property("#email", "value").await, "ann at example");
    assert_eq!(visit.property("#password", "value").await, "");
    assert_eq!(visit.see("#name").await.attr("aria-invalid").await.unwrap(), None);
    assert!(visit.title().await.unwrap().starts_with("Please correct"));

    visit.fill(&[("email", EMAIL), ("password", PASSWORD)]).await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/register/sent").await;
    app.settle().await;

    visit.open("/login").await;
    visit.sign_in(EMAIL, PASSWORD).await;
    visit.focuses("[role=alert]").await;
    let refusal = visit.text("[role=alert]").await;
    assert!(refusal.contains("check the address and the password"), "{refusal}");
    assert_eq!(visit.property("#email", "value").await, EMAIL);
    assert_eq!(visit.property("#password", "value").await, "");
    visit.end(&["/register: 422", "/login: 422"]).await;

    another_browser_asks_for_the_password(&app).await;
}

/// The link of a mail, opened where nobody has registered.
async fn another_browser_asks_for_the_password(app: &TestApp) {
    let token = app.mails_to(EMAIL).await.last().and_then(Letter::token).expect("a mail with a link");
    let visit = Visit::begin(app, Options::default()).await;
    visit.open(&format!("/confirm?token={token}")).await;
    assert!(visit.text(".lead").await.contains("not the browser you registered with"));
    for (password, words) in [("", "type the password you chose"), (OTHER_PASSWORD, "not the password that was chosen")]
    {
        visit.fill(&[("password", password)]).await;
        visit.press("main form button[type=submit]").await;
        visit.arrive("/confirm").await;
        let mistake = visit.text("#password-mistake").await;
        assert!(mistake.contains(words), "{mistake}");
        assert_eq!(visit.property("#password", "value").await, "");
    }
    visit.fill(&[("password", PASSWORD)]).await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/account").await;
    visit.open(&format!("/confirm?token={token}")).await;
    assert_eq!(visit.text("h1").await, "Your address is confirmed", "it worked once");
    visit.end(&["/confirm: 422"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_can_be_pasted_filled_in_by_a_manager_and_looked_at() {
    let app = TestApp::start(Stack::Small).await;
    let visit = Visit::begin(&app, Options::default()).await;
    for (path, password, fields) in [
        ("/register", "new-password", vec![("name", "name"), ("email", "username")]),
        ("/login", "current-password", vec![("email", "username")]),
    ] {
        visit.open(path).await;
        for (field, purpose) in fields {
            let field = visit.see(&format!("#{field}")).await;
            assert_eq!(field.attr("autocomplete").await.unwrap().as_deref(), Some(purpose), "on {path}");
        }
        let field = visit.see("#password").await;
        assert_eq!(field.attr("autocomplete").await.unwrap().as_deref(), Some(password), "on {path}");

        // written elsewhere, copied and pasted with the keys that people use
        visit.fill(&[("email", PASSWORD)]).await;
        keys(&visit, &["selectAll"], "a").await;
        keys(&visit, &["copy"], "c").await;
        visit.press("label[for=password]").await;
        assert_eq!(visit.property("#password", "value").await, "");
        keys(&visit, &["paste"], "v").await;
        assert_eq!(visit.property("#password", "value").await, PASSWORD, "on {path}");

        assert_eq!(visit.property("#password", "type").await, "password");
        visit.press(".reveal").await;
        assert_eq!(visit.property("#password", "type").await, "text");
        assert_eq!(visit.text(".reveal").await, "Hide password");
        visit.press(".reveal").await;
        assert_eq!(visit.property("#password", "type").await, "password");
        assert_eq!(visit.text(".reveal").await, "Show password");
    }
    visit.end(&[]).await;
}

/// Ctrl and a key, with what the editor makes of it.
async fn keys(visit: &Visit, commands: &[&str], key: &str) {
    let event = |kind: &str| json!({"type": kind, "modifiers": 2, "key": key, "commands": commands});
    visit.devtools("Input.dispatchKeyEvent", event("rawKeyDown")).await;
    visit.devtools("Input.dispatchKeyEvent", event("keyUp")).await;
}
