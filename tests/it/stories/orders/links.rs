//! The links in the mails: looked at, pressed, pressed again, garbled, and pressed for what they are not.

use bellhop::clock::Timestamp;

use super::model::{Link, Shown};
use super::world::{Browser, Checked, PASSWORDS, World, same};

/// The page of each kind of link, and its call.
const PAGES: [(&str, Option<&str>); 6] = [
    ("confirm", Some("confirm")),
    ("reset", Some("reset")),
    ("email/confirm", Some("email/confirm")),
    ("email/undo", Some("email/undo")),
    ("account/restore", None),
    ("login/not-me", Some("login/not-me")),
];

fn kind(link: Link) -> usize {
    match link {
        Link::Confirm(..) => 0,
        Link::Reset(_) => 1,
        Link::Move(_) => 2,
        Link::Undo(_) => 3,
        Link::Restore(..) => 4,
        Link::Disown(_) => 5,
    }
}

impl World {
    /// One that stands in a mail, as often as not in the last one.
    fn any_link(&mut self) -> Option<(Link, String)> {
        let many = self.links.len();
        let chosen = if many == 0 || self.coin() { many.checked_sub(1)? } else { self.pick(many) };
        let link = self.links[chosen].clone();
        self.note(&format!("{:?}", link.0));
        Some(link)
    }

    /// Sends its token to its page or its call.
    async fn use_link(&mut self, link: Link, browser: Browser, fields: &[(&str, &str)]) -> (bool, u16) {
        let (page, api) = PAGES[kind(link)];
        if let Some(api) = api {
            let (page, answer) = self.post_to((page, api), browser, fields).await;
            return (page, answer.status);
        }
        let status = self.press(&format!("/{page}"), browser, fields).await.status;
        self.note(&format!(" page {page} -> {status}"));
        (true, status)
    }

    pub async fn look_at_link(&mut self, browser: Browser) -> Checked {
        let Some((link, token)) = self.any_link() else { return Ok(()) };
        let page = self.get(&format!("/{}?token={token}", PAGES[kind(link)].0), browser).await;
        let now = self.now();
        let works = match link {
            Link::Confirm(registration, address) => {
                let is_ours = browser.registration == Some(registration);
                let shown = self.model.shown(registration, address, is_ours, now);
                same("asks for the password", page.body.contains("type=\"password\""), shown == Shown::Password)?;
                let says_so = page.body.contains("Your address is confirmed");
                same("the page of a link that was used", says_so, shown == Shown::Confirmed)?;
                shown != Shown::Invalid
            }
            Link::Reset(reset) => self.model.resets_for(reset, now).is_some(),
            Link::Move(change) => self.model.moves(change, now).is_some(),
            Link::Undo(change) => self.model.undoes(change, now).0,
            Link::Restore(user, at) => self.model.restores_for(user, at),
            Link::Disown(warning) => self.model.disowns(warning, now),
        };
        same("the page of a link", page.status, if works { 200 } else { 404 })
    }

    pub async fn press_link(&mut self, at: usize, password: usize) -> Checked {
        let Some((link, token)) = self.any_link() else { return Ok(()) };
        let (browser, now) = (self.browsers[at], self.now());
        match link {
            Link::Confirm(registration, address) => self.confirm(at, (registration, address), &token, now).await,
            Link::Reset(reset) => {
                let fields = [("token", token.as_str()), ("password", PASSWORDS[password])];
                let used = self.use_link(link, browser, &fields).await;
                let owner = self.model.resets_for(reset, now);
                works("setting a password", used, owner.is_some())?;
                if let Some(owner) = owner {
                    self.model.sets_password(owner, password, at, now);
                }
                Ok(())
            }
            Link::Move(change) => {
                let used = self.use_link(link, browser, &[("token", &token)]).await;
                let moves = self.model.moves(change, now);
                works("moving an account", used, moves.is_some())?;
                if moves == Some(true) {
                    self.model.moved(change, at, now);
                    self.hears_of_move(self.model.changes[change].user).await?;
                }
                Ok(())
            }
            Link::Undo(change) => self.undo(at, change, &token, now).await,
            Link::Restore(owner, due) => {
                let used = self.use_link(link, browser, &[("token", &token)]).await;
                let restores = self.model.restores_for(owner, due);
                works("calling a deletion off", used, restores)?;
                if restores {
                    self.model.restores(owner, at, now);
                }
                Ok(())
            }
            Link::Disown(warning) => {
                let used = self.use_link(link, browser, &[("token", &token)]).await;
                let disowns = self.model.disowns(warning, now);
                works("a sign-in that was somebody else's", used, disowns)?;
                if disowns {
                    self.model.disowned(warning, now);
                }
                Ok(())
            }
        }
    }

