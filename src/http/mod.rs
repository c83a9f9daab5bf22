//! Door one: a request in, a page or JSON out. No SQL here, and no decision about an account.
//!
//! * [`pages`]: what people see; [`api`]: the same for programs; [`health`]: for whoever runs it
//! * [`extract`], [`state`], [`problem`], [`cookies`], [`rate_limit`]: what these share
//! * [`middleware`]: the layers around every route; [`server`]: sockets to requests, with every time and size bounded

use askama::Template as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use self::api::admin;
use self::middleware::Ground;
use self::pages::view::Page;
use self::pages::{account, assets, confirm, login, mailbox, register, view};
use self::problem::{PageRequest, Problem};
use self::state::Web;
use crate::locale::Locale;

pub mod api;
pub mod cookies;
pub mod extract;
pub mod health;
pub mod middleware;
pub mod new_registration;
pub mod pages;
pub mod problem;
pub mod rate_limit;
pub mod server;
pub mod state;

/// The page about a problem, in the reader's language.
#[must_use]
pub fn problem_page(problem: &Problem, request: PageRequest<'_>) -> String {
    let locale = Locale::negotiate(Some(request.accept_language));
    let page = view::Problem::new(Page::new(locale, ""), problem.status.as_u16());
    // a template that cannot be formatted is told in the plainest words there are
    page.render().unwrap_or_else(|_| problem.status.to_string())
}

/// Every route with its layers.
pub fn router(web: Web, ground: Ground) -> Router {
    let routes = Router::new()
        .route("/", get(account::home))
        .route("/register", get(register::form).post(register::submit))
        .route("/register/sent", get(register::sent))
        .route("/register/status", get(register::status))
        .route("/confirm", get(confirm::form).post(confirm::submit))
        .route("/login", get(login::form).post(login::submit))
        .route("/logout", post(login::logout))
        .route("/account", get(account::account))
        .route("/mailbox", get(mailbox::list))
        .route("/mailbox/{id}", get(mailbox::show))
        .route("/mailbox.json", get(mailbox::json))
        .route("/api", get(api::index))
        .route("/api/openapi.json", get(api::document))
        .route("/api/v1/register", post(api::register))
        .route("/api/v1/confirm", post(api::confirm))
        .route("/api/v1/login", post(api::login))
        .route("/api/v1/logout", post(api::logout))
        .route("/api/v1/me", get(api::me))
        .route("/api/v1/me/activity", get(api::activity))
        .route("/api/v1/admin/queues", get(admin::queues))
        .route("/api/v1/admin/dead-letters", get(admin::dead_letters))
        .route("/api/v1/admin/dead-letters/{id}/redrive", post(admin::redrive))
        .route("/api/v1/admin/dead-letters/{id}/discard", post(admin::discard))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/static/{name}", get(assets::file))
        .layer(from_fn_with_state(web.clone(), state::detach))
        .with_state(web);
    middleware::around(routes, ground)
}
