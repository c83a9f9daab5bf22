//! Requests in, pages or JSON out. No SQL here, and no decision about an account.
//!
//! * [`pages`]: what people see; [`api`]: the same for programs; [`health`]: for whoever runs it;
//!   [`forward_auth`]: for proxies before other applications
//! * [`extract`]: what a request says; [`middleware`]: the layers around every route; [`server`]: from sockets to requests,
//!   with every time and size bounded. None of these sees a page or a call of the API
//! * [`state`], [`problem`], [`response`], [`cookies`], [`notice`], [`export`], [`live`], [`delivery_state`], `accept`, `field_errors`,
//!   `link_budget`, [`rate_limit`], [`readiness`],
//!   [`redirect`], [`sign_on`]: what these share
//!
//! This file is the route table: every route once.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Extension, Router};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::api::{admin, document, me, me_account, me_email, me_sessions, recovery, registration, session, waiting};
use self::middleware::MiddlewareConfig;
use self::pages::{
    account, account_events, activity, api_index, assets, confirm, delete, disown, email, email_confirm, email_undo,
    export as export_page, forgot, forgot_sent, home, language, login, logout, mail, mailbox, password, profile,
    register, register_sent, reset, restore, sessions,
};
use self::state::AppState;
use crate::links;

mod accept;
pub mod api;
pub mod cookies;
pub mod delivery_state;
pub mod export;
pub mod extract;
mod field_errors;
pub mod forward_auth;
pub mod health;
mod link_budget;
pub mod live;
pub mod middleware;
pub mod notice;
pub mod pages;
pub mod problem;
pub mod rate_limit;
pub mod readiness;
pub mod redirect;
pub mod response;
pub mod server;
pub mod sign_on;
pub mod state;

/// Every route with its layers.
pub fn router(state: Arc<AppState>, config: MiddlewareConfig) -> Router {
    let pages = Router::new()
        .route(links::HOME, get(home::home))
        .route(links::REGISTER, get(register::form).post(register::submit))
        .route(links::REGISTER_SENT, get(register_sent::sent))
        .route(links::REGISTER_STATUS, get(register_sent::status))
        .route(links::REGISTER_EVENTS, get(register_sent::events))
        .route(links::REGISTER_RESEND, post(register_sent::resend))
        .route(links::REGISTER_CORRECT, post(register_sent::correct))
        .route(links::CONFIRM, get(confirm::form).post(confirm::submit))
        .route(links::LOGIN, get(login::form).post(login::submit))
        .route(links::DISOWN, get(disown::form).post(disown::submit))
        .route(links::LOGOUT, post(logout::logout))
        .route(links::LANGUAGE, post(language::choose))
        .route(links::FORGOT, get(forgot::form).post(forgot::submit))
        .route(links::FORGOT_SENT, get(forgot_sent::sent))
        .route(links::FORGOT_STATUS, get(forgot_sent::status))
        .route(links::FORGOT_EVENTS, get(forgot_sent::events))
        .route(links::RESET, get(reset::form).post(reset::submit))
        .route(links::ACCOUNT, get(account::account))
        .route(links::ACCOUNT_EVENTS, get(account_events::events))
        .route(links::ACCOUNT_PROFILE, get(profile::form).post(profile::submit))
        .route(links::ACCOUNT_ACTIVITY, get(activity::activity))
        .route(links::ACCOUNT_PASSWORD, get(password::form).post(password::submit))
        .route(links::ACCOUNT_EMAIL, get(email::form).post(email::submit))
        .route(links::ACCOUNT_EMAIL_WITHDRAW, post(email::withdraw))
        .route(links::ACCOUNT_EMAIL_STATUS, get(email::status))
        .route(links::ACCOUNT_EMAIL_EVENTS, get(email::events))
        .route(links::EMAIL_CONFIRM, get(email_confirm::form).post(email_confirm::submit))
        .route(links::EMAIL_UNDO, get(email_undo::form).post(email_undo::submit))
        .route(links::ACCOUNT_EXPORT, get(export_page::form).post(export_page::submit))
        .route(links::ACCOUNT_DELETE, get(delete::form).post(delete::submit))
        .route(links::ACCOUNT_DELETE_UNDO, post(delete::undo))
        .route(links::ACCOUNT_RESTORE, get(restore::form).post(restore::submit))
        .route(links::ACCOUNT_SESSIONS, get(sessions::list))
        .route(links::END_SESSION, post(sessions::end))
        .route(links::END_OTHER_SESSIONS, post(sessions::end_others))
        .route(links::MAILBOX, get(mailbox::list))
        .route(links::MAILBOX_MAIL, get(mail::show))
        .route(links::MAILBOX_JSON, get(mailbox::json))
        .route(links::API_INDEX, get(api_index::index))
        .route(links::STATIC_FILE, get(assets::file))
        .route(links::FAVICON, get(assets::root_file))
        .route(links::TOUCH_ICON, get(assets::root_file))
        .route(links::MANIFEST, get(assets::root_file))
        .route(links::ROBOTS, get(assets::root_file))
        .route(links::CHANGE_PASSWORD, get(assets::change_password))
        .route(links::SECURITY_TXT, get(assets::security_txt))
        .layer(from_fn_with_state(Arc::clone(&state), notice::forget));
    let https = state.https;
    let (api, openapi) = api().split_for_parts();
    let routes = Router::new()
        .merge(pages)
        .merge(api)
        .route(links::API_DOCUMENT, get(document::document))
        .route(links::LIVEZ, get(health::livez))
        .route(links::READYZ, get(health::readyz))
        .route(links::AUTH_VERIFY, get(forward_auth::verify))
        .layer(from_fn_with_state(Arc::clone(&state), link_budget::limit))
        .layer(Extension(Arc::new(document::completed(openapi, https))))
        .with_state(state);
    middleware::apply(routes, config)
}

/// The calls of the API. Each says its path and method beside its handler, for the document.
fn api() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::with_openapi(document::without_calls())
        .routes(routes!(registration::register))
        .routes(routes!(registration::confirm))
        .routes(routes!(waiting::status))
        .routes(routes!(waiting::resend))
        .routes(routes!(waiting::correct))
        .routes(routes!(session::login))
        .routes(routes!(session::logout))
        .routes(routes!(recovery::forgot))
        .routes(routes!(recovery::reset))
        .routes(routes!(recovery::disown))
        .routes(routes!(me::me, me::change, me_account::delete))
        .routes(routes!(me_account::restore))
        .routes(routes!(me_account::export))
        .routes(routes!(me_account::prove))
        .routes(routes!(me_email::change, me_email::withdraw))
        .routes(routes!(me_email::confirm))
        .routes(routes!(me_email::undo))
        .routes(routes!(me::activity))
        .routes(routes!(me::change_password))
        .routes(routes!(me_sessions::list, me_sessions::end_others))
        .routes(routes!(me_sessions::end))
        .routes(routes!(admin::queues))
        .routes(routes!(admin::retry_now))
        .routes(routes!(admin::dead_letters))
        .routes(routes!(admin::redrive))
        .routes(routes!(admin::discard))
}

/// The API's OpenAPI document, as a server that browsers reach by https or not has it.
#[must_use]
pub fn openapi(https: bool) -> OpenApi {
    document::completed(api().into_openapi(), https)
}
