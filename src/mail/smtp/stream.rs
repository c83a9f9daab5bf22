//! The stream under an SMTP conversation: plain or TLS, with a time limit for writes and a size limit for replies.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::client::TlsStream;

/// Bytes of one reply, however many lines it has.
pub(super) const MAX_REPLY_BYTES: usize = 64 * 1024;

/// A connection on which a pending write fails in time: a server that stops reading in the middle of a message must not hold
/// it as long as one that takes its time to accept the whole.
pub(super) type Tcp = Pin<Box<TimeoutWriter<TcpStream>>>;

pub(super) fn with_write_timeout(tcp: TcpStream, timeout: Duration) -> Tcp {
    let mut tcp = TimeoutWriter::new(tcp);
    tcp.set_timeout(Some(timeout));
    Box::pin(tcp)
}

pub(super) enum Socket {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

/// The stream that lettre holds its conversation on.
pub(super) struct SmtpStream {
    socket: Socket,
    /// Read before anything from the socket.
    greeting: &'static [u8],
    /// Bytes read since the last write: the length of a reply so far.
    read: usize,
}

impl SmtpStream {
    pub(super) fn new(socket: Socket, greeting: &'static [u8]) -> Self {
        Self { socket, greeting, read: 0 }
    }

    /// Whether it is encrypted by TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    fn tcp(&self) -> &TcpStream {
        match &self.socket {
            Socket::Plain(tcp) => tcp.get_ref(),
            Socket::Tls(tls) => tls.get_ref().0.get_ref(),
        }
    }
}

fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::TimedOut => io::Error::new(io::ErrorKind::TimedOut, "the server stopped reading"),
        _ => error,
    }
}

impl fmt::Debug for SmtpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpStream").field("encrypted", &self.is_encrypted()).finish_non_exhaustive()
    }
}

impl AsyncTokioStream for SmtpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }
}

impl AsyncRead for SmtpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let (now, later) = self.greeting.split_at(self.greeting.len().min(buf.remaining()));
            buf.put_slice(now);
            self.greeting = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Socket::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        })?;
        let arrived = buf.filled_mut().get_mut(before..).unwrap_or_default();
        self.read += arrived.len();
        if self.read > MAX_REPLY_BYTES {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the server's answer has no end")));
        }
        // lettre takes a reply in another encoding for a broken connection; its code still counts
        if std::str::from_utf8(arrived).is_err() {
            arrived.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.read = 0;
        let result = match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Socket::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        };
        result.map_err(named)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Socket::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        };
        result.map_err(named)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
