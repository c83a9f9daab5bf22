//! A person at a browser, and what every page owes them.

use std::ops::Deref;
use std::time::Duration;

use fantoccini::Locator;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use serde_json::Value;

use crate::support::app::{TestApp, within};
use crate::support::browser::{Browser, Options};

/// A browser on the pages of one app; dereferences to the browser.
pub struct Visit {
    browser: Browser,
    home: String,
}

impl Visit {
    pub async fn begin(app: &TestApp, options: Options) -> Self {
        Self::at(&app.url, options).await
    }

    /// Of an app that browsers find there.
    pub async fn at(home: &str, options: Options) -> Self {
        Self { browser: Browser::open(options).await, home: home.to_owned() }
    }

    /// Opens a page of the app, or any address.
    pub async fn open(&self, target: &str) {
        let address = if target.starts_with('/') { format!("{}{target}", self.home) } else { target.to_owned() };
        self.goto(&address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    }

    /// Waits until the browser shows the page at this path of the app.
    pub async fn arrive(&self, path: &str) {
        within(&format!("the page {path}"), async || {
            let url = self.current_url().await.unwrap();
            let there = url.as_str().starts_with(&self.home) && url.path() == path;
            there && self.script("return document.readyState").await == "complete"
        })
        .await;
        assert_eq!(self.script("return document.cookie").await, "", "no cookie is for scripts, on {path}");
    }

    /// Waits for an element.
    pub async fn see(&self, selector: &str) -> Element {
        let found = self.wait().at_most(Duration::from_mins(1)).for_element(Locator::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    /// The text of an element, as it is to be read. A page may be giving way to the next one just now: then that one's.
    pub async fn text(&self, selector: &str) -> String {
        let mut text = None;
        within(selector, async || {
            match self.find(Locator::Css(selector)).await {
                Ok(element) => text = unless_gone(element.text().await),
                Err(error) => text = unless_gone(Err(error)),
            }
            text.is_some()
        })
        .await;
        text.unwrap_or_default()
    }

    /// What an element has for a property, as text.
    pub async fn property(&self, selector: &str, name: &str) -> String {
        self.see(selector).await.prop(name).await.unwrap().unwrap_or_default()
    }

    /// Types into empty fields, each named by its id.
    pub async fn fill(&self, fields: &[(&str, &str)]) {
        for (id, text) in fields {
            let field = self.see(&format!("#{id}")).await;
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
        }
    }

    pub async fn press(&self, selector: &str) {
        within(selector, async || {
            let element = self.see(selector).await;
            unless_gone(element.click().await).is_some()
        })
        .await;
    }

    /// Fills the form at /login, which must be open, and sends it.
    pub async fn sign_in(&self, email: &str, password: &str) {
        self.fill(&[("email", email), ("password", password)]).await;
        self.press("main form button[type=submit]").await;
    }

    pub async fn sign_out(&self) {
        self.press("form[action='/logout'] button").await;
        self.arrive("/").await;
    }

    /// What a script returns.
    pub async fn script(&self, script: &str) -> Value {
        self.execute(script, vec![]).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until the element has the focus.
    pub async fn focuses(&self, selector: &str) {
        let focus = format!("return document.activeElement.matches(`{selector}`)");
        within(&format!("the focus on {selector}"), async || self.script(&focus).await == true).await;
    }

    /// Asserts that no page logged anything to the console — an error, a warning, a violation of its policy — and that no
    /// page sent a request to anybody else. Chromium itself logs every refusal; `refusals` are those that the test asked
    /// for, such as `/login: 422`.
    pub async fn end(self, refusals: &[&str]) {
        for entry in self.log("browser").await {
            let message = entry["message"].as_str().unwrap();
            let refusal = refusals.iter().any(|refusal| {
                let (path, status) = refusal.split_once(": ").expect("a path and a status");
                message.starts_with(&format!("{}{path}", self.home)) && message.contains(&format!("status of {status}"))
            });
            // the two lowest levels: advice, and what Clear-Site-Data has cleared
            let advice = entry["level"] == "INFO" || entry["level"] == "DEBUG";
            assert!(advice || entry["source"] == "network" && refusal, "in the console: {entry}");
        }
        let mut requests = 0;
        for entry in self.log("performance").await {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().unwrap();
                // chrome: and data: stay inside the browser
                let network = ["http", "ws", "ftp"].iter().any(|scheme| url.starts_with(scheme));
                assert!(!network || url.starts_with(&self.home), "a request leaves our house: {url}");
                requests += usize::from(network);
            }
        }
        assert!(requests > 0, "the log of requests is kept");
    }
}

/// None when the element went away with its page.
fn unless_gone<T>(result: Result<T, CmdError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_stale_element_reference() || error.is_no_such_element() => None,
        Err(error) => panic!("{error}"),
    }
}

impl Deref for Visit {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}
