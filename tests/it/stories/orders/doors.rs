//! Registering, signing in and out, and what a cookie opens that is old, stolen or garbled.

use reqwest::Method;

use super::world::{Browser, Checked, PASSWORDS, World, same};
use crate::support::app::within;

impl World {
    pub async fn register(&mut self, at: usize, address: usize, password: usize) -> Checked {
        let (email, now) = (self.addresses[address].clone(), self.now());
        let fields = [("email", email.as_str()), ("password", PASSWORDS[password]), ("name", "Ann")];
        let (page, answer) = self.post("register", self.browsers[at], &fields).await;
        same("registering", answer.status, if page { 303 } else { 202 })?;
        let newest = "select id from registrations where email_canonical = $1 order by created_at desc limit 1";
        let id = self.newest(newest, address).await;
        let registration = self.model.registers(id, answer.cookie("bellhop-reg"), (address, password), now);
        self.browsers[at].registration = Some(registration);
        Ok(())
    }

    pub async fn login(&mut self, at: usize, address: usize, password: usize) -> Checked {
        let (email, now) = (self.addresses[address].clone(), self.now());
        let fields = [("email", email.as_str()), ("password", PASSWORDS[password])];
        let (page, answer) = self.post("login", self.browsers[at], &fields).await;
        let owner = self.model.owner(address);
        let refusal = owner.and_then(|owner| match &self.model.users[owner] {
            user if user.password != password => Some("wrong_password"),
            user if user.disabled => Some("disabled"),
            _ => None,
        });
        if let (Some(owner), None) = (owner, refusal) {
            same("signing in", answer.status, if page { 303 } else { 200 })?;
            self.begins(at, owner, &answer, now)?;
            let session = self.browsers[at].session.unwrap();
            self.model.signs_in(owner, session, at, now);
            return Ok(());
        }
        if let (Some(owner), Some(reason)) = (owner, refusal) {
            self.model.refuses(owner, reason, at, now);
        }
        same("a refused login", answer.status, if page { 422 } else { 401 })?;
        same("a cookie of a refused login", answer.headers.contains_key("set-cookie"), false)
    }

    /// With a cookie that somebody else has or had, or that nobody ever had.
    pub async fn login_with_planted_cookie(&mut self, at: usize, address: usize, password: usize) -> Checked {
        if self.model.sessions.is_empty() || self.coin() {
            let now = self.now();
            self.model.begins("A".repeat(43), None, now);
        }
        self.browsers[at].session = Some(self.pick(self.model.sessions.len()));
        self.login(at, address, password).await
    }

    pub async fn logout(&mut self, at: usize) -> Checked {
        let (page, answer) = self.post("logout", self.browsers[at], &[]).await;
        if let Some(ended) = self.browsers[at].session.take() {
            self.model.sessions[ended].ended = true;
        }
        same("signing out", answer.status, if page { 303 } else { 204 })
    }

    /// Sends a browser's cookie: it opens the account of whose session lives, and nothing else.
    pub async fn me(&mut self, browser: Browser) -> Checked {
        let Some(owner) = self.is_live(browser) else {
            return same("what nobody is told", self.get("/api/v1/me", browser).await.status, 401);
        };
        let answer = self.get("/api/v1/me", browser).await;
        same("who is signed in", answer.status, 200)?;
        let email = self.addresses[self.model.users[owner].address].clone();
        if answer.json()["user"]["email"] != *email {
            // an address that has just changed is heard of a moment later
            within("the present address", async || {
                self.get("/api/v1/me", browser).await.json()["user"]["email"] == *email
            })
            .await;
        }
        let now = self.now();
        self.model.used(browser.session.unwrap(), now);
        Ok(())
    }

    pub async fn account(&mut self, browser: Browser) -> Checked {
        let answer = self.get("/account", browser).await;
        let activity = self.get("/api/v1/me/activity", browser).await;
        let verified = self.get("/auth/verify", browser).await;
        let Some(owner) = self.is_live(browser) else {
            same("what a proxy is told of nobody", verified.status, 401)?;
            same("the log of nobody", activity.status, 401)?;
            return same("the account of nobody", (answer.status, answer.header("location")), (303, "/login"));
        };
        same("the account", (answer.status, activity.status), (200, 200))?;
        let theirs = self.model.users[owner].address;
        let told = (verified.status, verified.header("remote-email").to_owned());
        same("what a proxy is told", told, (200, self.addresses[theirs].clone()))?;
        let shown = self.addresses.each_ref().map(|email| answer.body.contains(email));
        same("whose account", shown, std::array::from_fn(|at| at == theirs))
    }

