//! How mails leave.

use std::num::NonZeroU32;
use std::path::PathBuf;

use secrecy::SecretString;

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;

pub(super) const SECTION: Section = Section {
    title: "Mail",
    settings: &[
        Setting::new(
            "SMTP_URL",
            Fallback::Described("the local mailbox"),
            "smtp://user:pass@host:port or smtps://…, ?tls=required|opportunistic|none",
        )
        .secret()
        .example("smtp://user:password@mail.example.org:587"),
        Setting::new(
            "SMTP_CA",
            Fallback::Described("none"),
            "PEM file of certificates that are believed beside the usual ones",
        )
        .example("/etc/ssl/our-ca.pem"),
        Setting::new(
            "MAILBOX",
            Fallback::Value("auto"),
            "the local mailbox's pages, without a mail server: auto (while the public URL is on the loopback), on, off",
        ),
        Setting::new("MAIL_FROM", Fallback::Value("Bellhop <no-reply@localhost>"), "sender of the mails")
            .example("Example <no-reply@example.org>"),
        Setting::new(
            "MAIL_RATE",
            Fallback::Described("no limit"),
            "mails a minute that a process sends at most, evenly; one network may cause a quarter of them",
        )
        .example("60"),
    ],
};

/// How mails leave.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// `BELLHOP_SMTP_URL`; none is the local mailbox.
    pub smtp_url: Option<SecretString>,
    /// `BELLHOP_SMTP_CA`
    pub smtp_ca: Option<PathBuf>,
    /// `BELLHOP_MAILBOX`
    pub mailbox: MailboxPages,
    /// `BELLHOP_MAIL_FROM`
    pub from: String,
    /// `BELLHOP_MAIL_RATE`, a minute; none is no limit.
    pub rate: Option<NonZeroU32>,
}

/// Who may read the local mailbox in a browser of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxPages {
    /// Whoever is there, while the site is for this machine alone: a proxy on it would let everybody in.
    Auto,
    /// Whoever is there.
    On,
    /// Nobody.
    Off,
}

impl MailConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        Ok(MailConfig {
            smtp_url: values.take_secret("SMTP_URL"),
            smtp_ca: values.take_text("SMTP_CA").map(PathBuf::from),
            mailbox: values.take_word(
                "MAILBOX",
                &[("auto", MailboxPages::Auto), ("on", MailboxPages::On), ("off", MailboxPages::Off)],
            )?,
            from: values.take("MAIL_FROM")?,
            rate: values.take_optional("MAIL_RATE")?,
        })
    }
}
