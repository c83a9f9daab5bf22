//! The form of a page that only who is signed in sees: it carries a token of that session, the second layer against request forgery
//! (OWASP CSRF cheat sheet, "Synchronizer Token"). The first is in [`request_check`](crate::http::middleware).
//!
//! A browser that says how it fetches (`Sec-Fetch-Mode`, as all do where there is https) must send the token back; programs that
//! post what a form would hold have no page to take it from. One that is sent must be right, whoever sends it.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::account::credentials::keys::{Keys, Purpose};
use crate::http::extract::form::Fields;
use crate::http::extract::reject::Reject;
use crate::http::extract::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::state::AppState;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The name of the field.
const FIELD: &str = "csrf";

/// The token for the forms of a session. It stays when the session gets a new cookie, and goes with it.
#[must_use]
pub fn token(keys: &Keys, session: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(keys.code(Purpose::FormToken, &[session.as_bytes()]))
}

/// The fields of such a form, as an extractor. Where nobody is signed in there is no token to compare: whoever takes the fields
/// sends them to sign in.
#[derive(Debug)]
pub struct OwnFields(pub Fields);

impl FromRequest<Arc<AppState>> for OwnFields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, state).await?;
        let is_browser = parts.headers.contains_key(SEC_FETCH_MODE);
        let mut fields = Fields::from_request(Request::from_parts(parts, body), state).await?;
        let sent = fields.take_optional(FIELD);
        if let Some(signed_in) = visitor.signed_in(state).await? {
            let keys = &state.accounts.keys;
            let is_right = |sent: String| {
                let sent = URL_SAFE_NO_PAD.decode(sent).unwrap_or_default();
                keys.verify(Purpose::FormToken, &[signed_in.session.as_bytes()], &sent)
            };
            if !sent.map_or(!is_browser, is_right) {
                return Err(Reject::Token.into());
            }
        }
        Ok(Self(fields))
    }
}
