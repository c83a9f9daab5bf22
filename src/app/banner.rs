//! The lines that are printed at the start.

use super::components::App;
use super::endpoints;
use super::parts::Parts;
use super::transports;
use crate::config::MailboxPages;
use crate::db::Location;
use crate::messaging::broker::Broker;
use crate::net::is_loopback_host;

impl App {
    /// Where it listens, and which database, broker and mail transport it uses.
    #[must_use]
    pub fn describe(&self, parts: &Parts) -> Vec<String> {
        let mut lines = Vec::new();
        let url = self.config.http.public_url.as_str().trim_end_matches('/');
        if parts.web {
            lines.push(format!("listening on  http://{} (public: {url})", self.config.http.listen));
        }
        lines.push(match endpoints::database(&self.config) {
            Ok(Location::Sqlite(path)) => format!("database      SQLite, {}", path.display()),
            _ => "database      PostgreSQL".to_owned(),
        });
        lines.push(match &self.broker {
            Broker::Embedded(_) => "broker        queues in the database".to_owned(),
            Broker::Rabbit(_) => "broker        RabbitMQ".to_owned(),
        });
        lines.push(format!("mail          {}", self.mail.describe()));
        let local = self.config.http.public_url.host_str().is_some_and(is_loopback_host);
        if parts.web && transports::shows_mailbox(&self.config) {
            // it responds to loopback hosts only
            let here = format!("http://localhost:{}", self.config.http.listen.port());
            lines.push(format!("mailbox       {}/mailbox (from this machine only)", if local { url } else { &here }));
        }
        if let Some(address) = self.config.http.metrics_listen {
            lines.push(format!("health        http://{address}/readyz"));
        }
        lines.extend(self.warnings(local).into_iter().map(|warning| format!("warning       {warning}")));
        if let Some(host) = endpoints::unencrypted_broker(&self.config) {
            lines.push(format!(
                "note          the way to RabbitMQ on {host} is not encrypted; over a network that others use, take amqps://"
            ));
        }
        if parts.web && self.config.http.public_url.scheme() == "http" {
            lines.push("note          plain http: cookies are not Secure; for the internet, set BELLHOP_PUBLIC_URL to https://…".to_owned());
        }
        lines
    }

    /// Settings that each are fine and together are not what anybody wants.
    fn warnings(&self, local: bool) -> Vec<String> {
        let (http, mail) = (&self.config.http, &self.config.mail);
        let any_address = http.is_reached_by_any_address();
        let mut warnings = Vec::new();
        if any_address {
            warnings.push(format!(
                "links lead to {}, which is this machine alone: set BELLHOP_PUBLIC_URL to what browsers elsewhere see",
                http.public_url.as_str().trim_end_matches('/')
            ));
        }
        if mail.smtp_url.is_none() && (!local || any_address) {
            warnings.push(
                "no mail server is set (BELLHOP_SMTP_URL): mails stay here, people elsewhere get none".to_owned(),
            );
        }
        if mail.smtp_url.is_none() && mail.mailbox == MailboxPages::On && !local {
            warnings.push(
                "BELLHOP_MAILBOX=on: whoever reaches this machine's port, by a proxy too, may read everybody's links"
                    .to_owned(),
            );
        }
        if mail.smtp_url.is_some() && is_loopback_host(&self.mail_domain) {
            warnings.push(format!(
                "mails come from {}, which other mail servers refuse: set BELLHOP_MAIL_FROM",
                self.mail_domain
            ));
        }
        warnings
    }
}
