//! How much a connection may cost.

use std::sync::Arc;
use std::time::Duration;

use crate::http::middleware::client_ip::Proxies;

/// Bytes of a request's line and headers together.
pub(super) const MAX_HEADER_BYTES: usize = 16 * 1_024;

/// Headers of a request.
pub(super) const MAX_HEADERS: usize = 64;

/// The limits of a connection. The defaults are what the service runs with.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Open connections. Past that nobody is refused: the system keeps newcomers until one closes.
    pub connections: usize,
    /// Open connections of one network (see [`Proxies::network`]); one more is closed at once.
    pub connections_per_network: usize,
    /// The same for an address of the loopback or a trusted proxy: behind it may be many people.
    pub connections_per_proxy: usize,
    /// Bytes that requests may hold together that have begun to arrive and are not here whole. Past that the connections whose
    /// request has been on its way for longest are closed.
    pub arriving_bytes: usize,
    /// Whom a connection counts for, and who is a trusted proxy.
    pub proxies: Arc<Proxies>,
    /// From the opening of a connection, or the end of an answer, to the end of the next request's headers.
    pub header: Duration,
    /// The same for a trusted proxy, which keeps connections for later: longer than it keeps them itself, or it finds
    /// them closed at the moment it sends.
    pub header_from_proxy: Duration,
    /// How long an answer may wait for the other side to take its next byte.
    pub write: Duration,
    /// How long requests under way may take to end when we stop.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_network: 512,
            connections_per_proxy: 8_192,
            arriving_bytes: 32 * 1_024 * 1_024,
            proxies: Arc::default(),
            header: Duration::from_secs(10),
            header_from_proxy: Duration::from_secs(75),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}
