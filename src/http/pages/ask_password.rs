//! A page that does something once the password is shown. Shared by those that need nothing else.

use askama::Template;

use crate::http::extract::form::FormState;
use crate::http::pages::layout::Page;

#[derive(Template)]
#[template(path = "pages/ask_password.html")]
pub(super) struct AskPasswordPage {
    pub(super) page: Page,
    pub(super) title: String,
    pub(super) lead: String,
    /// Whose password it is: password managers look for the name beside it.
    pub(super) email: String,
    pub(super) action: String,
    pub(super) button: String,
    /// What is wrong; nothing of what was typed.
    pub(super) form: FormState,
}

impl AskPasswordPage {
    /// With what is said of a password that is another.
    pub(super) fn refused(mut self) -> Self {
        let text = self.page.t.get("mistake-password-current");
        self.form = self.form.with_field_error("current_password", text);
        self
    }
}
