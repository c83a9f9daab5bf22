//! What keeps people out of a page who cannot see it, or not well, or use no mouse: axe-core looks at every page in its states.

use fantoccini::Locator;
use serde_json::{Value, json};

use crate::support::app::{OTHER_PASSWORD, PASSWORD, Stack, TestApp, within};
use crate::support::browser::Options;
use crate::support::servers;
use crate::support::smtp::{Script, Step};

use super::visit::Visit;

const ANN: &str = "ann@example.org";
const BUTTON: &str = "main form button[type=submit]";

/// A person at a browser, with axe-core.
struct Inspector {
    visit: Visit,
    axe: String,
    found: Vec<String>,
}

impl Inspector {
    async fn begin(app: &TestApp) -> Self {
        let axe = std::fs::read_to_string(servers::setting("TEST_AXE")).expect("axe-core is there");
        Inspector { visit: Visit::begin(app, Options::default()).await, axe, found: Vec::new() }
    }

    async fn open(&mut self, path: &str) {
        self.visit.open(path).await;
        self.inspect(path).await;
    }

    /// Looks at the page that is open, by day at a desk and by night on a telephone; what is serious or critical is noted.
    async fn inspect(&mut self, what: &str) {
        for (scheme, width, height) in [("light", 1280, 900), ("dark", 390, 844)] {
            let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            self.visit.devtools("Emulation.setEmulatedMedia", media).await;
            let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
            self.visit.devtools("Emulation.setDeviceMetricsOverride", screen).await;
            within("the width", async || self.visit.script("return innerWidth").await == width).await;
            for violation in self.violations().await {
                let (impact, rule) = (violation["impact"].as_str().unwrap_or_default(), &violation["id"]);
                let said = format!("{what}, {scheme}, {width} wide: {impact} {rule}: {}", violation["nodes"]);
                if ["serious", "critical"].contains(&impact) {
                    self.found.push(said);
                } else {
                    println!("{said}");
                }
            }
        }
    }

    /// What axe-core finds once no colour changes any more. A page that gives way to the next one just now is looked at again.
    async fn violations(&self) -> Vec<Value> {
        let run = "const done = arguments[arguments.length - 1];
            if (typeof axe === 'undefined') { done('away'); return; }
            const settled = document.getAnimations().filter((one) => one instanceof CSSTransition)
                .map((one) => one.finished.catch(() => null));
            Promise.all(settled).then(() => axe.run(document, { resultTypes: ['violations'] })).then(
                (found) => done(found.violations.map(({ id, impact, nodes }) =>
                    ({ id, impact, nodes: nodes.map(({ target, failureSummary }) => [target, failureSummary]) }))),
                (error) => done(String(error)));";
        let mut found = None;
        within("axe-core", async || {
            match self.visit.execute_async(run, vec![]).await {
                // once for a page, not for each look at it
                Ok(Value::String(away)) if away == "away" => drop(self.visit.execute(&self.axe, vec![]).await),
                Ok(Value::Array(all)) => found = Some(all),
                _ => {}
            }
            found.is_some()
        })
        .await;
        found.unwrap_or_default()
    }

