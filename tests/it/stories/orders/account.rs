//! What who is signed in does with the account; what an administrator does; and what anybody may see.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::routes::{ADMIN, OPEN};
use super::world::{Browser, Checked, PASSWORDS, World, same};

const NOTHING: [(&str, &str); 0] = [];

impl World {
    pub async fn change_password(&mut self, at: usize, password: usize) -> Checked {
        let (browser, now) = (self.browsers[at], self.now());
        let owner = self.is_live(browser);
        let current = self.likely_password(owner);
        if self.looks() {
            let form = self.get("/account/password", browser).await;
            same("the form", form.status, if owner.is_some() { 200 } else { 303 })?;
        }
        let fields = [("current_password", PASSWORDS[current]), ("password", PASSWORDS[password])];
        let (page, answer) = self.post_to(("account/password", "me/password"), browser, &fields).await;
        let Some(owner) = owner else {
            return same("changing nobody's password", answer.status, if page { 303 } else { 401 });
        };
        if self.model.users[owner].password != current {
            return same("changing a password without it", answer.status, 422);
        }
        same("changing a password", answer.status, if page { 303 } else { 204 })?;
        self.model.sets_password(owner, password, at, now);
        self.begins(at, owner, &answer, now)
    }

    pub async fn sessions(&mut self, browser: Browser) -> Checked {
        let page = self.get("/account/sessions", browser).await;
        let list = self.get("/api/v1/me/sessions", browser).await;
        let nobodys = format!("sessions/{}", Uuid::nil());
        let one = self.press(&format!("/account/{nobodys}/end"), browser, &NOTHING).await;
        let of_api = self.send(self.request(Method::DELETE, &format!("/api/v1/me/{nobodys}"), browser)).await;
        let ended = if self.coin() {
            self.press("/account/sessions/end-others", browser, &NOTHING).await.status
        } else {
            self.send(self.request(Method::DELETE, "/api/v1/me/sessions", browser)).await.status
        };
        let Some(owner) = self.is_live(browser) else {
            same("nobody's sessions", (page.status, list.status), (303, 401))?;
            same("ending none", (one.status, of_api.status), (303, 401))?;
            return same("ending nobody's", [303, 401].contains(&ended), true);
        };
        same("the sessions", (page.status, list.status), (200, 200))?;
        let live = self.model.sessions_of(owner, self.now());
        same("how many there are", list.json()["items"].as_array().map(Vec::len), Some(live))?;
        if !self.model.is_fresh(browser.session.unwrap(), self.now()) {
            same("ending one without the password", (one.status, of_api.status), (200, 401))?;
            return same("ending the others without it", [200, 401].contains(&ended), true);
        }
        same("ending one that is none", (one.status, of_api.status), (303, 404))?;
        same("ending the others", [303, 204].contains(&ended), true)?;
        self.model.all_end(owner, browser.session);
        Ok(())
    }

    pub async fn profile(&mut self, browser: Browser) -> Checked {
        let is_live = self.is_live(browser).is_some();
        for path in ["/account/profile", "/account/activity"] {
            same(path, self.get(path, browser).await.status, if is_live { 200 } else { 303 })?;
        }
        let form = self.press("/account/profile", browser, &[("name", "Ann"), ("locale", "en")]).await;
        same("changing the profile", form.status, 303)?;
        let patch = self.request(Method::PATCH, "/api/v1/me", browser).json(&json!({ "name": "Ann Lee" }));
        same("changing the name", self.send(patch).await.status, if is_live { 200 } else { 401 })
    }

    /// Asks to move the account to an address that somebody may have.
    pub async fn move_to(&mut self, browser: Browser, to: usize) -> Checked {
        let (owner, now) = (self.is_live(browser), self.now());
        let current = self.likely_password(owner);
        if self.looks() {
            let form = self.get("/account/email", browser).await;
            same("the form", form.status, if owner.is_some() { 200 } else { 303 })?;
            same("the status", self.get("/account/email/status", browser).await.status, 200)?;
        }
        let email = self.addresses[to].clone();
        let fields = [("email", email.as_str()), ("current_password", PASSWORDS[current])];
        let (page, asked) = self.post_to(("account/email", "me/email"), browser, &fields).await;
        let Some(owner) = owner else {
            return same("moving nobody's account", asked.status, if page { 303 } else { 401 });
        };
        let user = &self.model.users[owner];
        if user.password != current || user.address == to {
            return same("moving an account without its password or nowhere", asked.status, 422);
        }
        same("moving an account", asked.status, if page { 303 } else { 202 })?;
        if self.looks() {
            let stream = self.request(Method::HEAD, "/account/email/events", browser);
            same("the stream of a change", self.send(stream).await.status, 200)?;
        }
        let newest = "select c.id from email_changes c join users u on u.id = c.user_id
                      where u.email_canonical = $1 and c.confirmed_at is null";
        let id = self.newest(newest, self.model.users[owner].address).await;
        self.model.asks_to_move(id, owner, to, now);
        Ok(())
    }

    /// Calls off a move that waits, if one does.
    pub async fn withdraw(&mut self, browser: Browser) -> Checked {
        let (owner, page) = (self.is_live(browser), self.coin());
        let status = if page {
            self.press("/account/email/withdraw", browser, &NOTHING).await.status
        } else {
            self.send(self.request(Method::DELETE, "/api/v1/me/email", browser)).await.status
        };
        let Some(owner) = owner else {
            return same("calling nobody's move off", status, if page { 303 } else { 401 });
        };
        same("calling a move off", status, if page { 303 } else { 204 })?;
        self.model.drops_what_waits(owner);
        Ok(())
    }

