//! Waiting for the mail of a registration, and asking for another one.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account::identity::address::AddressError;
use crate::account::register;
use crate::account::resend::{self as account_resend, Again};
use crate::http::api::schema::LIMITED;
use crate::http::delivery_state::DeliveryState;
use crate::http::extract::json::Json;
use crate::http::extract::visitor::Visitor;
use crate::http::field_errors;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// What correcting the address takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// Where the mail is to go.
    email: String,
}

/// What asking for another mail answers.
#[derive(Serialize, ToSchema)]
pub struct Asked {
    /// Always `confirmation_pending`, whoever has the address, and whether a mail goes or the address has had its mails.
    #[schema(example = "confirmation_pending")]
    status: &'static str,
}

/// How far the mail of a registration has come
///
/// Of the registration whose cookie is sent. Nothing of it tells whether somebody has the address.
///
/// # Errors
/// 503.
#[utoipa::path(get, path = "/api/v1/register/status", security((), ("registration" = [])), responses(
    (status = 200, description = "How far it has come", body = DeliveryState)))]
pub async fn status(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    let waiting = match visitor.registration {
        Some(browser) => register::waiting(&state.accounts, browser).await?,
        None => None,
    };
    Ok(Answer(DeliveryState::of(waiting.map(|waiting| waiting.delivery).as_ref())).into_response())
}

/// Asks for the mail of a registration again
///
/// An address gets three mails an hour and ten a day; beyond that the answer is the same, and no mail goes.
///
/// # Errors
/// 404 where no registration of this browser waits, 429, 503.
#[utoipa::path(post, path = "/api/v1/register/resend", security(("registration" = [])), responses(
    (status = 202, description = "Asked for", body = Asked),
    (status = 404, description = "No registration of this browser waits"),
    (status = 429, description = LIMITED)))]
pub async fn resend(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    state.rate_limits.register.check(visitor.client.network)?;
    let again = again(&visitor)?;
    answer(account_resend::resend(&state.accounts, again).await?)
}

/// Corrects the address of a registration
///
/// The link that went to the address before opens nothing from then on; name and password stay. The answer is the same whoever has
/// the address.
///
/// # Errors
/// 404 where no registration of this browser waits, 422 for what is no address, 429, 503.
#[utoipa::path(post, path = "/api/v1/register/correct", security(("registration" = [])),
    request_body(content = Correction, example = json!({"email": "ada@example.org"})),
    responses(
        (status = 202, description = "A mail goes to the address", body = Asked),
        (status = 404, description = "No registration of this browser waits"),
        (status = 422, description = "What is no address"),
        (status = 429, description = LIMITED)))]
pub async fn correct(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Json(given): Json<Correction>,
) -> Result<Response, Problem> {
    state.rate_limits.register.check(visitor.client.network)?;
    let again = again(&visitor)?;
    match account_resend::correct(&state.accounts, &given.email, again).await {
        Ok(asked) => answer(asked),
        Err(error) => {
            let error: AddressError = error.downcast()?;
            let text = visitor.locale.text().get(field_errors::of_address(error));
            Err(Problem::of(StatusCode::UNPROCESSABLE_ENTITY).with_field("email", text))
        }
    }
}

fn again(visitor: &Visitor) -> Result<Again, Problem> {
    let browser = visitor.registration.ok_or_else(no_registration)?;
    Ok(Again { browser, shown: None, origin: visitor.origin.clone() })
}

fn answer(asked: bool) -> Result<Response, Problem> {
    let answer = Answer(Asked { status: "confirmation_pending" });
    if asked { Ok((StatusCode::ACCEPTED, answer).into_response()) } else { Err(no_registration()) }
}

fn no_registration() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-registration", "No registration of this browser waits to be confirmed.")
}
