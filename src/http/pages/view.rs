//! What the pages show: one struct per page, filled by the handlers and laid out by `templates/pages`.
//!
//! Everything in a field is plain text; the templates escape it (ASVS 1.2.1). Nothing here reads a database or a
//! request. No page needs the script: it only shows passwords and follows the delivery of a mail.

mod words;

use askama::Template;

pub use self::words::{activity_words, day, device, moment, text_parts};
use crate::locale::{Locale, Text};

/// Stands in the address of every asset, so that a new version is a new address and the old one may be cached for ever.
pub const ASSETS_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What every page needs for its frame.
#[derive(Clone, Debug)]
pub struct Page {
    /// The texts, in the reader's language.
    pub t: Text,
    /// The tag of that language, for the `lang` attribute.
    pub lang: &'static str,
    /// The display name of the person who is signed in.
    pub signed_in: Option<String>,
    /// The path of the page, to mark it in the navigation. A page without one does not know who looks at it, and has none.
    pub path: &'static str,
    /// Whether the footer links to the local mailbox.
    pub demo_mailbox: bool,
}

impl Page {
    /// The frame of a page for a stranger, without a link to the mailbox.
    #[must_use]
    pub const fn new(locale: Locale, path: &'static str) -> Self {
        Self { t: locale.text(), lang: locale.tag(), signed_in: None, path, demo_mailbox: false }
    }
}

/// GET /: what this is.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/home.html")]
pub struct Home {
    /// The frame.
    pub page: Page,
}

/// GET and POST /register: the form, with what was typed (never the password) and what is wrong with it.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/register.html")]
pub struct Register {
    /// The frame.
    pub page: Page,
    /// The address as typed.
    pub email: String,
    /// The name as typed.
    pub name: String,
    /// What is wrong; empty on the first visit.
    pub errors: RegisterErrors,
}

/// Mistakes in a registration, in the reader's language, each for its field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterErrors {
    /// About the address.
    pub email: Option<String>,
    /// About the password.
    pub password: Option<String>,
    /// About the name.
    pub name: Option<String>,
    /// About the form as a whole.
    pub form: Option<String>,
}

impl RegisterErrors {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.email.is_none() && self.password.is_none() && self.name.is_none() && self.form.is_none()
    }
}

/// How far a mail has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// This browser has no registration that is waiting.
    #[default]
    Unknown,
    /// Written down, not yet handed over.
    Queued,
    /// The mail server has taken it.
    Sent,
    /// The mail server does not take it for now; tried again.
    Delayed,
    /// The mail server refused the address for good.
    Rejected,
}

impl Delivery {
    /// The word for it in GET /register/status and in the style sheet.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delayed => "delayed",
            Self::Rejected => "rejected",
        }
    }

    /// Whether looking again can show something else.
    #[must_use]
    pub const fn moves(self) -> bool {
        matches!(self, Self::Queued | Self::Sent | Self::Delayed)
    }

    /// What the waiting person is told.
    #[must_use]
    pub fn sentence(self, t: Text) -> String {
        match self {
            Self::Unknown => t.get("delivery-unknown"),
            Self::Queued => t.get("delivery-queued"),
            Self::Sent => t.get("delivery-sent"),
            Self::Delayed => t.get("delivery-delayed"),
            Self::Rejected => t.get("delivery-rejected"),
        }
    }
}

/// GET /register/sent: "check your inbox", and where the mail is.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/register_sent.html")]
pub struct RegisterSent {
    /// The frame.
    pub page: Page,
    /// The address that is written to, if this browser registered.
    pub address: Option<String>,
    /// How far the mail has come.
    pub status: Delivery,
    /// Whether to offer POST /register/resend.
    pub resend: bool,
}

impl RegisterSent {
    /// What the waiting person is told when the mail has come as far as `status`. A mail in the local mailbox has gone to
    /// no mail server, and no other inbox will get it.
    fn sentence(&self, status: Delivery) -> String {
        match status {
            Delivery::Sent if self.page.demo_mailbox => self.page.t.get("delivery-sent-here"),
            status => status.sentence(self.page.t),
        }
    }
}

/// What GET /confirm asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmState {
    /// Only the press of a button: this is the browser that registered.
    Button,
    /// The password too: it is another browser.
    Password,
    /// Nothing: the link is unknown, expired or used, and the page does not say which (ASVS 6.3.8).
    Invalid,
}

