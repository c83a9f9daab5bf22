//! A page behind a link in a mail that takes one press of a button. Shared by those that need nothing else.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::REFERRER_POLICY;
use axum::response::Response;

use crate::http::extract::visitor::Visitor;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::redirect::Target;
use crate::http::response::{NO_REFERRER, html};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/link.html")]
pub(super) struct LinkPage {
    pub(super) page: Page,
    pub(super) title: String,
    pub(super) lead: String,
    /// An address that it is about.
    pub(super) about: Option<String>,
    /// What can be pressed, or where to go from here.
    pub(super) next: Next,
}

/// What there is to do on the page.
pub(super) enum Next {
    /// The button.
    Press(Button),
    /// Nothing but to go on to the account.
    Account,
    /// To ask for a link to a new password, or to sign in.
    NewPassword,
}

/// What is posted, and where.
pub(super) struct Button {
    pub(super) action: &'static str,
    /// From the link.
    pub(super) token: String,
    pub(super) text: String,
}

/// The frame of a page behind a link. Whoever looks at it may be somebody else than who is signed in.
pub(super) fn frame(state: &AppState, visitor: &Visitor, path: &'static str, token: &str) -> Page {
    let mut page = Page::of(state, visitor, path, None);
    page.here = Target::parse(&links::token_path(path, token));
    page
}

impl LinkPage {
    /// The page of a link that does not work: one whether it is unknown, used or expired (ASVS 6.3.8).
    pub(super) fn invalid(page: Page, lead: String) -> Self {
        let title = page.t.get("confirm-invalid-title");
        LinkPage { page, title, lead, about: None, next: Next::Account }
    }

    /// The same of a link to a new password.
    pub(super) fn invalid_password(page: Page, lead: String) -> Self {
        LinkPage { next: Next::NewPassword, ..Self::invalid(page, lead) }
    }

    pub(super) fn response(&self, status: StatusCode) -> Result<Response, Problem> {
        let mut response = html(status, self)?;
        response.headers_mut().insert(REFERRER_POLICY, NO_REFERRER);
        Ok(response)
    }
}
