//! What can be done, how often in relation to the rest, and which routes it asks: every route is asked by some step.

use std::collections::BTreeSet;

use super::world::{ADDRESSES, BROWSERS, Checked, World};

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Register,
    Login,
    LoginWithPlantedCookie,
    Press,
    Look,
    WrongLink,
    Logout,
    Account,
    StolenCookie,
    GarbledCookie,
    Waiting,
    AskAgain,
    Forgot,
    ChangePassword,
    Sessions,
    Profile,
    Move,
    Withdraw,
    Export,
    Delete,
    Keep,
    Disable,
    Open,
    Language,
    Admin,
}

pub const STEPS: [(Step, u64, &[&str]); 25] = [
    (Step::Register, 5, &["POST /register", "POST /api/v1/register"]),
    (Step::Login, 9, &["POST /login", "POST /api/v1/login"]),
    (Step::LoginWithPlantedCookie, 2, &["POST /login", "POST /api/v1/login"]),
    (Step::Press, 28, &LINKS),
    (Step::Look, 3, &LINKS),
    (Step::WrongLink, 2, &LINKS),
    (Step::Logout, 2, &["POST /logout", "POST /api/v1/logout"]),
    (Step::Account, 2, &["GET /account", "GET /api/v1/me", "GET /api/v1/me/activity", "GET /auth/verify"]),
    (Step::StolenCookie, 5, &["GET /api/v1/me"]),
    (Step::GarbledCookie, 1, &["GET /api/v1/me"]),
    (Step::Waiting, 2, &WAITING),
    (Step::AskAgain, 4, &AGAIN),
    (Step::Forgot, 5, &FORGOT),
    (Step::ChangePassword, 3, &["GET /account/password", "POST /account/password", "POST /api/v1/me/password"]),
    (Step::Sessions, 2, &SESSIONS),
    (Step::Profile, 1, &["GET /account/profile", "POST /account/profile", "PATCH /api/v1/me", "GET /account/activity"]),
    (Step::Move, 8, &MOVE),
    (Step::Withdraw, 1, &["POST /account/email/withdraw", "DELETE /api/v1/me/email"]),
    (Step::Export, 2, &EXPORT),
    (Step::Delete, 4, &["GET /account/delete", "POST /account/delete", "DELETE /api/v1/me"]),
    (Step::Keep, 1, &["POST /account/delete/undo", "POST /api/v1/me/restore"]),
    (Step::Disable, 2, &[]),
    (Step::Open, 2, &OPEN),
    (Step::Language, 1, &["POST /language"]),
    (Step::Admin, 1, &ADMIN),
];

const LINKS: [&str; 17] = [
    "GET /confirm",
    "POST /confirm",
    "POST /api/v1/confirm",
    "GET /reset",
    "POST /reset",
    "POST /api/v1/reset",
    "GET /email/confirm",
    "POST /email/confirm",
    "POST /api/v1/email/confirm",
    "GET /email/undo",
    "POST /email/undo",
    "POST /api/v1/email/undo",
    "GET /account/restore",
    "POST /account/restore",
    "GET /login/not-me",
    "POST /login/not-me",
    "POST /api/v1/login/not-me",
];

const WAITING: [&str; 5] = [
    "GET /register/sent",
    "GET /register/status",
    "GET /register/sent/events",
    "GET /api/v1/register/status",
    "GET /account/events",
];

const AGAIN: [&str; 4] = [
    "POST /register/resend",
    "POST /register/correct",
    "POST /api/v1/register/resend",
    "POST /api/v1/register/correct",
];

const FORGOT: [&str; 5] =
    ["POST /forgot", "POST /api/v1/forgot", "GET /forgot/sent", "GET /forgot/status", "GET /forgot/sent/events"];

const MOVE: [&str; 5] = [
    "GET /account/email",
    "POST /account/email",
    "POST /api/v1/me/email",
    "GET /account/email/status",
    "GET /account/email/events",
];

const EXPORT: [&str; 4] =
    ["GET /account/export", "POST /account/export", "GET /api/v1/me/export", "POST /api/v1/me/proof"];

const SESSIONS: [&str; 6] = [
    "GET /account/sessions",
    "POST /account/sessions/{id}/end",
    "POST /account/sessions/end-others",
    "GET /api/v1/me/sessions",
    "DELETE /api/v1/me/sessions",
    "DELETE /api/v1/me/sessions/{id}",
];

/// What administrators alone may see and do, whom nobody here makes one.
pub const ADMIN: [&str; 5] = [
    "GET /api/v1/admin/queues",
    "POST /api/v1/admin/queues/{queue}/retry-now",
    "GET /api/v1/admin/dead-letters",
    "POST /api/v1/admin/dead-letters/{id}/redrive",
    "POST /api/v1/admin/dead-letters/{id}/discard",
];

