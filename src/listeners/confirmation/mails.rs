//! The two mails of a registration, laid out by `templates/mail/<name>`.

use askama::Template;

use crate::listeners::mail_layout::{RenderedMail, greeting};
use crate::locale::Text;

/// The mail that asks a new registration to confirm its address. It holds nothing that was typed, not even the name: whoever
/// registers a stranger's address would write to them with it.
#[derive(Clone, Debug)]
pub(super) struct Confirmation {
    /// The texts, in the language of the registration.
    pub t: Text,
    /// The absolute address of the confirmation page, with the token.
    pub link: String,
    /// How long the link works from now, in words.
    pub lifetime: String,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

/// The mail to an address that has an account already: it has no link that changes anything.
#[derive(Clone, Debug)]
pub(super) struct AlreadyRegistered {
    /// The texts, in the language of the account.
    pub t: Text,
    /// The display name of the account, not of the registration: a stranger typed that one.
    pub name: String,
    /// The absolute address of the login page.
    pub login_url: String,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

impl Confirmation {
    /// Renders the mail.
    ///
    /// # Errors
    /// When a template fails to format, which none of their values does.
    pub(super) fn render(&self) -> askama::Result<RenderedMail> {
        let (subject, text) = (ConfirmationSubject { mail: self }, ConfirmationText { mail: self });
        RenderedMail::render(&subject, &text, &ConfirmationHtml { mail: self })
    }

    fn greeting(&self) -> String {
        self.t.get("mail-greeting-plain")
    }
}

impl AlreadyRegistered {
    /// Renders the mail.
    ///
    /// # Errors
    /// When a template fails to format, which none of their values does.
    pub(super) fn render(&self) -> askama::Result<RenderedMail> {
        let (subject, text) = (AlreadyRegisteredSubject { mail: self }, AlreadyRegisteredText { mail: self });
        RenderedMail::render(&subject, &text, &AlreadyRegisteredHtml { mail: self })
    }

    fn greeting(&self) -> String {
        greeting(self.t, &self.name)
    }
}

#[derive(Template)]
#[template(path = "mail/confirmation/subject.txt")]
struct ConfirmationSubject<'a> {
    mail: &'a Confirmation,
}

#[derive(Template)]
#[template(path = "mail/confirmation/text.txt")]
struct ConfirmationText<'a> {
    mail: &'a Confirmation,
}

#[derive(Template)]
#[template(path = "mail/confirmation/mail.html")]
struct ConfirmationHtml<'a> {
    mail: &'a Confirmation,
}

#[derive(Template)]
#[template(path = "mail/already_registered/subject.txt")]
struct AlreadyRegisteredSubject<'a> {
    mail: &'a AlreadyRegistered,
}

#[derive(Template)]
#[template(path = "mail/already_registered/text.txt")]
struct AlreadyRegisteredText<'a> {
    mail: &'a AlreadyRegistered,
}

#[derive(Template)]
#[template(path = "mail/already_registered/mail.html")]
struct AlreadyRegisteredHtml<'a> {
    mail: &'a AlreadyRegistered,
}

#[cfg(test)]
mod tests;
