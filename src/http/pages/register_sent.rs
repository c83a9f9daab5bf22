//! `/register/sent`: the page that waits with the person for the mail, what its script is told, and the forms for another mail.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::account::credentials::token::TokenHash;
use crate::account::delivery::{Delivery as Progress, DeliveryStatus};
use crate::account::identity::address::AddressError;
use crate::account::register::{self, Waiting};
use crate::account::resend::{self, Again};
use crate::http::extract::form::{Fields, FormState};
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::notice::Notice;
use crate::http::pages::delivery::{self, Delivery, Words};
use crate::http::pages::language;
use crate::http::pages::layout::Page;
use crate::http::problem::Problem;
use crate::http::redirect::Target;
use crate::http::response::{html, see_other, with_cookies};
use crate::http::state::AppState;
use crate::links;

#[derive(Template)]
#[template(path = "pages/register_sent.html")]
pub(super) struct RegisterSentPage {
    pub(super) page: Page,
    /// The address that is written to, and which mail it is, if this browser registered.
    pub(super) mail: Option<(String, u32)>,
    /// How far the mail has come.
    pub(super) delivery: Delivery,
    /// The form that corrects the address (`email`), while it is asked for or needed.
    pub(super) correction: Option<FormState>,
}

impl RegisterSentPage {
    /// Whether what was typed is wrong.
    fn is_wrong(&self) -> bool {
        self.correction.as_ref().is_some_and(|form| !form.is_valid())
    }

    /// Without the script the page looks again by itself, unless somebody is typing.
    fn refreshes(&self) -> bool {
        self.delivery.may_change() && self.correction.is_none()
    }
}

/// GET /register/sent?correct: where the mail is, or 303 for somebody whose address is confirmed: on, or to `/login` in another browser
/// than the one in which the link was pressed.
///
/// # Errors
/// When the database is away.
pub async fn sent(State(state): State<Arc<AppState>>, visitor: Visitor, query: Query) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&state).await?;
    let waiting = waiting(&state, visitor.registration).await?;
    let next = match &waiting {
        None if signed_in.is_some() => Some(None),
        Some(Waiting { next, delivery: Progress { status: DeliveryStatus::Confirmed, .. }, .. }) => {
            Some(next.as_deref())
        }
        _ => None,
    };
    if let Some(next) = next {
        // this is how the waiting page moves on
        let next = state.sign_on.target(next);
        return Ok(match (signed_in, next) {
            (Some(_), None) => see_other(links::ACCOUNT, []),
            (Some(_), Some(next)) => see_other(next.as_str(), []),
            (None, next) => {
                let login = next.map_or_else(|| links::LOGIN.to_owned(), |next| next.after(links::LOGIN));
                see_other(&login, [Notice::Confirmed.cookie(state.https)?])
            }
        });
    }
    let correction = query.get("correct").and(waiting.as_ref()).map(unchanged);
    let page = Page::of(&state, &visitor, links::REGISTER, signed_in.as_ref());
    html(StatusCode::OK, &sent_page(&state, &visitor, page, waiting, correction))
}

fn sent_page(
    state: &AppState,
    visitor: &Visitor,
    page: Page,
    waiting: Option<Waiting>,
    correction: Option<FormState>,
) -> RegisterSentPage {
    let needed = waiting.as_ref().filter(|waiting| waiting.delivery.status == DeliveryStatus::Rejected).map(unchanged);
    let (mail, progress) = waiting.map(|waiting| ((waiting.email, waiting.mail), waiting.delivery)).unzip();
    let words = Words::new(state, visitor, page.t);
    let (url, events) = (links::REGISTER_STATUS, links::REGISTER_EVENTS);
    let delivery = Delivery { words, url, events, progress };
    let correction = correction.or(needed);
    let page = Page { form: correction.as_ref().map(|_| links::REGISTER_CORRECT), ..page };
    RegisterSentPage { page, mail, delivery, correction }
}

/// The form as it is before anybody types.
fn unchanged(waiting: &Waiting) -> FormState {
    FormState::of([("email", waiting.email.clone())])
}

