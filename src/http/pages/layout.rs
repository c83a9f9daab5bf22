//! The frame of every page.

use uuid::Uuid;

use crate::account::session::SignedIn;
use crate::http::extract::own_form;
use crate::http::extract::visitor::Visitor;
use crate::http::redirect::Target;
use crate::http::state::AppState;
use crate::locale::{Locale, Text};

/// What every page needs for its frame.
#[derive(Clone, Debug)]
pub struct Page {
    /// The texts, in the reader's language.
    pub t: Text,
    /// The tag of that language, for the `lang` attribute.
    pub lang: &'static str,
    /// The display name of the person who is signed in.
    pub signed_in: Option<String>,
    /// The account of that person: the page's script knows by it whose page this is.
    pub account: Option<Uuid>,
    /// The token that the forms of that person carry.
    pub csrf: Option<String>,
    /// The path of the page, to mark it in the navigation. A page without one does not know who looks at it, and has none.
    pub path: &'static str,
    /// Where the reader is, to come back to after choosing another language.
    pub here: Target,
    /// The path of the form that the page is for, if what is typed there is to stay when another language is chosen.
    pub form: Option<&'static str>,
    /// What was just done.
    pub notice: Option<String>,
    /// Whether the footer links to the local mailbox.
    pub demo_mailbox: bool,
}

impl Page {
    /// The frame of a page for a stranger, without a link to the mailbox.
    #[must_use]
    pub fn new(locale: Locale, path: &'static str) -> Self {
        let here = Target::default();
        Self {
            t: locale.text(),
            lang: locale.tag(),
            signed_in: None,
            account: None,
            csrf: None,
            path,
            here,
            form: None,
            notice: None,
            demo_mailbox: false,
        }
    }

    /// Where the form of the page is sent to be shown in another language: to where the reader is, if the form is there.
    #[must_use]
    pub fn form_action(&self) -> Option<&str> {
        let (form, here) = (self.form?, self.here.as_str());
        Some(if here.split('?').next() == Some(form) { here } else { form })
    }

    /// The frame of a page for a visitor, in the visitor's language.
    #[must_use]
    pub fn of(state: &AppState, visitor: &Visitor, path: &'static str, signed_in: Option<&SignedIn>) -> Self {
        let locale = visitor.reads(signed_in);
        Page {
            signed_in: signed_in.map(|signed_in| signed_in.user.name.clone()),
            account: signed_in.map(|signed_in| signed_in.user.id),
            csrf: signed_in.map(|signed_in| own_form::token(&state.accounts.keys, signed_in.session)),
            here: visitor.here.clone(),
            demo_mailbox: state.mailbox().is_some() && visitor.is_local,
            notice: visitor.notice.map(|notice| notice.text(locale.text())),
            ..Page::new(locale, path)
        }
    }
}
