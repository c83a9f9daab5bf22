//! Sending mails by SMTP (RFC 5321), over a few connections that are reused.
//!
//! A connection is owned by the future that sends over it, and returns to the pool only between two mails. Dropping the
//! future, or a panic in it, drops the connection.

mod failure;
mod limits;
mod redaction;
mod refusal;
mod settings;
mod starttls;
mod stream;

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

pub use self::limits::SmtpLimits;
pub use self::settings::{Login, SmtpSettings, Tls, UrlError, read_authorities};

use self::failure::{Failure, Phase, ends_the_connection, is_transport_failure, within};
use self::redaction::redacted;
use super::domain_limiter::DomainLimiter;
use super::health::{Health, HealthRecord};
use super::message::{Built, Mail, Sender, build};
use super::outcome::{Class, Handover, Receipt, SendError, Trouble, reply_text};
use crate::clock::Clock;
use crate::failpoint;

/// A mail server and the pool of connections to it.
pub struct Smtp {
    settings: SmtpSettings,
    sender: Sender,
    clock: Clock,
    limits: SmtpLimits,
    tls: Arc<ClientConfig>,
    permits: Semaphore,
    domains: DomainLimiter,
    idle: Mutex<Vec<PooledConnection>>,
    health: HealthRecord,
    /// How the last message that was sent whole was taken: what one that is kept back is told.
    last_transfer: Mutex<Option<Transfer>>,
}

/// From DATA to the reply to the final dot.
#[derive(Clone, Debug)]
struct Transfer {
    took: Duration,
    failure: Option<(Phase, Failure)>,
}

/// A connection whose conversation is after EHLO, AUTH or the end of a mail.
struct PooledConnection {
    connection: AsyncSmtpConnection,
    mails: u32,
    since: Instant,
}

