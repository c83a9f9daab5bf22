//! One connection, from the accepted socket to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::http::middleware::client_ip::Peer;
use crate::http::server::arrival::{Arrival, with_body};
use crate::http::server::limits::{ConnectionLimits, MAX_HEADER_BYTES, MAX_HEADERS};
use crate::http::server::lingering_close::LingeringClose;

/// Drives one connection to its end.
pub(super) fn drive(
    socket: TcpStream,
    peer: SocketAddr,
    app: Router,
    limits: &ConnectionLimits,
    arrival: Arc<Arrival>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let header = if limits.proxies.trust(peer.ip()) { limits.header_from_proxy } else { limits.header };
    let write = limits.write;
    async move {
        // Without it the end of an answer waits for the other side's delayed acknowledgement. A socket that refuses is
        // closed already.
        if socket.set_nodelay(true).is_err() {
            return;
        }
        let arriving = Arc::clone(&arrival);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = with_body(&arriving, request);
            request.extensions_mut().insert(Peer(peer));
            app.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header)
            .max_header_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(LingeringClose::new(socket, write, Arc::clone(&arrival))), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = arrival.closed() => {
                tracing::debug!(%peer, "too much has begun to arrive: what has waited longest is closed");
                return;
            }
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
