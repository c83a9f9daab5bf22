//! Mails handed over by SMTP (RFC 5321), over a few connections that are used again.
//!
//! A connection belongs to the future that sends over it, and goes back into the pool only when its conversation
//! stands at a clean point. Dropping the future, or a panic in it, drops the connection with it.

mod settings;
mod stream;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ClientConfig;

pub use settings::{Login, SmtpSettings, Tls, UrlError};

use super::destinations::Destinations;
use super::health::{Health, HealthRecord};
use super::{Built, Mail, Receipt, SendError, Sender, build, one_line};
use crate::clock::Clock;
use crate::failpoint;

/// How long each phase of a conversation may take, and how connections are shared.
///
/// Everything up to the final dot fails fast, since a repeat costs nothing. Only the answer to the final dot gets the
/// ten minutes of RFC 5321 section 4.5.3.2.6: giving up on it early turns a slow server into mails sent twice.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Resolving the name and connecting.
    pub connect: Duration,
    /// Each of greeting, EHLO, STARTTLS, TLS handshake, AUTH, MAIL, RCPT and RSET.
    pub reply: Duration,
    /// The answer to DATA, and any single write that the server does not take off us.
    pub data: Duration,
    /// From the first byte of the message to the answer to the final dot.
    pub accepted: Duration,
    /// QUIT on a connection that is not wanted any more.
    pub farewell: Duration,
    /// How long a connection may rest and be used again.
    pub idle: Duration,
    /// Connections at once, resting ones included.
    pub connections: usize,
    /// Mails over one connection.
    pub mails_per_connection: u32,
    /// Mails to one domain at once: fewer than there are who send, or one that hangs would hold up all.
    pub per_destination: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            reply: Duration::from_secs(30),
            data: Duration::from_mins(1),
            accepted: Duration::from_mins(10),
            farewell: Duration::from_secs(1),
            idle: Duration::from_secs(30),
            connections: 4,
            mails_per_connection: 100,
            per_destination: 3,
        }
    }
}

/// The mail server, and the connections to it.
pub struct Smtp {
    settings: SmtpSettings,
    sender: Sender,
    clock: Clock,
    limits: Limits,
    tls: Arc<ClientConfig>,
    slots: Semaphore,
    destinations: Destinations,
    idle: Mutex<Vec<Line>>,
    health: HealthRecord,
}

/// A connection whose conversation stands after EHLO, AUTH or the end of a mail.
struct Line {
    connection: AsyncSmtpConnection,
    mails: u32,
    since: Instant,
}

/// What can go wrong in one phase.
#[derive(Debug)]
enum Failure {
    /// No usable answer: network, TLS, time limit, not SMTP. The connection is of no more use.
    Lost(String),
    /// An answer that says no.
    Refused { code: u16, text: String },
    /// Whoever asked may not any more.
    Withdrawn,
}

/// Where in the conversation it went wrong, which decides what it means for the mail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Up to and including AUTH: nothing to do with this mail.
    Connection,
    From,
    Recipient,
    Message,
}