/// What anybody may see, signed in or not.
pub const OPEN: [&str; 18] = [
    "GET /",
    "GET /register",
    "GET /login",
    "GET /forgot",
    "GET /mailbox",
    "GET /mailbox.json",
    "GET /mailbox/{id}",
    "GET /api",
    "GET /api/openapi.json",
    "GET /livez",
    "GET /readyz",
    "GET /static/{name}",
    "GET /favicon.ico",
    "GET /apple-touch-icon.png",
    "GET /site.webmanifest",
    "GET /robots.txt",
    "GET /.well-known/change-password",
    "GET /.well-known/security.txt",
];

impl World {
    /// Somebody does something; then the browser's cookie opens what it should, and nothing else.
    pub async fn step(&mut self, is_first: bool) -> Checked {
        let all: u64 = STEPS.iter().map(|(_, weight, _)| weight).sum();
        let mut left = self.chance.below(all);
        let chosen = STEPS.iter().find(|(_, weight, _)| {
            let hit = left < *weight;
            left = left.saturating_sub(*weight);
            hit
        });
        // most orders begin with a registration
        let step = if is_first && self.pick(4) > 0 { Step::Register } else { chosen.unwrap().0 };
        // most of what leads nowhere is soon said: most steps could lead on
        let at = match step {
            Step::Account | Step::ChangePassword | Step::Move | Step::Delete | Step::Export | Step::Keep => {
                self.likely_browser()
            }
            _ => self.pick(BROWSERS),
        };
        let (address, password) = match step {
            Step::Login => {
                let address = self.likely_address();
                (address, self.likely_password(self.model.owner(address)))
            }
            Step::Forgot | Step::Disable => (self.likely_address(), 0),
            _ => (self.pick(ADDRESSES), self.pick(2)),
        };
        let browser = self.browsers[at];
        self.note(&format!("\n  {step:?} browser {at} address {address} password {password}: "));
        match step {
            Step::Register => self.register(at, address, password).await,
            Step::Login => self.login(at, address, password).await,
            Step::LoginWithPlantedCookie => self.login_with_planted_cookie(at, address, password).await,
            Step::Press => self.press_link(at, password).await,
            Step::Look => self.look_at_link(browser).await,
            Step::WrongLink => self.wrong_link(at, password).await,
            Step::Logout => self.logout(at).await,
            Step::Account => self.account(browser).await,
            Step::StolenCookie => self.stolen_cookie(at).await,
            Step::GarbledCookie => self.garbled_cookie().await,
            Step::Waiting => self.waiting(browser).await,
            Step::AskAgain => self.ask_again(browser, address).await,
            Step::Forgot => self.forgot(browser, address).await,
            Step::ChangePassword => self.change_password(at, password).await,
            Step::Sessions => self.sessions(browser).await,
            Step::Profile => self.profile(browser).await,
            Step::Move => self.move_to(browser, address).await,
            Step::Withdraw => self.withdraw(browser).await,
            Step::Export => self.export(browser).await,
            Step::Delete => self.delete(browser).await,
            Step::Keep => self.keep(browser).await,
            Step::Disable => self.disable(address).await,
            Step::Open => self.open(browser).await,
            Step::Language => self.language(browser).await,
            Step::Admin => self.admin(browser).await,
        }?;
        self.me(self.browsers[at]).await
    }
}

#[test]
fn every_route_has_a_step() {
    let links = include_str!("../../../../src/links.rs");
    let path = |name: &str| -> String {
        let constant = links.split(&format!("pub const {name}: &str = \"")).nth(1).unwrap_or_else(|| panic!("{name}"));
        constant.split('"').next().unwrap().to_owned()
    };
    let mut routes = BTreeSet::new();
    // pages: the table of routes; the API: what each call says beside its handler
    for line in include_str!("../../../../src/http/mod.rs").lines() {
        let Some(route) = line.trim().strip_prefix(".route(links::") else { continue };
        let (name, methods) = route.split_once(',').unwrap();
        for (method, call) in [("GET", "get("), ("POST", "post("), ("PUT", "put("), ("DELETE", "delete(")] {
            if methods.contains(call) {
                routes.insert(format!("{method} {}", path(name)));
            }
        }
    }
    for source in [
        include_str!("../../../../src/http/api/registration.rs"),
        include_str!("../../../../src/http/api/waiting.rs"),
        include_str!("../../../../src/http/api/session.rs"),
        include_str!("../../../../src/http/api/recovery.rs"),
        include_str!("../../../../src/http/api/me.rs"),
        include_str!("../../../../src/http/api/me_sessions.rs"),
        include_str!("../../../../src/http/api/me_email.rs"),
        include_str!("../../../../src/http/api/me_account.rs"),
        include_str!("../../../../src/http/api/admin.rs"),
    ] {
        for call in source.split("#[utoipa::path(").skip(1) {
            let (method, rest) = call.split_once(", path = \"").unwrap();
            routes.insert(format!("{} {}", method.to_uppercase(), rest.split('"').next().unwrap()));
        }
    }
    let asked: BTreeSet<String> =
        STEPS.iter().flat_map(|(_, _, routes)| routes.iter().map(|route| (*route).to_owned())).collect();
    assert_eq!(asked, routes);
}
