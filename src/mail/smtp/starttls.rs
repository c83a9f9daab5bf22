//! Connecting to a mail server: TCP, and TLS from the start or by STARTTLS (RFC 3207).
//!
//! lettre holds the conversation, but its STARTTLS keeps what it has already read, so a reply that an attacker appends in
//! clear to the `220` would be believed inside the encrypted session. Here the replies before the handshake are read
//! byte by byte, and anything appended breaks the handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::failure::{Failure, within};
use super::limits::SmtpLimits;
use super::settings::{SmtpSettings, Tls};
use super::stream::{self, MAX_REPLY_BYTES, SmtpStream, Socket, Tcp};

/// After STARTTLS the server greets no second time (RFC 3207 section 4.2), but lettre waits for a greeting.
const GREETING: &[u8] = b"220 continued\r\n";

/// How long an address is tried alone before the next one is tried beside it (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// TLS 1.2 or 1.3, verified against the roots of the Mozilla programme and these.
pub(super) fn tls_config(authorities: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    tls_config_with(roots)
}

pub(super) fn tls_config_with(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Connects, and encrypts as the settings ask for, up to where an SMTP conversation can start.
pub(super) async fn connect(
    settings: &SmtpSettings,
    config: &Arc<ClientConfig>,
    limits: &SmtpLimits,
) -> Result<SmtpStream, Failure> {
    let address = (settings.host.as_str(), settings.port);
    let tcp =
        within(limits.connect, "connect", async { Ok(connect_to_any(lookup_host(address).await?).await?) }).await?;
    // without it every mail waits 41 ms for a delayed acknowledgement, because the final dot is a write of its own
    tcp.set_nodelay(true)?;
    let mut tcp = stream::with_write_timeout(tcp, limits.data);
    match settings.tls {
        Tls::None => Ok(SmtpStream::new(Socket::Plain(tcp), b"")),
        Tls::Implicit => {
            let tls = handshake(tcp, settings, config, limits).await?;
            Ok(SmtpStream::new(tls, b""))
        }
        Tls::Required | Tls::Opportunistic => {
            if !offers_starttls(&mut tcp, &settings.hello_name, limits).await? {
                if settings.tls == Tls::Required {
                    return Err(Failure::Lost("the server does not offer STARTTLS, which is required".to_owned()));
                }
                return Ok(SmtpStream::new(Socket::Plain(tcp), GREETING));
            }
            within(limits.reply, "STARTTLS", async { command(&mut tcp, "STARTTLS", 220).await }).await?;
            let tls = handshake(tcp, settings, config, limits).await?;
            Ok(SmtpStream::new(tls, GREETING))
        }
    }
}

/// Connects to the first of a host's addresses that answers. Each is tried when the one before has failed or has not answered
/// for a moment: one that drops what is sent to it does not keep the time of the others.
pub(super) async fn connect_to_any(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.peekable();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    while let Some(address) = addresses.next() {
        attempts.push(TcpStream::connect(address));
        let alone = addresses.peek().map(|_| ATTEMPT_DELAY);
        let turn = tokio::time::sleep(alone.unwrap_or(Duration::MAX));
        tokio::pin!(turn);
        while !attempts.is_empty() {
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(connected) => return Ok(connected),
                    Err(error) => failure = error,
                },
                () = &mut turn => break,
            }
        }
    }
    Err(failure)
}

async fn handshake(
    tcp: Tcp,
    settings: &SmtpSettings,
    config: &Arc<ClientConfig>,
    limits: &SmtpLimits,
) -> Result<Socket, Failure> {
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|_| Failure::Lost("the host is not a name that a certificate can be for".to_owned()))?;
    let connector = TlsConnector::from(config.clone());
    let tls = within(limits.reply, "TLS", async { Ok(connector.connect(name, tcp).await?) }).await?;
    Ok(Socket::Tls(Box::new(tls)))
}

/// Reads the greeting and the server's extensions.
async fn offers_starttls(tcp: &mut Tcp, hello_name: &str, limits: &SmtpLimits) -> Result<bool, Failure> {
    within(limits.reply, "greeting", async { reply(tcp, 220).await }).await?;
    let extensions =
        within(limits.reply, "EHLO", async { command(tcp, &format!("EHLO {hello_name}"), 250).await }).await?;
    Ok(extensions.iter().any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")))
}

async fn command(tcp: &mut Tcp, line: &str, expected: u16) -> Result<Vec<String>, Failure> {
    tcp.write_all(format!("{line}\r\n").as_bytes()).await?;
    reply(tcp, expected).await
}

/// The texts of one reply's lines (RFC 5321 section 4.2.1), if its code is the expected one. Reads no byte beyond it.
async fn reply(tcp: &mut Tcp, expected: u16) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    let mut read = 0;
    loop {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(tcp.read_u8().await?);
            read += 1;
            if read > MAX_REPLY_BYTES {
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
