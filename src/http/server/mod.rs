//! From a listening socket to requests, with everything a stranger can stretch bounded.
//!
//! `axum::serve` bounds none of it: a connection that sends nothing stays for ever, and 64 KiB of headers are taken. So
//! the accept loop is our own, around hyper's HTTP/1 connection. HTTP/2 is left to the proxy in front.

pub mod stream;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::http::middleware::client_ip::Peer;
use crate::http::middleware::client_ip::Proxies;
use crate::http::server::stream::Patient;

/// Bytes of a request's line and headers together.
const HEADER_BYTES: usize = 16 * 1_024;

/// Newcomers that the system keeps for us while we are busy or full; it may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// Headers of a request.
const HEADER_COUNT: usize = 64;

/// How much a connection may cost. The defaults are what the service runs with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections. Past that nobody is refused: the system keeps newcomers until one closes.
    pub connections: usize,
    /// Open connections of one network (see [`Proxies::network`]); one more is closed at once. The loopback and trusted
    /// proxies have no such limit.
    pub connections_per_network: usize,
    /// Whom a connection counts for, and who is a trusted proxy.
    pub proxies: Arc<Proxies>,
    /// From the opening of a connection, or the end of an answer, to the end of the next request's headers.
    pub header: Duration,
    /// The same for a trusted proxy, which keeps connections for later: longer than it keeps them itself, or it finds
    /// them closed at the moment it sends.
    pub header_from_proxy: Duration,
    /// How long an answer may wait for the other side to take its next byte.
    pub stall: Duration,
    /// How long requests in hand may take to end when we stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_network: 512,
            proxies: Arc::default(),
            header: Duration::from_secs(10),
            header_from_proxy: Duration::from_secs(75),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// Listens on `address`. Use this rather than `TcpListener::bind`, whose queue of 128 newcomers overflows when a thousand
/// come at once: the system then drops them, and each waits a second or more before it knocks again.
///
/// # Errors
/// When the address is taken, is not ours, or needs a right that we lack.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Else a restart finds the address taken for a minute by connections that have ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `app` until `shutdown`; then takes no more connections, ends the idle ones, lets requests in hand finish for at
/// most [`Limits::drain`], and returns. Every request has a [`Peer`] in its extensions.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, shutdown: CancellationToken) {
    let mut open = Open::new(&limits);
    let mut trouble = AcceptTrouble::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = open.tasks.join_next_with_id() => {
                open.remove(ended.map_or_else(|panic| panic.id(), |(id, ())| id));
                continue;
            }
            accepted = listener.accept(), if open.tasks.len() < limits.connections.max(1) => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                trouble.is_over();
                let connection = connection(socket, peer, app.clone(), &limits, shutdown.clone());
                let place = open.place(peer);
                open.spawn(place, connection);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let pause = trouble.pause(&error);
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = sleep(pause) => {}
                }
            }
        }
    }
    drop(listener);
    let drained = timeout(limits.drain, async { while open.tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = open.tasks.len(), "requests did not end in time and were dropped");
        open.tasks.shutdown().await;
    }
}

/// The connections, each with the network it counts for.
struct Open {
    tasks: JoinSet<()>,
    networks: HashMap<Id, IpNet>,
    counts: HashMap<IpNet, usize>,
    per_network: usize,
    proxies: Arc<Proxies>,
}

/// Where a new connection belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Among those of its network.
    Of(IpNet),
    /// It is not counted.
    Free,
    /// Its network has all it may have.
    None,
}

impl Open {
    fn new(limits: &Limits) -> Self {
        Self {
            tasks: JoinSet::new(),
            networks: HashMap::new(),
            counts: HashMap::new(),
            per_network: limits.connections_per_network,
            proxies: Arc::clone(&limits.proxies),
        }
    }

    fn place(&self, peer: SocketAddr) -> Place {
        let ip = peer.ip().to_canonical();
        if ip.is_loopback() || self.proxies.trust(ip) {
            return Place::Free;
        }
        let network = self.proxies.network(ip);
        if self.counts.get(&network).is_some_and(|&count| count >= self.per_network) {
            tracing::debug!(%network, "has too many connections: one more is closed");
            return Place::None;
        }
        Place::Of(network)
    }

    /// Lets the connection run; without a place it is dropped, which closes it.
    fn spawn(&mut self, place: Place, connection: impl Future<Output = ()> + Send + 'static) {
        if place == Place::None {
            return;
        }
        let task = self.tasks.spawn(connection);
        if let Place::Of(network) = place {
            *self.counts.entry(network).or_default() += 1;
            self.networks.insert(task.id(), network);
        }
    }

    fn remove(&mut self, task: Id) {
        let Some(network) = self.networks.remove(&task) else { return };
        if let Some(count) = self.counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&network);
            }
        }
    }
}

/// Drives one connection to its end.
fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    app: Router,
    limits: &Limits,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let header = if limits.proxies.trust(peer.ip()) { limits.header_from_proxy } else { limits.header };
    let stall = limits.stall;
    async move {
        // Without it the end of an answer waits for the other side's delayed acknowledgement. A socket that refuses is
        // closed already.
        if socket.set_nodelay(true).is_err() {
            return;
        }
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            app.clone().oneshot(request.map(Body::new))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header)
            .max_header_size(HEADER_BYTES)
            .max_headers(HEADER_COUNT)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(Patient::new(socket, stall)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

/// Whether accepting failed because the other side had gone before we came to it.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Out of file descriptors or memory: waits a little longer each time, up to half a second, and says so once.
#[derive(Default)]
struct AcceptTrouble {
    since: Option<Instant>,
    pause: Duration,
}

impl AcceptTrouble {
    fn pause(&mut self, error: &io::Error) -> Duration {
        if self.since.is_none() {
            tracing::error!(%error, "no connection can be accepted: waiting");
            self.since = Some(Instant::now());
        }
        self.pause = (self.pause * 2).clamp(Duration::from_millis(10), Duration::from_millis(500));
        self.pause
    }

    fn is_over(&mut self) {
        if let Some(since) = self.since.take() {
            self.pause = Duration::ZERO;
            tracing::info!(after = ?since.elapsed(), "connections are accepted again");
        }
    }
}

#[cfg(test)]
mod tests;