    /// Every session of an account that has moved shows the new address, at the latest a moment later.
    async fn hears_of_move(&mut self, user: usize) -> Checked {
        for session in 0..self.model.sessions.len() {
            if self.model.sessions[session].user == Some(user) {
                self.me(Browser { at: 0, session: Some(session), registration: None }).await?;
            }
        }
        Ok(())
    }

    async fn confirm(
        &mut self,
        at: usize,
        (registration, address): (usize, usize),
        token: &str,
        now: Timestamp,
    ) -> Checked {
        let right = self.model.registrations[registration].password;
        let typed = [None, Some(right), Some(right), Some(1 - right)][self.pick(4)];
        self.note(&format!(" typed {typed:?}"));
        let mut fields = vec![("token", token)];
        fields.extend(typed.map(|typed| ("password", PASSWORDS[typed])));
        let (page, answer) = self.post("confirm", self.browsers[at], &fields).await;
        let is_ours = self.browsers[at].registration == Some(registration);
        let shown = self.model.shown(registration, address, is_ours, now);
        let is_right = typed == Some(self.model.registrations[registration].password);
        if shown == Shown::Button || shown == Shown::Password && is_right {
            same("confirming", answer.status, if page { 303 } else { 204 })?;
            let user = self.model.confirms(registration, at, now);
            self.browsers[at].registration = None;
            return self.begins(at, user, &answer, now);
        }
        let is_done = page && shown == Shown::Confirmed;
        same("a refused confirmation", answer.status, if is_done { 200 } else { 422 })?;
        same("a cookie of a refused confirmation", answer.headers.contains_key("set-cookie"), false)
    }

    /// The page leads on to another link, which sets the password.
    async fn undo(&mut self, at: usize, change: usize, token: &str, now: Timestamp) -> Checked {
        let (page, answer) = self.post("email/undo", self.browsers[at], &[("token", token)]).await;
        let (_, undoes) = self.model.undoes(change, now);
        works("undoing a change", (page, answer.status), undoes)?;
        if undoes {
            let reset = self.model.undone(change, at, now);
            if let Some((_, token)) = answer.header("location").split_once("/reset?token=") {
                self.links.push((reset, token.to_owned()));
            }
        }
        Ok(())
    }

    /// A link that looks alike, or that is for something else, opens nothing.
    pub async fn wrong_link(&mut self, at: usize, password: usize) -> Checked {
        let Some((link, token)) = self.any_link() else { return Ok(()) };
        let other = self.pick(PAGES.len());
        let token = if other == kind(link) { self.garble(&token) } else { token };
        let (page, api) = PAGES[other];
        let looked = self.get(&format!("/{page}?token={token}"), self.browsers[at]).await;
        same("the page of a wrong link", looked.status, 404)?;
        let mut fields = vec![("token", token.as_str())];
        if ["confirm", "reset"].contains(&page) {
            fields.push(("password", PASSWORDS[password]));
        }
        let status = if let Some(api) = api {
            self.post_to((page, api), self.browsers[at], &fields).await.1.status
        } else {
            self.press(&format!("/{page}"), self.browsers[at], &fields).await.status
        };
        same("a wrong link", status, 422)
    }
}

fn works(what: &str, (page, status): (bool, u16), works: bool) -> Checked {
    let wanted = match (works, page) {
        (true, true) => 303,
        (true, false) => 204,
        (false, _) => 422,
    };
    same(what, status, wanted)
}
