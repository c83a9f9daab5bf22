//! The lines that are printed at the start.

use super::components::App;
use super::endpoints;
use super::parts::Parts;
use crate::db::Location;
use crate::mail::Transport;
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
        if parts.web && matches!(&*self.mail, Transport::Mailbox(_)) {
            // it responds to loopback hosts only
            let here = format!("http://localhost:{}", self.config.http.listen.port());
            let base = if self.config.http.public_url.host_str().is_some_and(is_loopback_host) { url } else { &here };
            lines.push(format!("mailbox       {base}/mailbox (from this machine only)"));
        }
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
}
