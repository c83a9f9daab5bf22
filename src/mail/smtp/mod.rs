//! Sending mails by SMTP (RFC 5321), over a few connections that are reused.
//!
//! A connection is owned by the future that sends over it, and returns to the pool only between two mails. Dropping the
//! future, or a panic in it, drops the connection.

mod failure;
mod limits;
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
pub use self::settings::{Login, SmtpSettings, Tls, UrlError};

use self::failure::{
    Failure, Phase, ends_the_connection, is_about_our_login, is_about_the_recipient, is_transport_failure, within,
};
use super::domain_limiter::DomainLimiter;
use super::health::{Health, HealthRecord};
use super::message::{Built, Mail, Sender, build};
use super::outcome::{Receipt, SendError, reply_text};
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
        let tls = starttls::tls_config().context("cannot set up TLS for SMTP")?;
        let permits = Semaphore::new(limits.connections.max(1));
        let domains = DomainLimiter::new(limits.per_domain);
        let (idle, health) = (Mutex::default(), HealthRecord::default());
        Ok(Self { settings, sender, clock, limits, tls, permits, domains, idle, health })
    }

    /// Sends one mail, and returns once the server has accepted or refused it.
    ///
    /// Safe to drop at any point; dropped after the final dot, it is unknown whether the server has the mail.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(&self, mail: &Mail) -> Result<Receipt, SendError> {
        self.send_if(mail, async || true).await
    }

    /// As [`send`](Self::send), if `may` still holds when nothing but the message itself is left to send.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send_if(&self, mail: &Mail, may: impl AsyncFn() -> bool) -> Result<Receipt, SendError> {
        let built = build(mail, &self.sender, self.clock.now())?;
        let since = Instant::now();
        let Some(_in_flight) = self.domains.acquire(&mail.to).await else {
            return Err(SendError::Temporary("mails to this domain are under way and do not arrive".to_owned()));
        };
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(SendError::Temporary("the mail transport is closed".to_owned()));
        };
        let outcome = self.deliver(&built, &may).await;
        match &outcome {
            Err((phase, failure)) if is_transport_failure(*phase, failure) => {
                self.health.failed(self.clock.now(), &self.describe_failure(failure));
            }
            _ => self.health.worked(self.clock.now(), since.elapsed()),
        }
        match outcome {
            Ok(response) => Ok(Receipt { response: reply_text(&response) }),
            Err((phase, failure)) => Err(self.classify(phase, failure)),
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

    async fn deliver(&self, built: &Built, may: &impl AsyncFn() -> bool) -> Result<String, (Phase, Failure)> {
        let mut pooled = match self.reuse_idle().await {
            Some(pooled) => pooled,
            None => self.connect().await.map_err(|failure| (Phase::Connection, failure))?,
        };
        let mut started = self.start(&mut pooled, built).await;
        // a server may close an idle connection at any time, which shows at the first command; nothing of the mail is out
        // yet, so a new connection cannot send it twice
        if pooled.mails > 0 && started.as_ref().is_err_and(ends_the_connection) {
            drop(pooled);
            pooled = self.connect().await.map_err(|failure| (Phase::Connection, failure))?;
            started = self.start(&mut pooled, built).await;
        }
        let outcome = match started {
            Ok(()) => self.transfer(&mut pooled, built, may).await,
            Err(failure) => Err((Phase::From, failure)),
        };
        match &outcome {
            Err((_, failure)) if ends_the_connection(failure) => drop(pooled),
            // whatever the reply to the final dot is, it ends the transaction
            Ok(_) | Err((Phase::Message, _)) => self.release(pooled),
            Err(_) => {
                let cleared = self.phase("RSET", self.limits.reply, pooled.connection.command(Rset)).await;
                if cleared.is_ok() {
                    self.release(pooled);
                }
            }
        }
        outcome
    }

    async fn start(&self, pooled: &mut PooledConnection, built: &Built) -> Result<(), Failure> {
        let from = MailFrom::new(built.envelope.from().cloned(), Vec::new());
        self.phase("MAIL", self.limits.reply, pooled.connection.command(from)).await.map(drop)
    }

    async fn transfer(
        &self,
        pooled: &mut PooledConnection,
        built: &Built,
        may: &impl AsyncFn() -> bool,
    ) -> Result<String, (Phase, Failure)> {
        let SmtpLimits { reply, data, accepted, .. } = self.limits;
        let connection = &mut pooled.connection;
        for to in built.envelope.to() {
            let to = Rcpt::new(to.clone(), Vec::new());
            self.phase("RCPT", reply, connection.command(to)).await.map_err(|failure| (Phase::Recipient, failure))?;
        }
        if !may().await {
            return Err((Phase::From, Failure::Withdrawn));
        }
        failpoint::reach("mail.before_data");
        let go_on = self.phase("DATA", data, connection.command(Data)).await;
        // a refused DATA leaves the transaction open as a refused MAIL does, and says as little about the recipient
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

    /// What a failure means for the mail.
    fn classify(&self, phase: Phase, failure: Failure) -> SendError {
        match failure {
            Failure::Refused { code: code @ 500..=599, text }
                if phase != Phase::Connection && !is_about_our_login(code) =>
            {
                let recipient = is_about_the_recipient(phase, &text);
                SendError::Permanent { code, text: reply_text(&self.without_secrets(&text)), recipient }
            }
            Failure::Withdrawn => SendError::Withdrawn,
            failure => SendError::Temporary(reply_text(&self.describe_failure(&failure))),
        }
    }

    fn describe_failure(&self, failure: &Failure) -> String {
        match failure {
            Failure::Lost(text) => self.without_secrets(text),
            Failure::Refused { code, text } => format!("{code} {}", self.without_secrets(text)),
            Failure::Withdrawn => SendError::Withdrawn.to_string(),
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

#[cfg(test)]
mod tests;