impl Smtp {
    /// Prepares to send; connects to nothing yet, so that the program starts while the mail server is away.
    ///
    /// # Errors
    ///
    /// The EHLO name is malformed, or TLS cannot be set up.
    pub fn new(settings: SmtpSettings, sender: Sender, clock: Clock, limits: Limits) -> anyhow::Result<Self> {
        let name = &settings.hello_name;
        let well_formed = !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic());
        anyhow::ensure!(well_formed, "the name for EHLO must be a host name or an address in brackets");
        let tls = stream::tls_config().context("cannot set up TLS for SMTP")?;
        let slots = Semaphore::new(limits.connections.max(1));
        let destinations = Destinations::new(limits.per_destination);
        let (idle, health) = (Mutex::default(), HealthRecord::default());
        Ok(Self { settings, sender, clock, limits, tls, slots, destinations, idle, health })
    }

    /// Hands one mail over, and returns once the server has taken responsibility for it or refused it.
    ///
    /// Safe to drop at any point; dropped after the final dot, it is unknown whether the server has the mail.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(&self, mail: &Mail) -> Result<Receipt, SendError> {
        self.send_if(mail, async || true).await
    }

    /// As [`send`](Self::send), if `may` still says so when all that is left is the message itself.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send_if(&self, mail: &Mail, may: impl AsyncFn() -> bool) -> Result<Receipt, SendError> {
        let built = build(mail, &self.sender, self.clock.now())?;
        let since = Instant::now();
        let Some(_under_way) = self.destinations.set_out(&mail.to).await else {
            return Err(SendError::Temporary("mails to this domain are under way and do not arrive".to_owned()));
        };
        let Ok(_slot) = self.slots.acquire().await else {
            return Err(SendError::Temporary("the mail transport is closed".to_owned()));
        };
        let outcome = self.deliver(&built, &may).await;
        match &outcome {
            Err((phase, failure)) if is_the_servers_fault(*phase, failure) => {
                self.health.failed(self.clock.now(), &self.described(failure));
            }
            _ => self.health.worked(self.clock.now(), since.elapsed()),
        }
        match outcome {
            Ok(response) => Ok(Receipt { response: one_line(&response) }),
            Err((phase, failure)) => Err(self.judged(phase, failure)),
        }
    }

    /// Says goodbye on all resting connections; for the end of the program.
    pub async fn close(&self) {
        while let Some(line) = self.pop_idle() {
            self.retire(line).await;
        }
    }

    /// How the last attempts went.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.get()
    }

    /// Where mails go, for the start-up lines; holds no secret.
    #[must_use]
    pub fn describe(&self) -> String {
        self.settings.to_string()
    }

    async fn deliver(&self, built: &Built, may: &impl AsyncFn() -> bool) -> Result<String, (Phase, Failure)> {
        let mut line = match self.take_idle().await {
            Some(line) => line,
            None => self.connect().await.map_err(|failure| (Phase::Connection, failure))?,
        };
        let mut started = self.start(&mut line, built).await;
        // A server may hang up on a resting connection whenever it likes, and one says so only when spoken to.
        // Nothing of the mail is out yet, so a fresh connection cannot make it two.
        if line.mails > 0 && started.as_ref().is_err_and(ends_the_connection) {
            drop(line);
            line = self.connect().await.map_err(|failure| (Phase::Connection, failure))?;
            started = self.start(&mut line, built).await;
        }
        let outcome = match started {
            Ok(()) => self.hand_over(&mut line, built, may).await,
            Err(failure) => Err((Phase::From, failure)),
        };
        match &outcome {
            Err((_, failure)) if ends_the_connection(failure) => drop(line),
            // The answer to the final dot ends the transaction, whatever it is.
            Ok(_) | Err((Phase::Message, _)) => self.put_back(line),
            Err(_) => {
                let cleared = self.phase("RSET", self.limits.reply, line.connection.command(Rset)).await;
                if cleared.is_ok() {
                    self.put_back(line);
                }
            }
        }
        outcome
    }

    async fn start(&self, line: &mut Line, built: &Built) -> Result<(), Failure> {
        let from = MailFrom::new(built.envelope.from().cloned(), Vec::new());
        self.phase("MAIL", self.limits.reply, line.connection.command(from)).await.map(drop)
    }

    async fn hand_over(
        &self,
        line: &mut Line,
        built: &Built,
        may: &impl AsyncFn() -> bool,
    ) -> Result<String, (Phase, Failure)> {
        let Limits { reply, data, accepted, .. } = self.limits;
        let connection = &mut line.connection;
        for to in built.envelope.to() {
            let to = Rcpt::new(to.clone(), Vec::new());
            self.phase("RCPT", reply, connection.command(to)).await.map_err(|failure| (Phase::Recipient, failure))?;
        }
        if !may().await {
            return Err((Phase::From, Failure::Withdrawn));
        }
        failpoint::reach("mail.before_data");
        let go_on = self.phase("DATA", data, connection.command(Data)).await;
        // A refused DATA leaves the transaction open as a refused MAIL does, and says as little about the recipient.
        let go_on = go_on.map_err(|failure| (Phase::From, failure))?;
        if !go_on.has_code(354) {
            return Err((Phase::From, Failure::Lost("DATA was answered with neither 354 nor an error".to_owned())));
        }
        failpoint::reach("mail.before_message");
        let message = built.raw.strip_suffix(b"\r\n").unwrap_or(&built.raw);
        let taken = self.phase("message", accepted, connection.message(message)).await;
        let taken = taken.map_err(|failure| (Phase::Message, failure))?;
        if !taken.has_code(250) {
            let text = "the message was answered with neither 250 nor an error".to_owned();
            return Err((Phase::Message, Failure::Lost(text)));
        }
        let lines: Vec<&str> = taken.message().collect();
        Ok(format!("{} {}", taken.code(), lines.join(" ")))
    }

    async fn connect(&self) -> Result<Line, Failure> {
        let wire = stream::connect(&self.settings, &self.tls, &self.limits).await?;
        let encrypted = wire.is_encrypted();
        let hello = ClientId::Domain(self.settings.hello_name.clone());
        let connecting = AsyncSmtpConnection::connect_with_transport(Box::new(wire), &hello);
        let mut connection = self.phase("EHLO", self.limits.reply, connecting).await?;
        if let Some(login) = &self.settings.login {
            if !encrypted && self.settings.tls != Tls::None {
                let text = "the server does not offer STARTTLS, and the password is not sent in clear text";
                return Err(Failure::Lost(text.to_owned()));
            }
            let credentials = Credentials::new(login.user.clone(), login.password.expose_secret().to_owned());
            self.phase("AUTH", self.limits.reply, connection.auth(DEFAULT_MECHANISMS, &credentials)).await?;
        }
        Ok(Line { connection, mails: 0, since: Instant::now() })
    }

    async fn phase<T>(
        &self,
        name: &str,
        limit: Duration,
        talk: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, Failure> {
        within(limit, name, async { talk.await.map_err(Failure::from) }).await
    }

    async fn take_idle(&self) -> Option<Line> {
        while let Some(line) = self.pop_idle() {
            if line.mails < self.limits.mails_per_connection && line.since.elapsed() < self.limits.idle {
                return Some(line);
            }
            self.retire(line).await;
        }
        None
    }

    /// The connection that rested the shortest.
    fn pop_idle(&self) -> Option<Line> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Does not wait: between the server's 250 and the caller's note of it there is no room for another await.
    fn put_back(&self, mut line: Line) {
        line.mails += 1;
        line.since = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    async fn retire(&self, mut line: Line) {
        // Politeness only: whether the server hears it changes nothing.
        let _ = timeout(self.limits.farewell, line.connection.quit()).await;
    }

    /// What a failure means for this mail.
    fn judged(&self, phase: Phase, failure: Failure) -> SendError {
        match failure {
            Failure::Refused { code: code @ 500..=599, text }
                if phase != Phase::Connection && !is_about_our_login(code) =>
            {
                let recipient = is_about_the_recipient(phase, &text);
                SendError::Permanent { code, text: one_line(&self.without_secrets(&text)), recipient }
            }
            Failure::Withdrawn => SendError::Withdrawn,
            failure => SendError::Temporary(one_line(&self.described(&failure))),
        }
    }

    fn described(&self, failure: &Failure) -> String {
        match failure {
            Failure::Lost(text) => self.without_secrets(text),
            Failure::Refused { code, text } => format!("{code} {}", self.without_secrets(text)),
            Failure::Withdrawn => SendError::Withdrawn.to_string(),
        }
    }

    /// Some servers repeat in their refusal what they were sent.
    fn without_secrets(&self, text: &str) -> String {
        let Some(login) = &self.settings.login else { return text.to_owned() };
        let password = login.password.expose_secret();
        let forms =
            [STANDARD.encode(format!("\0{}\0{password}", login.user)), STANDARD.encode(password), password.to_owned()];
        forms.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Waits for one phase, at most `limit`.
async fn within<T>(limit: Duration, phase: &str, talk: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout(limit, talk).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Failure::Lost(text))) => Err(Failure::Lost(format!("{phase}: {text}"))),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::Lost(format!("{phase}: no answer within {limit:?}"))),
    }
}

