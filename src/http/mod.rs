//! Door one: a request in, a page or JSON out. No SQL here, and no decision about an account.
//!
//! What people and programs reach:
//!
//! * [`register`], [`confirm`], [`login`], [`account`], [`mailbox`]: the pages
//! * [`api`]: the same for programs; [`admin`]: for administrators' programs
//! * [`health`], [`assets`]: for whoever runs and whoever loads
//! * [`web`], [`wish`], [`view`]: what these share
//!
//! The ground of it, which knows no account:
//!
//! * [`server`], [`stream`]: sockets to requests, with every time and size bounded
//! * [`stack`]: the layers around every route, in their order
//! * [`trace`], [`mod@client`], [`headers`], [`problem`], [`guard`], [`body`]: those layers, outermost first
//! * [`form`], [`json`]: what a request says, read strictly
//! * [`site`], [`cookies`], [`next`], [`limit`]: our own address, cookies, redirect targets, request limits

use askama::Template as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use self::problem::{PageRequest, Problem};
use self::stack::Ground;
use self::view::Page;
use self::web::Web;
use crate::locale::Locale;

pub mod account;
pub mod admin;
pub mod api;
pub mod assets;
pub mod body;
pub mod client;
pub mod confirm;
pub mod cookies;
pub mod form;
pub mod guard;
pub mod headers;
pub mod health;
pub mod json;
pub mod limit;
pub mod login;
pub mod mailbox;
pub mod next;
pub mod problem;
pub mod register;
pub mod server;
pub mod site;
pub mod stack;
pub mod stream;
pub mod trace;
pub mod view;
pub mod web;
pub mod wish;

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
        .layer(from_fn_with_state(web.clone(), web::detach))
        .with_state(web);
    stack::around(routes, ground)
}
