//! The server's end of a TCP connection: bounds how long a reader may stall us, and closes without cutting off the answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long, and for how many bytes, we listen after our last word to somebody who is still talking.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// A connection whose writes fail when the other side takes nothing for `stall`.
pub(in crate::http) struct Patient {
    socket: TcpStream,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    answered: Option<Instant>,
    farewell: Option<Farewell>,
}

/// Our side is closed, and we wait for the other.
struct Farewell {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Patient {
    pub(in crate::http) fn new(socket: TcpStream, stall: Duration) -> Self {
        Self { socket, stall, stalled: None, answered: None, farewell: None }
    }

    /// Passes a write's outcome on; one that waits is timed, one that got anywhere ends the time.
    fn timed(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stalled = None;
            self.answered = Some(Instant::now());
            return outcome;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side does not read")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.timed(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.timed(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Closes our side, then reads on for a moment if we have just answered: closing a socket with unread bytes resets the
    /// connection, and the reset can overtake the answer (RFC 9112 section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            if this.answered.is_none_or(|answered| answered.elapsed() > LINGER) {
                return Poll::Ready(Ok(()));
            }
        }
        let farewell = this
            .farewell
            .get_or_insert_with(|| Farewell { until: Box::pin(tokio::time::sleep(LINGER)), left: LINGER_BYTES });
        let mut bytes = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    farewell.left = farewell.left.saturating_sub(buf.filled().len());
                    if farewell.left == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(farewell.until.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
