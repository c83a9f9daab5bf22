//! The HTTP server: the router with its state and layers, and the limits of a connection.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::components::App;
use super::transports;
use crate::http::live::LivePages;
use crate::http::middleware::MiddlewareConfig;
use crate::http::middleware::body_limit::BodyLimits;
use crate::http::middleware::client_ip::Proxies;
use crate::http::middleware::site::Site;
use crate::http::pages::problem::problem_page;
use crate::http::rate_limit::RateLimits;
use crate::http::readiness::{Readiness, Sources};
use crate::http::router;
use crate::http::server::limits::ConnectionLimits;
use crate::http::sign_on::SignOn;
use crate::http::state::AppState;

impl App {
    /// What `/readyz` asks.
    pub(super) fn readiness(&self) -> Arc<Readiness> {
        Arc::new(Readiness::new(Sources {
            db: self.accounts.db.clone(),
            clock: self.accounts.clock.clone(),
            broker: self.broker.clone(),
            mail: Arc::clone(&self.mail),
            health: self.health.clone(),
            process: self.process,
            needs: self.needs(),
        }))
    }

    /// The router, and the limits of a connection, which may take `drain` to finish when `stop` has come.
    pub(super) fn web(
        &self,
        port: u16,
        drain: Duration,
        readiness: Arc<Readiness>,
        stop: CancellationToken,
    ) -> anyhow::Result<(axum::Router, ConnectionLimits)> {
        let http = &self.config.http;
        let sign_on = SignOn::new(http.public_url.clone(), http.cookie_domain.as_deref());
        let state = AppState {
            sign_on: sign_on.clone(),
            accounts: self.accounts.clone(),
            sessions: Arc::clone(&self.sessions),
            mail: Arc::clone(&self.mail),
            shows_mailbox: transports::shows_mailbox(&self.config),
            readiness,
            https: http.public_url.scheme() == "https",
            security_contact: http.security_contact.clone(),
            rate_limits: RateLimits::new(http.limits, self.config.mail.rate),
            live: Arc::new(LivePages::new(Arc::clone(&self.watchers), http.limits, stop)),
            operator: self.operator(),
        };
        let site = Site::new(&http.public_url, port)?.with_hsts_subdomains(http.hsts_subdomains).with_sign_on(sign_on);
        let site = if http.is_reached_by_any_address() { site.reached_by_any_address() } else { site };
        let proxies = Arc::new(Proxies::new(http.trusted_proxies.clone()));
        let middleware = MiddlewareConfig {
            site: Arc::new(site),
            proxies: Arc::clone(&proxies),
            body_limits: BodyLimits::default(),
            clock: self.accounts.clock.clone(),
            problem_page,
            tasks: self.tasks.clone(),
        };
        let connections_per_proxy = http.proxy_connections;
        let limits = ConnectionLimits { connections_per_proxy, proxies, drain, ..ConnectionLimits::default() };
        Ok((router(Arc::new(state), middleware), limits))
    }
}
