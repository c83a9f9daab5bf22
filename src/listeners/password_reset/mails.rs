//! The mails for a forgotten password, laid out by `templates/mail/<name>`.

use askama::Template;

use crate::listeners::mail_layout::{RenderedMail, greeting};
use crate::locale::Text;

/// The mail with the link that sets a new password.
#[derive(Clone, Debug)]
pub(super) struct PasswordReset {
    /// The texts, in the language of the recipient.
    pub t: Text,
    /// The display name of the account.
    pub name: String,
    /// The absolute address of the page, with the token.
    pub link: String,
    /// How long the link works from now, in words.
    pub lifetime: String,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

/// The mail to an address that nobody has an account with. It holds nothing that was typed.
#[derive(Clone, Debug)]
pub(super) struct NoAccount {
    /// The texts, in the language of the recipient.
    pub t: Text,
    /// The absolute address of the form to register.
    pub register_url: String,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

impl PasswordReset {
    /// Renders the mail.
    ///
    /// # Errors
    /// When a template fails to format, which none of their values does.
    pub(super) fn render(&self) -> askama::Result<RenderedMail> {
        let (subject, text) = (PasswordResetSubject { mail: self }, PasswordResetText { mail: self });
        RenderedMail::render(&subject, &text, &PasswordResetHtml { mail: self })
    }

    fn greeting(&self) -> String {
        greeting(self.t, &self.name)
    }
}

impl NoAccount {
    /// Renders the mail.
    ///
    /// # Errors
    /// When a template fails to format, which none of their values does.
    pub(super) fn render(&self) -> askama::Result<RenderedMail> {
        let (subject, text) = (NoAccountSubject { mail: self }, NoAccountText { mail: self });
        RenderedMail::render(&subject, &text, &NoAccountHtml { mail: self })
    }

    fn greeting(&self) -> String {
        self.t.get("mail-greeting-plain")
    }
}

#[derive(Template)]
#[template(path = "mail/password_reset/subject.txt")]
struct PasswordResetSubject<'a> {
    mail: &'a PasswordReset,
}

#[derive(Template)]
#[template(path = "mail/password_reset/text.txt")]
struct PasswordResetText<'a> {
    mail: &'a PasswordReset,
}

#[derive(Template)]
#[template(path = "mail/password_reset/mail.html")]
struct PasswordResetHtml<'a> {
    mail: &'a PasswordReset,
}

#[derive(Template)]
#[template(path = "mail/no_account/subject.txt")]
struct NoAccountSubject<'a> {
    mail: &'a NoAccount,
}

#[derive(Template)]
#[template(path = "mail/no_account/text.txt")]
struct NoAccountText<'a> {
    mail: &'a NoAccount,
}

#[derive(Template)]
#[template(path = "mail/no_account/mail.html")]
struct NoAccountHtml<'a> {
    mail: &'a NoAccount,
}