    pub async fn stolen_cookie(&mut self, at: usize) -> Checked {
        if self.model.sessions.is_empty() {
            return Ok(());
        }
        let stolen = self.pick(self.model.sessions.len());
        self.note(&format!("session {stolen}"));
        self.me(Browser { at, session: Some(stolen), registration: None }).await
    }

    pub async fn garbled_cookie(&mut self) -> Checked {
        let cookie = self.model.sessions.last().map_or_else(|| "A".repeat(43), |last| last.cookie.clone());
        let garbled = self.garble(&cookie);
        let request = self.request(Method::GET, "/api/v1/me", Browser::default());
        let answer = self.send(request.header("cookie", format!("bellhop={garbled}"))).await;
        same("a garbled cookie", answer.status, 401)
    }

    /// Whether the registration of a browser's cookie is one that was confirmed, if it is known at all.
    fn is_confirmed(&self, browser: Browser) -> Option<bool> {
        let registration = browser.registration?;
        let is_known = self.model.is_known(registration, self.now());
        is_known.then(|| self.model.registrations[registration].user.is_some())
    }

    pub async fn waiting(&mut self, browser: Browser) -> Checked {
        let sent = self.get("/register/sent", browser).await;
        let status = self.get("/register/status", browser).await;
        let of_api = self.get("/api/v1/register/status", browser).await;
        let confirmed = self.is_confirmed(browser);
        // without a registration that is known, whoever is signed in has moved on
        let moves_on = confirmed.unwrap_or(self.is_live(browser).is_some());
        same("moving on", sent.status, if moves_on { 303 } else { 200 })?;
        same("confirmed", status.json()["state"] == "confirmed", moves_on)?;
        same("confirmed for programs", of_api.json()["state"] == "confirmed", confirmed == Some(true))?;
        same("the status", (status.status, of_api.status), (200, 200))?;
        for (path, wanted) in [
            ("/register/sent/events", if confirmed.is_some() { 200 } else { 204 }),
            ("/account/events", 200),
            // of another cookie, which nobody here has
            ("/forgot/sent/events", 204),
        ] {
            same(path, self.send(self.request(Method::HEAD, path, browser)).await.status, wanted)?;
        }
        Ok(())
    }

    /// Asks for another mail, at the same address or at another one.
    pub async fn ask_again(&mut self, browser: Browser, address: usize) -> Checked {
        let waits = self.is_confirmed(browser) == Some(false);
        let (page, corrects) = (self.coin(), self.coin());
        let email = self.addresses[address].clone();
        let path = if corrects { "register/correct" } else { "register/resend" };
        let status = if page {
            // the page that was shown says which mail it was about
            let shown = self.get("/register/sent", browser).await.body;
            let mail = shown.split("name=\"mail\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
            let mail = mail.unwrap_or("1").to_owned();
            let fields: &[(&str, &str)] =
                if corrects { &[("email", &email), ("mail", &mail)] } else { &[("mail", &mail)] };
            self.press(&format!("/{path}"), browser, fields).await.status
        } else if corrects {
            self.call(Method::POST, &format!("/api/v1/{path}"), browser, &[("email", &email)]).await.status
        } else {
            self.send(self.request(Method::POST, &format!("/api/v1/{path}"), browser)).await.status
        };
        self.note(&format!("{path} page {page} -> {status}"));
        let wanted = match (page, waits) {
            (true, _) => 303,
            (false, true) => 202,
            (false, false) => 404,
        };
        same("asking again", status, wanted)?;
        if waits {
            self.model.asks_again(browser.registration.unwrap(), corrects.then_some(address));
        }
        Ok(())
    }

    /// Asks for a new password, whoever has the address.
    pub async fn forgot(&mut self, browser: Browser, address: usize) -> Checked {
        let (email, now) = (self.addresses[address].clone(), self.now());
        let (page, asked) = self.post("forgot", browser, &[("email", &email)]).await;
        same("asking for a new password", asked.status, if page { 303 } else { 202 })?;
        let newest = "select id from resets where email_canonical = $1 order by created_at desc limit 1";
        let id = self.newest(newest, address).await;
        self.model.forgets(Some(id), address, now);
        if !self.looks() {
            return Ok(());
        }
        for path in ["/forgot/sent", "/forgot/status"] {
            same(path, self.get(path, browser).await.status, 200)?;
        }
        let stream = self.request(Method::HEAD, "/forgot/sent/events", Browser::default());
        let cookie = format!("bellhop-reset={}", asked.cookie("bellhop-reset"));
        same("the stream of that mail", self.send(stream.header("cookie", cookie)).await.status, 200)
    }
}