/// 421 announces that the server hangs up (RFC 5321 section 3.8).
fn ends_the_connection(failure: &Failure) -> bool {
    matches!(failure, Failure::Lost(_) | Failure::Refused { code: 421, .. })
}

/// Not allowed to send, rather than this mail not allowed: 530, 534, 535, 538 of RFC 4954 section 6. An operator mends
/// that, and then the mail should go.
fn is_about_our_login(code: u16) -> bool {
    matches!(code, 530 | 534 | 535 | 538)
}

fn is_the_servers_fault(phase: Phase, failure: &Failure) -> bool {
    let login = matches!(failure, Failure::Refused { code, .. } if is_about_our_login(*code));
    phase == Phase::Connection || login || ends_the_connection(failure)
}

/// Whether another address would help. The enhanced code says it best where there is one (RFC 3463): X.1 is the
/// address, X.2 the mailbox, X.7 a policy of the server; without one, a refused RCPT is about its recipient.
fn is_about_the_recipient(phase: Phase, text: &str) -> bool {
    let subject = text.strip_prefix("5.").and_then(|rest| rest.split_once('.')).map(|(subject, _)| subject);
    match subject {
        Some("1") => phase != Phase::From,
        Some("2") => true,
        Some("7") => false,
        _ => phase == Phase::Recipient,
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Lost("the server closed the connection".to_owned()),
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<lettre::transport::smtp::Error> for Failure {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        match error.status() {
            Some(code) => {
                let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                Self::Refused { code: code.into(), text }
            }
            None => Self::Lost(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
