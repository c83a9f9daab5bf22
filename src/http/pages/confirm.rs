//! `/confirm`: the page behind the link in the mail. Scanners press GET, people press the button.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::REFERRER_POLICY;
use axum::response::Response;

use crate::account::confirm::{self, ConfirmRefused, ConfirmStep};
use crate::account::credentials::policy::Password;
use crate::http::cookies::Cookie;
use crate::http::extract::form::Fields;
use crate::http::middleware::security_headers::NO_REFERRER;
use crate::http::pages::view::Confirm;
use crate::http::pages::view::ConfirmState;
use crate::http::problem::Problem;
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::http::state::html;
use crate::http::state::query;
use crate::http::state::see_other;

/// GET /confirm?token=: a button, or a button and a password, or 404 for a link that does not work.
///
/// # Errors
/// When the database is away.
pub async fn form(State(web): State<Web>, visitor: Visitor, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let token = query(raw.as_deref(), "token").unwrap_or_default();
    let step = confirm::next_step(&web.accounts, &token, visitor.registration).await?;
    let status = if step == ConfirmStep::Invalid { StatusCode::NOT_FOUND } else { StatusCode::OK };
    page(&web, &visitor, token, step, status, None)
}

/// POST /confirm: 303 to `/account`, signed in, or 422 with the page again.
///
/// # Errors
/// 429 for a network that guesses, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    web.limits.confirm.check(visitor.client.network)?;
    let [token, password] = fields.take(["token", "password"])?;
    let typed = Password::normalise(&password).ok();
    let origin = visitor.origin.clone();
    match confirm::confirm(&web.accounts, &token, visitor.registration, typed, visitor.session, origin).await {
        Ok(begun) => {
            visitor.session.inspect(|replaced| web.sessions.forget_token(*replaced));
            Ok(see_other("/account", [web.session_cookie(&begun.token)?, Cookie::Registration.delete(web.https())]))
        }
        Err(error) => {
            let refused = error.downcast::<ConfirmRefused>()?;
            let (step, mistake) = match refused {
                ConfirmRefused::Invalid => (ConfirmStep::Invalid, None),
                ConfirmRefused::Password if password.is_empty() => {
                    (ConfirmStep::Password, Some("mistake-password-chosen"))
                }
                ConfirmRefused::Password => (ConfirmStep::Password, Some("confirm-password-wrong")),
            };
            page(&web, &visitor, token, step, StatusCode::UNPROCESSABLE_ENTITY, mistake)
        }
    }
}

fn page(
    web: &Web,
    visitor: &Visitor,
    token: String,
    step: ConfirmStep,
    status: StatusCode,
    mistake: Option<&str>,
) -> Result<Response, Problem> {
    let page = visitor.page(web, "/confirm", None);
    let state = match step {
        ConfirmStep::Button => ConfirmState::Button,
        ConfirmStep::Password => ConfirmState::Password,
        ConfirmStep::Invalid => ConfirmState::Invalid,
    };
    let error = mistake.map(|key| page.t.get(key));
    // a token that does not work is not repeated
    let token = if step == ConfirmStep::Invalid { String::new() } else { token };
    let mut response = html(status, &Confirm { page, token, state, error })?;
    response.headers_mut().insert(REFERRER_POLICY, NO_REFERRER);
    Ok(response)
}