/// GET /register/status: how far the mail of this browser's registration has come, in JSON.
///
/// # Errors
/// When the database is away.
pub async fn status(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let progress = match waiting(&state, visitor.registration).await? {
        Some(waiting) => Some(waiting.delivery),
        // confirming has taken the registration's cookie away
        None => visitor.signed_in(&state).await?.map(|signed_in| Progress::confirmed(signed_in.user.created_at)),
    };
    Ok(delivery::status(&state, &visitor, progress.as_ref()))
}

/// GET /register/sent/events: the same as a stream, each time that it changes.
///
/// # Errors
/// When the database is away.
pub async fn events(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let (accounts, browser) = (state.accounts.clone(), visitor.registration);
    let read = move || {
        let accounts = accounts.clone();
        async move {
            let Some(browser) = browser else { return Ok(None) };
            let waiting = register::waiting(&accounts, browser).await?;
            Ok(waiting.map(|waiting| (waiting.id, waiting.delivery)))
        }
    };
    delivery::events(&state, &visitor, read).await
}

/// POST /register/resend: 303 back; another mail is asked for, once for each form. Whether one goes is not said: an address gets so
/// many.
///
/// # Errors
/// 429 for a network that asks too often, 503 when the database is away.
pub async fn resend(State(state): State<Arc<AppState>>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    state.rate_limits.register.check(visitor.client.network)?;
    let [mail] = fields.take(["mail"])?;
    let Some(browser) = visitor.registration else { return Ok(see_other(links::REGISTER_SENT, [])) };
    resend::resend(&state.accounts, again(&visitor, browser, &mail)).await?;
    Ok(see_other(links::REGISTER_SENT, [Notice::MailAskedAgain.cookie(state.https)?]))
}

/// POST /register/correct: 303 back; the registration goes to another address. 422 with the form for what is none. With a `locale`, the
/// form as typed in that language, and nothing else.
///
/// # Errors
/// As [`fn@resend`].
pub async fn correct(
    State(state): State<Arc<AppState>>,
    mut visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    let [email, mail, locale] = fields.take(["email", "mail", "locale"])?;
    if let Some(cookie) = language::switch(&state, &mut visitor, &locale).await? {
        let form = FormState::of([("email", email)]);
        let shown = shown_again(&state, &visitor, StatusCode::OK, form).await?;
        return Ok(with_cookies(shown, [cookie]));
    }
    state.rate_limits.register.check(visitor.client.network)?;
    let Some(browser) = visitor.registration else { return Ok(see_other(links::REGISTER_SENT, [])) };
    let Err(error) = resend::correct(&state.accounts, &email, again(&visitor, browser, &mail)).await else {
        return Ok(see_other(links::REGISTER_SENT, [Notice::AddressCorrected.cookie(state.https)?]));
    };
    let error: AddressError = error.downcast()?;
    let text = visitor.locale.text().get(field_errors::of_address(error));
    let form = FormState::of([("email", email)]).with_field_error("email", text);
    shown_again(&state, &visitor, StatusCode::UNPROCESSABLE_ENTITY, form).await
}

/// The page with what was typed.
async fn shown_again(
    state: &AppState,
    visitor: &Visitor,
    status: StatusCode,
    form: FormState,
) -> Result<Response, Problem> {
    let waiting = waiting(state, visitor.registration).await?;
    let mut page = Page::of(state, visitor, links::REGISTER, visitor.signed_in(state).await?.as_ref());
    page.here = Target::parse(links::REGISTER_SENT);
    html(status, &sent_page(state, visitor, page, waiting, Some(form)))
}

/// A form without a number, or with another one than ours, asks for nothing that was shown.
fn again(visitor: &Visitor, browser: TokenHash, mail: &str) -> Again {
    Again { browser, shown: Some(mail.parse().unwrap_or(0)), origin: visitor.origin.clone() }
}

async fn waiting(state: &AppState, browser: Option<TokenHash>) -> Result<Option<Waiting>, Problem> {
    match browser {
        Some(browser) => Ok(register::waiting(&state.accounts, browser).await?),
        None => Ok(None),
    }
}
