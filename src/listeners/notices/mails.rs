//! The notices, laid out by `templates/mail/<name>`.

use askama::Template;

use crate::listeners::mail_layout::{RenderedMail, greeting};
use crate::locale::Text;

/// The mail that says that a password was changed.
#[derive(Clone, Debug)]
pub(super) struct PasswordChanged {
    /// The texts, in the language of the recipient.
    pub t: Text,
    /// The display name of the account.
    pub name: String,
    /// When it was changed, in words.
    pub moment: String,
    /// The absolute address of the form for who has forgotten the password.
    pub forgot_url: String,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

impl PasswordChanged {
    /// Renders the mail.
    ///
    /// # Errors
    /// When a template fails to format, which none of their values does.
    pub(super) fn render(&self) -> askama::Result<RenderedMail> {
        let (subject, text) = (PasswordChangedSubject { mail: self }, PasswordChangedText { mail: self });
        RenderedMail::render(&subject, &text, &PasswordChangedHtml { mail: self })
    }

    fn greeting(&self) -> String {
        greeting(self.t, &self.name)
    }
}

#[derive(Template)]
#[template(path = "mail/password_changed/subject.txt")]
struct PasswordChangedSubject<'a> {
    mail: &'a PasswordChanged,
}

#[derive(Template)]
#[template(path = "mail/password_changed/text.txt")]
struct PasswordChangedText<'a> {
    mail: &'a PasswordChanged,
}

#[derive(Template)]
#[template(path = "mail/password_changed/mail.html")]
struct PasswordChangedHtml<'a> {
    mail: &'a PasswordChanged,
}
