//! The socket under an SMTP conversation: TCP without Nagle's delay, TLS from the start or by STARTTLS.
//!
//! lettre holds the conversation, but TLS is set up here, for two reasons. Its STARTTLS keeps what it has already
//! read, so an answer that somebody appends in clear to the `220` would be believed inside the encrypted session; here
//! the answers before the handshake are read byte by byte, and anything appended breaks the handshake. And one TLS
//! configuration serves both forms.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::{Failure, Limits, SmtpSettings, Tls, within};

/// Bytes of one answer, however many lines it has.
const ANSWER_LIMIT: usize = 64 * 1024;

/// After STARTTLS the server greets no second time (RFC 3207 section 4.2), but lettre waits for a greeting.
const GREETING: &[u8] = b"220 continued\r\n";

/// TLS 1.2 or 1.3, verified against the roots of the Mozilla programme.
pub(in crate::mail::smtp) fn tls_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    tls_config_with(roots)
}

pub(in crate::mail::smtp) fn tls_config_with(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A connected socket that an SMTP conversation can start on, and that is as encrypted as the settings ask for.
pub(in crate::mail::smtp) async fn connect(
    settings: &SmtpSettings,
    config: &Arc<ClientConfig>,
    limits: &Limits,
) -> Result<Wire, Failure> {
    let address = (settings.host.as_str(), settings.port);
    let mut tcp = within(limits.connect, "connect", async { Ok(TcpStream::connect(address).await?) }).await?;
    // Without this every mail waits 41 ms for a delayed acknowledgement, because the final dot is a write of its own.
    tcp.set_nodelay(true)?;
    match settings.tls {
        Tls::None => Ok(Wire::new(Stream::Plain(tcp), b"", limits)),
        Tls::Implicit => {
            let tls = handshake(tcp, settings, config, limits).await?;
            Ok(Wire::new(tls, b"", limits))
        }
        Tls::Required | Tls::Opportunistic => {
            if !offers_starttls(&mut tcp, &settings.hello_name, limits).await? {
                if settings.tls == Tls::Required {
                    return Err(Failure::Lost("the server does not offer STARTTLS, which is required".to_owned()));
                }
                return Ok(Wire::new(Stream::Plain(tcp), GREETING, limits));
            }
            within(limits.reply, "STARTTLS", async { command(&mut tcp, "STARTTLS", 220).await }).await?;
            let tls = handshake(tcp, settings, config, limits).await?;
            Ok(Wire::new(tls, GREETING, limits))
        }
    }
}

async fn handshake(
    tcp: TcpStream,
    settings: &SmtpSettings,
    config: &Arc<ClientConfig>,
    limits: &Limits,
) -> Result<Stream, Failure> {
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|_| Failure::Lost("the host is not a name that a certificate can be for".to_owned()))?;
    let connector = TlsConnector::from(config.clone());
    let tls = within(limits.reply, "TLS", async { Ok(connector.connect(name, tcp).await?) }).await?;
    Ok(Stream::Tls(Box::new(tls)))
}

/// Reads the greeting and asks what the server can do.
async fn offers_starttls(tcp: &mut TcpStream, hello_name: &str, limits: &Limits) -> Result<bool, Failure> {
    within(limits.reply, "greeting", async { answer(tcp, 220).await }).await?;
    let extensions =
        within(limits.reply, "EHLO", async { command(tcp, &format!("EHLO {hello_name}"), 250).await }).await?;
    Ok(extensions.iter().any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")))
}

async fn command(tcp: &mut TcpStream, line: &str, expected: u16) -> Result<Vec<String>, Failure> {
    tcp.write_all(format!("{line}\r\n").as_bytes()).await?;
    answer(tcp, expected).await
}

/// One answer (RFC 5321 section 4.2.1): the texts of its lines, if its code is the expected one. Not a byte more is
/// taken from the socket than belongs to it.
async fn answer(tcp: &mut TcpStream, expected: u16) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    let mut taken = 0;
    loop {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(tcp.read_u8().await?);
            taken += 1;
            if taken > ANSWER_LIMIT {
                return Err(Failure::Lost("the server's answer has no end".to_owned()));
            }
        }
        let line = String::from_utf8_lossy(&line);
        let (code, rest) = line.split_at_checked(3).unwrap_or_default();
        let Ok(code @ 200..=599) = code.parse::<u16>() else {
            return Err(Failure::Lost("the server does not speak SMTP".to_owned()));
        };
        texts.push(rest.get(1..).unwrap_or_default().trim().to_owned());
        if rest.starts_with('-') {
            continue;
        }
        if code == expected {
            return Ok(texts);
        }
        return Err(Failure::Refused { code, text: texts.join(" ") });
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What lettre reads from and writes to.
pub(in crate::mail::smtp) struct Wire {
    stream: Stream,
    /// Comes before anything that the socket says.
    greeting: &'static [u8],
    /// Bytes read since the last write: the length of an answer so far.
    read: usize,
    stall_limit: Duration,
    /// Runs while the server takes nothing off us.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    fn new(stream: Stream, greeting: &'static [u8], limits: &Limits) -> Self {
        Self { stream, greeting, read: 0, stall_limit: limits.data, stalled: None }
    }

    /// Whether TLS is between us and the server.
    pub(in crate::mail::smtp) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Passes a finished write on, and puts a limit on one that does not finish: a server that stops reading in the
    /// middle of a message must not hold a connection as long as one that thinks about the whole.
    fn or_stalled<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let limit = self.stall_limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the server stopped reading")))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("encrypted", &self.is_encrypted()).finish_non_exhaustive()
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let (now, later) = self.greeting.split_at(self.greeting.len().min(buf.remaining()));
            buf.put_slice(now);
            self.greeting = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        })?;
        let arrived = buf.filled_mut().get_mut(before..).unwrap_or_default();
        self.read += arrived.len();
        if self.read > ANSWER_LIMIT {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the server's answer has no end")));
        }
        // lettre takes an answer in another encoding for a broken connection; its code still counts.
        if std::str::from_utf8(arrived).is_err() {
            arrived.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.read = 0;
        let outcome = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        };
        self.or_stalled(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        };
        self.or_stalled(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
