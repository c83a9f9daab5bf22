//! The layers around every route, in one place and one order.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;

use super::client::Proxies;
use super::problem::RenderPage;
use super::site::Site;
use super::{body, client, guard, headers, problem, trace};
use crate::clock::Clock;

/// What the layers need to know.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Our hosts and origins.
    pub site: Arc<Site>,
    /// Whose `X-Forwarded-For` counts.
    pub proxies: Arc<Proxies>,
    /// How large and how slow a body may be.
    pub bounds: body::Bounds,
    /// Makes the ids of requests.
    pub clock: Clock,
    /// Writes the page about a problem.
    pub page: RenderPage,
}

/// Puts the layers around all routes of `app`, its 404 and its 405. Add every route before.
pub fn around(app: Router, ground: Ground) -> Router {
    let Ground { site, proxies, bounds, clock, page } = ground;
    // The last one added is the outermost: read from the bottom, as a request does.
    app.layer(from_fn_with_state(bounds, body::bound))
        .layer(from_fn_with_state(Arc::clone(&site), guard::admit))
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(from_fn_with_state(page, problem::render))
        .layer(from_fn_with_state(site, headers::secure))
        .layer(from_fn_with_state(proxies, client::identify))
        .layer(from_fn_with_state(clock, trace::request))
}
