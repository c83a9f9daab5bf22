//! The server's end of a TCP connection: bounds how long a write may wait, and closes without cutting off the answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_io_timeout::TimeoutWriter;

use crate::http::server::arrival::Arrival;

/// How long, and for how many bytes, we read on after an answer to somebody who is still sending.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// A connection that is read on for a moment after its last answer: closing a socket with unread bytes resets the
/// connection, and the reset can overtake the answer (RFC 9112 section 9.6).
pub(super) struct LingeringClose {
    socket: Pin<Box<TimeoutWriter<TcpStream>>>,
    arrival: Arc<Arrival>,
    written: Option<Instant>,
    linger: Option<Linger>,
}

/// Our side is closed, and we wait for the other.
struct Linger {
    until: Pin<Box<Sleep>>,
    bytes: usize,
}

impl LingeringClose {
    /// A write fails when the other side takes nothing for `write_timeout`. What is read is told to `arrival`.
    pub(super) fn new(socket: TcpStream, write_timeout: Duration, arrival: Arc<Arrival>) -> Self {
        let mut socket = TimeoutWriter::new(socket);
        socket.set_timeout(Some(write_timeout));
        Self { socket: Box::pin(socket), arrival, written: None, linger: None }
    }

    fn noted(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.written = Some(Instant::now());
        }
        outcome
    }
}

impl AsyncRead for LingeringClose {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = self.socket.as_mut().poll_read(cx, buf);
        if outcome.is_pending() {
            self.arrival.waits();
        } else {
            self.arrival.received(buf.filled().len() - before);
        }
        outcome
    }
}

impl AsyncWrite for LingeringClose {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.socket.as_mut().poll_write(cx, buf);
        self.noted(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.socket.as_mut().poll_write_vectored(cx, bufs);
        self.noted(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, written, linger, .. } = &mut *self;
        if linger.is_none() {
            ready!(socket.as_mut().poll_shutdown(cx))?;
            if written.is_none_or(|written| written.elapsed() > LINGER) {
                return Poll::Ready(Ok(()));
            }
        }
        let linger =
            linger.get_or_insert_with(|| Linger { until: Box::pin(tokio::time::sleep(LINGER)), bytes: LINGER_BYTES });
        let mut bytes = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match socket.as_mut().poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    linger.bytes = linger.bytes.saturating_sub(buf.filled().len());
                    if linger.bytes == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(linger.until.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
