//! The broker and the mail transport that the settings choose.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{consumers, data_dir};
use crate::account::Accounts;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, MailboxPages};
use crate::listeners::confirmation;
use crate::mail::{Mailbox, Sender, Smtp, SmtpLimits, SmtpSettings, Transport, read_authorities};
use crate::messaging::broker::Broker;
use crate::messaging::broker::embedded::Embedded;
use crate::messaging::broker::rabbit::Rabbit;
use crate::messaging::topology::Topology;
use crate::net::is_loopback_host;

/// The sender of all mails, and the mail server if there is one.
pub(super) fn mail_settings(config: &Config) -> Result<(Sender, Option<SmtpSettings>), ConfigError> {
    let sender = Sender::parse(&config.mail.from).map_err(|error| ConfigError::value("MAIL_FROM", error))?;
    let smtp = config.mail.smtp_url.as_ref().map(|url| SmtpSettings::parse(url.expose_secret())).transpose();
    let mut smtp = smtp.map_err(|error| ConfigError::value("SMTP_URL", error))?;
    if let Some(path) = &config.mail.smtp_ca {
        let authorities = read_authorities(path)
            .map_err(|error| ConfigError::new("SMTP_CA", format!("{}: {error}", path.display())))?;
        smtp = smtp.map(|smtp| SmtpSettings { authorities, ..smtp });
    }
    Ok((sender, smtp))
}

/// Whether people on this machine may read the local mailbox in a browser.
pub(super) fn shows_mailbox(config: &Config) -> bool {
    let local = config.http.public_url.host_str().is_some_and(is_loopback_host);
    config.mail.smtp_url.is_none()
        && match config.mail.mailbox {
            MailboxPages::Auto => local,
            MailboxPages::On => true,
            MailboxPages::Off => false,
        }
}

/// The mail server, or the local mailbox.
pub(super) fn mail(
    config: &Config,
    sender: Sender,
    smtp: Option<SmtpSettings>,
    clock: Clock,
) -> anyhow::Result<Transport> {
    let Some(mut settings) = smtp else {
        data_dir::create(config)?;
        return Ok(Transport::Mailbox(Mailbox::open(&config.data.data_dir.join("mailbox"), sender, clock)?));
    };
    // spam filters dislike an address in brackets
    if let Some(domain) = config.http.public_url.domain() {
        domain.clone_into(&mut settings.hello_name);
    }
    let senders = usize::from(consumers::count(config, &confirmation::LISTENER));
    let limits = SmtpLimits { per_domain: senders.saturating_sub(1), ..SmtpLimits::default() };
    Ok(Transport::Smtp(Box::new(Smtp::new(settings, sender, clock, limits)?)))
}

/// `RabbitMQ`, or the broker in the database.
pub(super) async fn broker(
    config: &Config,
    accounts: &Accounts,
    topology: Arc<Topology>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Broker> {
    if let Some(url) = &config.messaging.broker_url {
        let name = format!("bellhop@{}", config.http.listen);
        let rabbit = Rabbit::start(url.clone(), &name, topology, config.messaging.topology, tasks, stop.clone());
        return Ok(Broker::Rabbit(rabbit.map_err(|error| ConfigError::new("BROKER_URL", error))?));
    }
    let Accounts { db, clock, notifier, .. } = accounts.clone();
    let embedded = Embedded::new(db, clock, notifier, topology, tasks.clone());
    embedded.declare().await?;
    Ok(Broker::Embedded(embedded))
}
