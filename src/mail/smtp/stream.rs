//! The stream under an SMTP conversation: plain or TLS, with a time limit for writes and a size limit for replies.

use std::collections::VecDeque;
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
    replies: Replies,
}

/// The server's replies, as lettre can read them: it takes some that are well-formed for a broken connection.
struct Replies {
    /// What is to be read next.
    ready: VecDeque<u8>,
    /// Bytes of the present line.
    column: usize,
    /// Whether it says yes.
    accepts: bool,
    /// Bytes read since the last write: the length of a reply so far.
    read: usize,
    /// Whether they answer EHLO, whose keywords mean the same in any case (RFC 5321 section 2.4).
    extensions: bool,
}

impl Replies {
    /// Takes what arrived.
    fn add(&mut self, arrived: &[u8]) {
        let is_text = std::str::from_utf8(arrived).is_ok();
        for &byte in arrived {
            match byte {
                // a code may stand alone (RFC 5321 section 4.2), and after EHLO with nothing behind its blank
                b'\r' | b'\n' if self.column == 3 => self.ready.extend(b" -"),
                b'\r' | b'\n' if self.column == 4 => self.ready.extend(b"-"),
                _ => {}
            }
            if self.column == 0 {
                self.accepts = byte == b'2';
            }
            self.column = match byte {
                b'\n' => 0,
                b'\r' => usize::MAX,
                _ => self.column.saturating_add(1),
            };
            self.ready.push_back(match byte {
                // in another encoding; the code still counts
                0x80.. if !is_text => b'?',
                byte if self.extensions && self.accepts => byte.to_ascii_uppercase(),
                byte => byte,
            });
        }
    }
}

impl SmtpStream {
    pub(super) fn new(socket: Socket, greeting: &'static [u8]) -> Self {
        let replies = Replies {
            ready: greeting.iter().copied().collect(),
            column: 0,
            accepts: false,
            read: 0,
            extensions: false,
        };
        Self { socket, replies }
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
        let Self { socket, replies } = &mut *self;
        if replies.ready.is_empty() {
            let mut bytes = [0; 1_024];
            let mut arrived = ReadBuf::new(&mut bytes);
            ready!(match socket {
                Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, &mut arrived),
                Socket::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, &mut arrived),
            })?;
            replies.read += arrived.filled().len();
            if replies.read > MAX_REPLY_BYTES {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the server's answer has no end")));
            }
            replies.add(arrived.filled());
        }
        let (now, _) = replies.ready.as_slices();
        let now = now.get(..now.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(now);
        replies.ready.drain(..now.len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.replies.read = 0;
        self.replies.extensions = bytes.starts_with(b"EHLO ");
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