    fn end(self) {
        assert_eq!(self.found, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_serious_on_what_strangers_and_newcomers_see() {
    let app = TestApp::mailing(Stack::Small, |_| {}).await;
    let mut inspector = Inspector::begin(&app).await;
    // it sees what is wrong
    inspector.visit.open("/").await;
    inspector.visit.script("document.querySelector('main').append(document.createElement('input'))").await;
    inspector.inspect("a field without a label").await;
    let planted: Vec<String> = inspector.found.drain(..).collect();
    assert!(planted.len() == 2 && planted.iter().all(|found| found.contains("critical \"label\"")), "{planted:?}");
    for path in [
        "/",
        "/register",
        "/login",
        "/forgot",
        "/api",
        "/nowhere",
        "/register/sent",
        "/confirm?token=x",
        "/reset?token=x",
        "/email/confirm?token=x",
        "/email/undo?token=x",
        "/account/restore?token=x",
    ] {
        inspector.open(path).await;
    }
    for (path, fields) in [
        ("/login", &[("email", ANN), ("password", OTHER_PASSWORD)][..]),
        ("/register", &[("name", "Ann"), ("email", "ann"), ("password", "short")]),
        ("/forgot", &[("email", "ann")]),
    ] {
        inspector.visit.open(path).await;
        inspector.visit.fill(fields).await;
        inspector.visit.press(BUTTON).await;
        inspector.visit.see("[role=alert]").await;
        inspector.inspect(&format!("mistakes on {path}")).await;
    }
    app.sink.as_ref().unwrap().set(
        Script::default()
            .on_recipient("delayed@example.org", Step::reply("450 4.2.1 busy"))
            .on_recipient("rejected@example.org", Step::reply("550 5.1.1 no such user")),
    );
    for (email, state) in [("delayed@example.org", "delayed"), ("rejected@example.org", "rejected"), (ANN, "sent")] {
        inspector.visit.open("/register").await;
        inspector.visit.fill(&[("name", "Ann"), ("email", email), ("password", PASSWORD)]).await;
        inspector.visit.press(BUTTON).await;
        inspector.visit.see(&format!("[data-delivery={state}]")).await;
        inspector.inspect(state).await;
    }
    inspector.open("/register/sent?correct=").await;
    inspector.visit.fill(&[("email", "ann")]).await;
    inspector.visit.press("form[action='/register/correct'] button").await;
    inspector.visit.see("[role=alert]").await;
    inspector.inspect("a correction that is none").await;
    inspector.visit.open("/register/sent").await;
    inspector.visit.press("form[action='/register/resend'] button").await;
    inspector.visit.see(".notice.good").await;
    inspector.inspect("asked again").await;
    within("the mail", async || !app.mails_to(ANN).await.is_empty()).await;
    let token = app.mails_to(ANN).await[0].token().unwrap();
    inspector.open(&format!("/confirm?token={token}")).await;
    inspector.visit.press(BUTTON).await;
    inspector.visit.arrive("/account").await;
    inspector.open(&format!("/confirm?token={token}")).await;
    inspector.end();
    app.unfinished();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_serious_on_what_people_see_who_are_signed_in() {
    let app = TestApp::start(Stack::Small).await;
    app.signed_in_client(ANN).await;
    assert_eq!(app.client().login(ANN, OTHER_PASSWORD).await.status, 422);
    app.settle().await;
    let mut inspector = Inspector::begin(&app).await;
    inspector.visit.open("/login").await;
    inspector.visit.sign_in(ANN, PASSWORD).await;
    inspector.visit.arrive("/account").await;
    app.settle().await;
    for path in [
        "/account",
        "/account/activity",
        "/account/activity?show=refused",
        "/account/sessions",
        "/account/password",
        "/account/profile",
        "/account/email",
        "/account/export",
        "/account/delete",
        "/register",
        "/mailbox",
    ] {
        inspector.open(path).await;
    }
    inspector.visit.press("td.what a").await;
    inspector.visit.see(".letter").await;
    inspector.inspect("a mail").await;
    inspector.visit.open("/account/password").await;
    inspector.visit.fill(&[("current_password", OTHER_PASSWORD), ("password", "short")]).await;
    inspector.visit.press(BUTTON).await;
    inspector.visit.see("[role=alert]").await;
    inspector.inspect("mistakes on /account/password").await;
    inspector.visit.open("/account/profile").await;
    inspector.visit.find(Locator::Css("#name")).await.unwrap().clear().await.unwrap();
    inspector.visit.press(BUTTON).await;
    inspector.visit.see("[role=alert]").await;
    inspector.inspect("mistakes on /account/profile").await;
    for (email, password, shows) in
        [("ann", OTHER_PASSWORD, "[role=alert]"), ("lee@example.org", PASSWORD, "[data-delivery=sent]")]
    {
        inspector.visit.open("/account/email").await;
        inspector.visit.fill(&[("email", email), ("current_password", password)]).await;
        inspector.visit.press(BUTTON).await;
        inspector.visit.see(shows).await;
        inspector.inspect("/account/email").await;
    }
    // a link for the password, in a browser that did not register
    assert_eq!(app.client().post("/forgot", &[("email", ANN)]).await.status, 303);
    assert_eq!(app.client().register("ben@example.org", PASSWORD, "Ben").await.status, 303);
    app.settle().await;
    let reset = app.mails_to(ANN).await.last().unwrap().token().unwrap();
    let confirm = app.mails_to("ben@example.org").await[0].token().unwrap();
    inspector.open(&format!("/confirm?token={confirm}")).await;
    inspector.open(&format!("/reset?token={reset}")).await;
    inspector.visit.fill(&[("password", "short")]).await;
    inspector.visit.press(BUTTON).await;
    inspector.visit.see("[role=alert]").await;
    inspector.inspect("mistakes on /reset").await;
    inspector.visit.open("/forgot").await;
    inspector.visit.fill(&[("email", ANN)]).await;
    inspector.visit.press(BUTTON).await;
    inspector.visit.see("[data-delivery=sent]").await;
    inspector.inspect("/forgot/sent").await;
    app.settle().await;
    inspector.end();
}