    /// Takes the account along, where the password was shown a short time ago.
    pub async fn export(&mut self, browser: Browser) -> Checked {
        let (owner, now) = (self.is_live(browser), self.now());
        let current = self.likely_password(owner);
        let statuses = |live: u16, nobody: u16| if owner.is_some() { live } else { nobody };
        let form = self.get("/account/export", browser).await;
        same("the form", form.status, statuses(200, 303))?;
        let was_fresh = owner.is_some() && self.model.is_fresh(browser.session.unwrap(), now);
        let is_right = owner.is_some_and(|owner| self.model.users[owner].password == current);
        let before = self.get("/api/v1/me/export", browser).await;
        same("the export", before.status, if was_fresh { 200 } else { 401 })?;
        let typed = [("current_password", PASSWORDS[current])];
        let page = self.coin();
        let proof = if page {
            self.press("/account/export", browser, &typed).await
        } else {
            self.call(Method::POST, "/api/v1/me/proof", browser, &typed).await
        };
        let wanted = match (page, owner, is_right) {
            (true, None, _) => 303,
            (false, None, _) => 401,
            (_, _, false) => 422,
            (true, _, true) => 200,
            (false, _, true) => 204,
        };
        same("a proof", proof.status, wanted)?;
        if is_right {
            self.model.proves(browser.session.unwrap(), proof.cookie("bellhop"), now);
        }
        let after = self.get("/api/v1/me/export", browser).await;
        same("the export after it", after.status, if was_fresh || is_right { 200 } else { 401 })
    }

    /// Asks for the deletion.
    pub async fn delete(&mut self, browser: Browser) -> Checked {
        let (owner, page, now) = (self.is_live(browser), self.coin(), self.now());
        let current = self.likely_password(owner);
        let is_due = owner.is_some_and(|owner| self.model.users[owner].deletes_at.is_some());
        if self.looks() {
            let form = self.get("/account/delete", browser).await;
            same("the form", form.status, if owner.is_some() && !is_due { 200 } else { 303 })?;
        }
        let typed = [("current_password", PASSWORDS[current])];
        let asked = if page {
            self.press("/account/delete", browser, &typed).await.status
        } else {
            self.call(Method::DELETE, "/api/v1/me", browser, &typed).await.status
        };
        let Some(owner) = owner else {
            return same("deleting nobody", asked, if page { 303 } else { 401 });
        };
        if self.model.users[owner].password != current {
            return same("deleting without the password", asked, 422);
        }
        self.note("asked for");
        same("asking for the deletion", asked, if page { 303 } else { 202 })?;
        self.model.deletes(owner, browser.session.unwrap(), browser.at, now);
        Ok(())
    }

    /// Calls the deletion off, by who is signed in.
    pub async fn keep(&mut self, browser: Browser) -> Checked {
        let (owner, page, now) = (self.is_live(browser), self.coin(), self.now());
        let status = if page {
            self.press("/account/delete/undo", browser, &NOTHING).await.status
        } else {
            self.send(self.request(Method::POST, "/api/v1/me/restore", browser)).await.status
        };
        let Some(owner) = owner else {
            return same("keeping nobody", status, if page { 303 } else { 401 });
        };
        same("calling it off", status, if page { 303 } else { 204 })?;
        self.model.restores(owner, browser.at, now);
        Ok(())
    }

    /// An administrator disables an account or enables it again.
    pub async fn disable(&mut self, address: usize) -> Checked {
        let Some(owner) = self.model.owner(address) else { return Ok(()) };
        let (disabled, now) = (!self.model.users[owner].disabled, self.now());
        self.note(&format!("disabled {disabled}"));
        let mut tx = self.site.app.accounts.db.begin().await.unwrap();
        let changed = tx
            .query("update users set disabled_at = case when $2 then $3 end where email_canonical = $1")
            .bind(self.addresses[address].clone())
            .bind(disabled)
            .bind(now)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.model.users[owner].disabled = disabled;
        // known everywhere within a second
        self.site.app.accounts.clock.advance(std::time::Duration::from_secs(1));
        same("the account", changed, 1)
    }

    pub async fn admin(&mut self, browser: Browser) -> Checked {
        let (method, path) = ADMIN[self.pick(ADMIN.len())].split_once(' ').unwrap();
        let path = path.replace("{id}", &Uuid::nil().to_string()).replace("{queue}", "confirmation");
        let answer = self.send(self.request(method.parse().unwrap(), &path, browser)).await;
        same("what is there for administrators alone", answer.status, 404)
    }

    pub async fn open(&mut self, browser: Browser) -> Checked {
        let route = OPEN[self.pick(OPEN.len())].trim_start_matches("GET ");
        let path = route.replace("{id}", "unknown").replace("{name}", "style.css");
        let answer = self.get(&path, browser).await;
        let wanted = match route {
            "/login" if self.is_live(browser).is_some() => 303,
            // there is no mailbox where mails go to a mail server, and no contact is set
            "/mailbox" | "/mailbox.json" | "/mailbox/{id}" | "/.well-known/security.txt" => 404,
            "/.well-known/change-password" => 302,
            _ => 200,
        };
        same(&path, answer.status, wanted)
    }

    pub async fn language(&mut self, browser: Browser) -> Checked {
        let chosen = self.press("/language", browser, &[("locale", "en"), ("next", "/")]).await;
        same("choosing a language", chosen.status, 303)
    }
}
