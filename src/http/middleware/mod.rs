//! The layers around every route, in one place and one order.

pub mod body_limit;
pub mod catch_panic;
pub mod client_ip;
pub mod detach;
mod hints;
pub mod render_problem;
pub mod request_check;
pub mod request_log;
pub mod security_headers;
pub mod site;
pub mod trace;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use self::body_limit::{BodyLimits, limit_body};
use self::catch_panic::{answer_panics, from_panic};
use self::client_ip::{Proxies, resolve_client_ip};
use self::detach::detach;
use self::render_problem::{RenderPage, render_problem};
use self::request_check::validate_request;
use self::request_log::RequestLog;
use self::security_headers::set_security_headers;
use self::site::Site;
use self::trace::{Trace, trace_request};
use crate::clock::Clock;

/// What the layers need to know.
#[derive(Clone, Debug)]
pub struct MiddlewareConfig {
    /// Our hosts and origins.
    pub site: Arc<Site>,
    /// Whose `X-Forwarded-For` counts.
    pub proxies: Arc<Proxies>,
    /// How large and how slow a body may be.
    pub body_limits: BodyLimits,
    /// Makes the ids of requests.
    pub clock: Clock,
    /// Writes the page about a problem.
    pub problem_page: RenderPage,
    /// Where requests that may change something run to their end.
    pub tasks: TaskTracker,
}

/// Puts the layers around all routes of `app`, its 404 and its 405. Add every route before.
pub fn apply(app: Router, config: MiddlewareConfig) -> Router {
    let MiddlewareConfig { site, proxies, body_limits, clock, problem_page, tasks } = config;
    // The last one added is the outermost: read from the bottom, as a request does.
    app.layer(from_fn_with_state(tasks, detach))
        .layer(from_fn_with_state(body_limits, limit_body))
        .layer(from_fn_with_state(Arc::clone(&site), validate_request))
        .layer(CatchPanicLayer::custom(from_panic))
        .layer(from_fn_with_state(problem_page, render_problem))
        .layer(from_fn_with_state(site, set_security_headers))
        .layer(from_fn_with_state(Trace { clock, log: RequestLog::default() }, trace_request))
        .layer(from_fn_with_state(proxies, resolve_client_ip))
        .layer(from_fn_with_state(problem_page, answer_panics))
}