/// GET and POST /confirm.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/confirm.html")]
pub struct Confirm {
    /// The frame.
    pub page: Page,
    /// The token from the link, sent along with the form.
    pub token: String,
    /// What is asked for.
    pub state: ConfirmState,
    /// What was wrong with the last try.
    pub error: Option<String>,
}

/// GET and POST /login.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/login.html")]
pub struct Login {
    /// The frame.
    pub page: Page,
    /// The address as typed.
    pub email: String,
    /// Where to go afterwards: a path of this site that the handler has checked.
    pub next: Option<String>,
    /// One message for all causes.
    pub error: Option<String>,
}

/// GET /account.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/account.html")]
pub struct Account {
    /// The frame.
    pub page: Page,
    /// The display name.
    pub name: String,
    /// The confirmed address.
    pub email: String,
    /// The day of registration, as [`day`] says it.
    pub since: String,
    /// The login log, newest first.
    pub activity: Vec<ActivityRow>,
    /// The tag of the language that mails are written in.
    pub language: &'static str,
}

impl Account {
    fn language_name(&self) -> String {
        let t = self.page.t;
        match Locale::from_tag(self.language).unwrap_or_default() {
            Locale::En => t.get("language-en"),
            Locale::ZhCn => t.get("language-zh-cn"),
        }
    }
}

/// One line of the login log.
#[derive(Clone, Debug)]
pub struct ActivityRow {
    /// What happened, as [`activity_words`] says it.
    pub what: String,
    /// Whether it went through; false marks a refusal.
    pub ok: bool,
    /// When, as [`moment`] says it.
    pub at: String,
    /// The same for programs: RFC 3339.
    pub at_iso: String,
    /// The network address of the client.
    pub ip: String,
    /// The device, as [`device`] says it.
    pub agent: String,
    /// Anything else worth a line.
    pub detail: Option<String>,
}

/// GET /mailbox.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/mailbox.html")]
pub struct Mailbox {
    /// The frame.
    pub page: Page,
    /// The mails, newest first.
    pub mails: Vec<MailRow>,
}

/// One mail in the list.
#[derive(Clone, Debug)]
pub struct MailRow {
    /// Its id, one segment of a path.
    pub id: String,
    /// The recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// When it came, for people.
    pub at: String,
}

/// GET /mailbox/{id}: the text part of one mail.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/mail.html")]
pub struct Mail {
    /// The frame.
    pub page: Page,
    /// The recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// When it came, for people.
    pub at: String,
    /// The text, cut into words and links by [`text_parts`].
    pub text_parts: Vec<TextPart>,
}

/// A piece of a mail's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPart {
    /// What is shown.
    pub text: String,
    /// Where it leads, if it is a link: an http or https address.
    pub href: Option<String>,
}

/// Any answer that is a refusal or a failure.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/problem.html")]
pub struct Problem {
    /// The frame.
    pub page: Page,
    /// The status of the answer.
    pub status: u16,
    /// What is the matter.
    pub title: String,
    /// What to do about it.
    pub detail: String,
}

impl Problem {
    /// The statuses that have words of their own.
    pub const STATUSES: [u16; 10] = [400, 403, 404, 405, 413, 415, 421, 429, 500, 503];

    /// The page for `status`. One without words of its own takes those of its class: 400 or 500.
    #[must_use]
    pub fn new(page: Page, status: u16) -> Self {
        let class = if status < 500 { 400 } else { 500 };
        let worded = if Self::STATUSES.contains(&status) { status } else { class };
        let title = page.t.get(&format!("problem-{worded}-title"));
        let detail = page.t.get(&format!("problem-{worded}-detail"));
        Self { page, status, title, detail }
    }
}

/// GET /api: the operations, to read.
#[derive(Template, Clone, Debug)]
#[template(path = "pages/api_index.html")]
pub struct ApiIndex {
    /// The frame.
    pub page: Page,
    /// The operations, in the order of the document.
    pub operations: Vec<ApiRow>,
}

/// One operation of the API.
#[derive(Clone, Debug)]
pub struct ApiRow {
    /// GET, POST, DELETE …
    pub method: String,
    /// The path with its parameters in braces.
    pub path: String,
    /// What it does.
    pub summary: String,
}

#[cfg(test)]
mod tests;
