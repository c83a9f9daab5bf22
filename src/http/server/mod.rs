//! From a listening socket to requests, with everything a stranger can stretch bounded.
//!
//! `axum::serve` bounds none of it: a connection that sends nothing stays for ever, and 64 KiB of headers are taken. So
//! the accept loop is our own, around hyper's HTTP/1 connection. HTTP/2 is left to the proxy in front.

mod accept_backoff;
mod arrival;
mod connection;
mod connection_table;
pub mod limits;
mod lingering_close;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::failpoint;
use crate::http::server::accept_backoff::{AcceptBackoff, is_of_one_connection};
use crate::http::server::arrival::Arrivals;
use crate::http::server::connection_table::ConnectionTable;
use crate::http::server::limits::ConnectionLimits;

/// Newcomers that the system keeps for us while we are busy or full; it may allow fewer (`net.core.somaxconn`).
const LISTEN_BACKLOG: u32 = 4_096;

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
    socket.listen(LISTEN_BACKLOG)
}

/// Serves `app` until `shutdown`; then takes no more connections, ends the idle ones, lets requests under way finish for
/// at most [`ConnectionLimits::drain`], and returns. Every request has a [`Peer`] in its extensions.
///
/// [`Peer`]: crate::http::middleware::client_ip::Peer
pub async fn serve(
    listener: impl Into<Arc<TcpListener>>,
    app: Router,
    limits: ConnectionLimits,
    shutdown: CancellationToken,
) {
    let listener = listener.into();
    let table = ConnectionTable::new(&limits);
    let arrivals = Arrivals::new(limits.arriving_bytes);
    let mut connections = JoinSet::new();
    let mut backoff = AcceptBackoff::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < limits.connections.max(1) => accepted,
        };
        failpoint::reach("web.turn");
        match accepted {
            Ok((socket, peer)) => {
                backoff.reset();
                // a socket that is not admitted is dropped, which closes it
                if let Some(admission) = table.admit(peer) {
                    let (app, arrival) = (app.clone(), arrivals.connection());
                    let connection = connection::drive(socket, peer, app, &limits, arrival, shutdown.clone());
                    connections.spawn(async move {
                        let _admission = admission;
                        connection.await;
                    });
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let pause = backoff.next_pause(&error);
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = sleep(pause) => {}
                }
            }
        }
    }
    drop(listener);
    let drained = timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "requests did not end in time and were dropped");
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
