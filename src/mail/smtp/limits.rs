//! How long each phase of an SMTP conversation may take, and how connections are shared.

use std::time::Duration;

/// Everything up to the final dot fails fast, since a repeat costs nothing. Only the reply to the final dot gets the ten
/// minutes of RFC 5321 section 4.5.3.2.6: giving up on it early turns a slow server into mails sent twice.
#[derive(Clone, Copy, Debug)]
pub struct SmtpLimits {
    /// Resolving the name and connecting.
    pub connect: Duration,
    /// Each of greeting, EHLO, STARTTLS, TLS handshake, AUTH, MAIL, RCPT and RSET.
    pub reply: Duration,
    /// The reply to DATA, and any single write that stays pending.
    pub data: Duration,
    /// From the first byte of the message to the reply to the final dot.
    pub accepted: Duration,
    /// QUIT on a connection that is being closed.
    pub quit: Duration,
    /// How long a connection may be idle and be reused.
    pub idle: Duration,
    /// Connections at once, idle ones included.
    pub connections: usize,
    /// Mails over one connection.
    pub mails_per_connection: u32,
    /// Mails to one domain at once: fewer than there are senders, or one domain that hangs would hold up all.
    pub per_domain: usize,
}

impl Default for SmtpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            reply: Duration::from_secs(30),
            data: Duration::from_mins(1),
            accepted: Duration::from_mins(10),
            quit: Duration::from_secs(1),
            idle: Duration::from_secs(30),
            connections: 4,
            mails_per_connection: 100,
            per_domain: 3,
        }
    }
}
