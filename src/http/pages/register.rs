//! `/register`: the form, and the page that waits with the person for the mail.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::account::register::{self, DeliveryStatus};
use crate::http::extract::form::Fields;
use crate::http::new_registration;
use crate::http::pages::view::Delivery;
use crate::http::pages::view::Register;
use crate::http::pages::view::RegisterErrors;
use crate::http::pages::view::RegisterSent;
use crate::http::problem::Problem;
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::http::state::html;
use crate::http::state::see_other;

/// GET /register
///
/// # Errors
/// When the database is away.
pub async fn form(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&web).await?;
    let page = visitor.page(&web, "/register", signed_in.as_ref());
    let (email, name, errors) = (String::new(), String::new(), RegisterErrors::default());
    html(StatusCode::OK, &Register { page, email, name, errors })
}

/// POST /register: 303 to `/register/sent`, or 422 with the form as typed (but for the password).
///
/// # Errors
/// 429 for a network that asks too often, 503 when too many passwords are being hashed or the database is away.
pub async fn submit(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Problem> {
    web.limits.register.check(visitor.client.network)?;
    let [email, password, name] = fields.take(["email", "password", "name"])?;
    let t = visitor.locale.text();
    match new_registration::check(&web, &visitor, t, [&email, &password, &name]).await? {
        Ok(wish) => {
            let browser = register::register(&web.accounts, wish).await?;
            Ok(see_other("/register/sent", [web.registration_cookie(&browser)?]))
        }
        Err(errors) => {
            let page = visitor.page(&web, "/register", None);
            html(StatusCode::UNPROCESSABLE_ENTITY, &Register { page, email, name, errors })
        }
    }
}

/// GET /register/sent: where the mail is, or 303 to `/account` for somebody who has confirmed.
///
/// # Errors
/// When the database is away.
pub async fn sent(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    let signed_in = visitor.signed_in(&web).await?;
    let (address, status) = delivery(&web, &visitor).await?;
    if status == Delivery::Unknown && signed_in.is_some() {
        // without the script the waiting page reloads itself: this is how it moves on
        return Ok(see_other("/account", []));
    }
    let page = visitor.page(&web, "/register", signed_in.as_ref());
    html(StatusCode::OK, &RegisterSent { page, address, status, resend: false })
}

/// GET /register/status: `{"status": "queued|sent|delayed|rejected|confirmed|unknown"}` of this browser's registration.
///
/// # Errors
/// When the database is away.
pub async fn status(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    let word = match delivery(&web, &visitor).await? {
        (_, Delivery::Unknown) if visitor.signed_in(&web).await?.is_some() => "confirmed",
        (_, status) => status.word(),
    };
    Ok(axum::Json(json!({ "status": word })).into_response())
}

async fn delivery(web: &Web, visitor: &Visitor) -> Result<(Option<String>, Delivery), Problem> {
    let Some(browser) = visitor.registration else { return Ok((None, Delivery::Unknown)) };
    Ok(match register::status(&web.accounts, browser).await? {
        None => (None, Delivery::Unknown),
        Some((address, delivery)) => {
            let delivery = match delivery {
                DeliveryStatus::Queued => Delivery::Queued,
                DeliveryStatus::Sent => Delivery::Sent,
                DeliveryStatus::Delayed => Delivery::Delayed,
                DeliveryStatus::Rejected => Delivery::Rejected,
            };
            (Some(address), delivery)
        }
    })
}
