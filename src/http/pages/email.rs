//! `/account/email`: the form that moves the account to another address, and how far the mail to that address has come.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::change_email::{self, EmailErrors};
use crate::account::session::{self, SignedIn};
use crate::account::waiting_email::{self, Waiting};
use crate::http::extract::form::FormState;
use crate::http::extract::own_form::OwnFields;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::notice::Notice;
use crate::http::pages::delivery::{self, Delivery, Words};
use crate::http::pages::language;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::response::{html, see_other, with_cookies};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/email.html")]
pub(super) struct EmailPage {
    pub(super) page: Page,
    /// The present address.
    pub(super) present: String,
    /// `email`, as typed.
    pub(super) form: FormState,
    /// The address that waits for its confirmation, and how far the mail to it has come.
    pub(super) waiting: Option<(String, Delivery)>,
    /// How long the former address can undo it, in words.
    pub(super) undo: String,
}

impl EmailPage {
    async fn of(
        state: &AppState,
        visitor: &Visitor,
        signed_in: SignedIn,
        form: FormState,
    ) -> Result<EmailPage, Problem> {
        let page = Page::of(state, visitor, links::ACCOUNT, Some(&signed_in));
        let page = Page { form: Some(links::ACCOUNT_EMAIL), ..page };
        let waiting = waiting_email::of_user(&state.accounts, signed_in.user.id).await?;
        let words = Words::new(state, visitor, page.t);
        let waiting = waiting.map(|Waiting { email, delivery }| {
            let (url, events) = (links::ACCOUNT_EMAIL_STATUS, links::ACCOUNT_EMAIL_EVENTS);
            (email, Delivery { words, url, events, progress: Some(delivery) })
        });
        let undo = page.t.span(state.accounts.lifetimes.email_undo);
        Ok(EmailPage { page, present: signed_in.user.email, form, waiting, undo })
    }
}

/// GET /account/email, or 303 to `/login`.
///
/// # Errors
/// When the database is away.
pub async fn form(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    html(StatusCode::OK, &EmailPage::of(&state, &visitor, signed_in, FormState::default()).await?)
}

/// GET /account/email/status: how far the mail to the new address has come, in JSON.
///
/// # Errors
/// When the database is away.
pub async fn status(State(state): State<Arc<AppState>>, mut visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    // as the page that asks
    visitor.locale = visitor.reads(signed_in.as_ref());
    let progress = match signed_in {
        Some(signed_in) => change_email::progress(&state.accounts, signed_in.user.id).await?,
        None => None,
    };
    Ok(delivery::status(&state, &visitor, progress.as_ref()))
}

/// GET /account/email/events: the same as a stream, each time that it changes.
///
/// # Errors
/// When the database is away.
pub async fn events(State(state): State<Arc<AppState>>, mut visitor: Visitor) -> Result<Response, Problem> {
    visitor.locale = visitor.reads(visitor.signed_in(&state).await?.as_ref());
    let (accounts, token) = (state.accounts.clone(), visitor.session);
    let read = move || {
        let accounts = accounts.clone();
        async move {
            let Some(token) = token else { return Ok(None) };
            // each time: the session may have ended meanwhile
            let Some(signed_in) = session::peek(&accounts, token).await? else { return Ok(None) };
            let user = signed_in.user.id;
            Ok(change_email::progress(&accounts, user).await?.map(|progress| (user, progress)))
        }
    };
    delivery::events(&state, &visitor, read).await
}

/// POST /account/email/withdraw: 303 back; what waited for its confirmation is called off. Safe to repeat.
///
/// # Errors
/// When the database is away.
pub async fn withdraw(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [] = fields.take([])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    waiting_email::withdraw(&state.accounts, signed_in.user.id).await?;
    Ok(see_other(links::ACCOUNT_EMAIL, [Notice::EmailWithdrawn.cookie(state.https)?]))
}

/// POST /account/email: 303 back, where the mail is waited for; or 422 with the form as typed. With a `locale`, the form as typed in
/// that language, and nothing else.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(
    State(state): State<Arc<AppState>>,
    mut visitor: Visitor,
    OwnFields(fields): OwnFields,
) -> Result<Response, Problem> {
    let [email, current, locale] = fields.take(["email", "current_password", "locale"])?;
    let Some(signed_in) = visitor.signed_in(&state).await? else { return Ok(see_other(&visitor.login(), [])) };
    if let Some(cookie) = language::switch(&state, &mut visitor, &locale).await? {
        let page = EmailPage::of(&state, &visitor, signed_in, FormState::of([("email", email)])).await?;
        return Ok(with_cookies(html(StatusCode::OK, &page)?, [cookie]));
    }
    state.rate_limits.login.check(visitor.client.network)?;
    match change_email::request(&state.accounts, &signed_in, &email, &current, visitor.origin.clone()).await {
        Ok(()) => Ok(see_other(links::ACCOUNT_EMAIL, [])),
        Err(error) => {
            let errors: EmailErrors = error.downcast()?;
            let mut page = EmailPage::of(&state, &visitor, signed_in, FormState::of([("email", email)])).await?;
            page.form = field_errors::of_email(errors, page.page.t)
                .into_iter()
                .fold(page.form, |form, (field, text)| form.with_field_error(field, text));
            html(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