impl Smtp {
    /// Prepares to send; connects to nothing yet, so that the program starts while the mail server is away.
    ///
    /// # Errors
    ///
    /// The EHLO name is malformed, or TLS cannot be set up.
    pub fn new(settings: SmtpSettings, sender: Sender, clock: Clock, limits: SmtpLimits) -> anyhow::Result<Self> {
        let name = &settings.hello_name;
        let well_formed = !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic());
        anyhow::ensure!(well_formed, "the name for EHLO must be a host name or an address in brackets");
        let tls = starttls::tls_config(&settings.authorities).context("cannot set up TLS for SMTP")?;
        let permits = Semaphore::new(limits.connections.max(1));
        let domains = DomainLimiter::new(limits.per_domain);
        let (idle, health, last_transfer) = (Mutex::default(), HealthRecord::default(), Mutex::default());
        Ok(Self { settings, sender, clock, limits, tls, permits, domains, idle, health, last_transfer })
    }

    /// Sends one mail, and returns once the server has accepted or refused it.
    ///
    /// Safe to drop at any point; dropped after the final dot, it is unknown whether the server has the mail.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(&self, mail: &Mail) -> Result<Receipt, SendError> {
        self.send_if(mail, Handover::Whole, async || true).await
    }

    /// As [`send`](Self::send), as far as `handover` says, if `may` still holds when nothing but the message itself is left
    /// to send.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send_if(
        &self,
        mail: &Mail,
        handover: Handover,
        may: impl AsyncFn() -> bool,
    ) -> Result<Receipt, SendError> {
        let built = build(mail, &self.sender, self.clock.now())?;
        let busy = |detail| SendError::Temporary(Trouble::without_reply(Class::Busy, detail));
        let Some(_in_flight) = self.domains.acquire(&mail.to).await else {
            return Err(busy("mails to this domain are under way and do not arrive"));
        };
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(busy("the mail transport is closed"));
        };
        match self.deliver(&built, handover, &may).await {
            Ok(response) => {
                self.health.worked(self.clock.now());
                Ok(Receipt { response: reply_text(&response) })
            }
            Err((phase, failure)) => Err(self.judge(mail, phase, &failure)),
        }
    }

    /// Closes all idle connections with QUIT, for the end of the program.
    pub async fn close(&self) {
        while let Some(pooled) = self.pop_idle() {
            self.quit(pooled).await;
        }
    }

    /// The result of the last attempt.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.get()
    }

    /// Where mails go, for the start-up lines; holds no secret.
    #[must_use]
    pub fn describe(&self) -> String {
        self.settings.to_string()
    }

    async fn deliver(
        &self,
        built: &Built,
        handover: Handover,
        may: &impl AsyncFn() -> bool,
    ) -> Result<String, (Phase, Failure)> {
        let mut pooled = match self.reuse_idle().await {
            Some(pooled) => pooled,
            None => self.connect().await.map_err(|failure| (Phase::Connection, failure))?,
        };
        let since = Instant::now();
        let mut started = self.start(&mut pooled, built).await;
        // a server may close an idle connection at any time, which shows at the first command; nothing of the mail is out
        // yet, so a new connection cannot send it twice
        if pooled.mails > 0 && started.as_ref().is_err_and(ends_the_connection) {
            drop(pooled);
            pooled = self.connect().await.map_err(|failure| (Phase::Connection, failure))?;
            started = self.start(&mut pooled, built).await;
        }
        let mut outcome = started.map_err(|failure| (Phase::From, failure));
        if outcome.is_ok() {
            outcome = self.recipient(&mut pooled, built, may).await;
        }
        let outcome = match (outcome, handover) {
            (Err(failed), _) => Err(failed),
            (Ok(()), Handover::Whole) => self.transfer(&mut pooled, built).await,
            (Ok(()), Handover::KeptBack) => {
                let kept_back = self.keep_back(since.elapsed()).await;
                self.clear(pooled).await;
                return kept_back;
            }
        };
        match &outcome {
            Err((_, failure)) if ends_the_connection(failure) => drop(pooled),
            // whatever the reply to the final dot is, it ends the transaction
            Ok(_) | Err((Phase::Message, _)) => self.release(pooled),
            Err(_) => self.clear(pooled).await,
        }
        outcome
    }

    /// Ends a transaction that has come to no end of its own.
    async fn clear(&self, mut pooled: PooledConnection) {
        if self.phase("RSET", self.limits.reply, pooled.connection.command(Rset)).await.is_ok() {
            self.release(pooled);
        }
    }

    /// As long as the rest would take, and with the end that it would come to: as for the last mail that was sent whole, or
    /// for the first one as long as the commands before it, which are as many.
    async fn keep_back(&self, so_far: Duration) -> Result<String, (Phase, Failure)> {
        let last = self.last_transfer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Transfer { took, failure } = last.unwrap_or(Transfer { took: so_far, failure: None });
        tokio::time::sleep(took).await;
        failure.map_or(Ok("kept back".to_owned()), Err)
    }

    async fn start(&self, pooled: &mut PooledConnection, built: &Built) -> Result<(), Failure> {
        let from = MailFrom::new(built.envelope.from().cloned(), Vec::new());
        self.phase("MAIL", self.limits.reply, pooled.connection.command(from)).await.map(drop)
    }

    async fn recipient(
        &self,
        pooled: &mut PooledConnection,
        built: &Built,
        may: &impl AsyncFn() -> bool,
    ) -> Result<(), (Phase, Failure)> {
        for to in built.envelope.to() {
            let to = pooled.connection.command(Rcpt::new(to.clone(), Vec::new()));
            self.phase("RCPT", self.limits.reply, to).await.map_err(|failure| (Phase::Recipient, failure))?;
        }
        if may().await { Ok(()) } else { Err((Phase::From, Failure::Withdrawn)) }
    }

    async fn transfer(&self, pooled: &mut PooledConnection, built: &Built) -> Result<String, (Phase, Failure)> {
        let since = Instant::now();
        let outcome = self.message(pooled, built).await;
        let failure = outcome.as_ref().err().cloned();
        // what is about one recipient is told to no other
        if !matches!(&failure, Some((phase, failure)) if Self::class(*phase, failure) == Class::Recipient) {
            let transfer = Transfer { took: since.elapsed(), failure };
            *self.last_transfer.lock().unwrap_or_else(PoisonError::into_inner) = Some(transfer);
        }
        outcome
    }

    async fn message(&self, pooled: &mut PooledConnection, built: &Built) -> Result<String, (Phase, Failure)> {
        let connection = &mut pooled.connection;
        failpoint::reach("mail.before_data");
        let go_on = self.phase("DATA", self.limits.data, connection.command(Data)).await;
        // a refused DATA leaves the transaction open as a refused MAIL does, and says as little about the recipient
        let go_on = go_on.map_err(|failure| (Phase::From, failure))?;
        if !go_on.has_code(354) {
            return Err((Phase::From, Failure::Lost("DATA was answered with neither 354 nor an error".to_owned())));
        }
        failpoint::reach("mail.before_message");
        let message = built.raw.strip_suffix(b"\r\n").unwrap_or(&built.raw);
        let taken = self.phase("message", self.limits.accepted, connection.message(message)).await;
        let taken = taken.map_err(|failure| (Phase::Message, failure))?;
        // any 2yz is the end of it (RFC 5321 section 4.2.1)
        if !(200..300).contains(&u16::from(taken.code())) {
            let text = "the message was answered with neither 2yz nor an error".to_owned();
            return Err((Phase::Message, Failure::Lost(text)));
        }
        let lines: Vec<&str> = taken.message().collect();
        Ok(format!("{} {}", taken.code(), lines.join(" ")))
    }

    async fn connect(&self) -> Result<PooledConnection, Failure> {
        let stream = starttls::connect(&self.settings, &self.tls, &self.limits).await?;
        let encrypted = stream.is_encrypted();
        let hello = ClientId::Domain(self.settings.hello_name.clone());
        let connecting = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
        let mut connection = self.phase("EHLO", self.limits.reply, connecting).await?;
        if let Some(login) = &self.settings.login {
            if !encrypted && self.settings.tls != Tls::None {
                let text = "the server does not offer STARTTLS, and the password is not sent in clear text";
                return Err(Failure::Lost(text.to_owned()));
            }
            let credentials = Credentials::new(login.user.clone(), login.password.expose_secret().to_owned());
            self.phase("AUTH", self.limits.reply, connection.auth(DEFAULT_MECHANISMS, &credentials)).await?;
        }
        Ok(PooledConnection { connection, mails: 0, since: Instant::now() })
    }

    async fn phase<T>(
        &self,
        name: &str,
        limit: Duration,
        talk: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, Failure> {
        within(limit, name, async { talk.await.map_err(Failure::from) }).await
    }

    async fn reuse_idle(&self) -> Option<PooledConnection> {
        while let Some(pooled) = self.pop_idle() {
            if pooled.mails < self.limits.mails_per_connection && pooled.since.elapsed() < self.limits.idle {
                return Some(pooled);
            }
            self.quit(pooled).await;
        }
        None
    }

    /// The most recently used one.
    fn pop_idle(&self) -> Option<PooledConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Not async: nothing may be awaited between the server's 250 and the caller's record of it.
    fn release(&self, mut pooled: PooledConnection) {
        pooled.mails += 1;
        pooled.since = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pooled);
    }

    async fn quit(&self, mut pooled: PooledConnection) {
        // a courtesy; nothing depends on it
        let _ = timeout(self.limits.quit, pooled.connection.quit()).await;
    }

    /// What a failure means for the mail, and for whether the server works.
    fn judge(&self, mail: &Mail, phase: Phase, failure: &Failure) -> SendError {
        let trouble = match failure {
            Failure::Withdrawn => return SendError::Withdrawn,
            Failure::Lost(text) => {
                Trouble::without_reply(Class::Unreachable, redacted(&self.without_secrets(text), &private(mail)))
            }
            Failure::Refused { code, text } => {
                let said = redacted(&self.without_secrets(text), &private(mail));
                let (class, enhanced) = refusal::classify(phase, *code, text, &said);
                Trouble::refused(class, *code, enhanced, said)
            }
        };
        let needs_an_operator = trouble.code.is_some_and(|code| refusal::needs_an_operator(code, trouble.class));
        if is_transport_failure(phase, failure) || needs_an_operator {
            self.health.failed(self.clock.now(), &format!("{trouble} {}", trouble.said));
        } else {
            self.health.worked(self.clock.now());
        }
        // the same refusal may pass by itself with 4yz
        let for_good = trouble.class == Class::Recipient && trouble.code.is_some_and(|code| code >= 500);
        if for_good { SendError::Rejected(trouble) } else { SendError::Temporary(trouble) }
    }

    /// What a failure is about, without regard to what it quotes.
    fn class(phase: Phase, failure: &Failure) -> Class {
        match failure {
            Failure::Refused { code, text } => refusal::classify(phase, *code, text, text).0,
            Failure::Lost(_) | Failure::Withdrawn => Class::Unreachable,
        }
    }

    /// Some servers repeat in an error what they were sent.
    fn without_secrets(&self, text: &str) -> String {
        let Some(login) = &self.settings.login else { return text.to_owned() };
        let password = login.password.expose_secret();
        let forms =
            [STANDARD.encode(format!("\0{}\0{password}", login.user)), STANDARD.encode(password), password.to_owned()];
        forms.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// What is in a mail and may stand in no log: a server repeats it.
fn private(mail: &Mail) -> [&str; 4] {
    let (local, domain) = mail.to.split_once('@').unwrap_or_default();
    [&mail.to, mail.to_name.as_deref().unwrap_or_default(), local, domain]
}

#[cfg(test)]
mod tests;
