//! The layers around every route, in one place and one order.

pub mod body_limit;
pub mod client_ip;
pub mod request_check;
pub mod security_headers;
pub mod site;
pub mod trace;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;

use crate::clock::Clock;
use crate::http::middleware::client_ip::Proxies;
use crate::http::middleware::site::Site;
use crate::http::problem;
use crate::http::problem::RenderPage;

/// What the layers need to know.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Our hosts and origins.
    pub site: Arc<Site>,
    /// Whose `X-Forwarded-For` counts.
    pub proxies: Arc<Proxies>,
    /// How large and how slow a body may be.
    pub bounds: body_limit::Bounds,
    /// Makes the ids of requests.
    pub clock: Clock,
    /// Writes the page about a problem.
    pub page: RenderPage,
}

/// Puts the layers around all routes of `app`, its 404 and its 405. Add every route before.
pub fn around(app: Router, ground: Ground) -> Router {
    let Ground { site, proxies, bounds, clock, page } = ground;
    // The last one added is the outermost: read from the bottom, as a request does.
    app.layer(from_fn_with_state(bounds, body_limit::bound))
        .layer(from_fn_with_state(Arc::clone(&site), request_check::admit))
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(from_fn_with_state(page, problem::render))
        .layer(from_fn_with_state(site, security_headers::secure))
        .layer(from_fn_with_state(proxies, client_ip::identify))
        .layer(from_fn_with_state(clock, trace::request))
}
