//! `/auth/verify`: what a reverse proxy asks before it lets a request through to another application (docs/forward-auth.md).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::account::user::User;
use crate::http::extract::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::state::AppState;

const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_EMAIL: HeaderName = HeaderName::from_static("remote-email");
const REMOTE_NAME: HeaderName = HeaderName::from_static("remote-name");

const ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");

/// With everything that is not printable ASCII: what is no text to one program is none to the next.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// GET /auth/verify: 200 with who is signed in, or the way to sign in. nginx takes that with a 401, and Caddy and Traefik pass
/// on what they are answered, which is a 303 then; neither is told to who sent no page's address or does not ask for a page.
///
/// # Errors
/// When the database is away: nobody is let through.
pub async fn verify(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(signed_in) = visitor.signed_in(&state).await? {
        return Ok(who(&signed_in.user).into_response());
    }
    let Asked { url, status } = Asked::of(&headers);
    let location = HeaderValue::try_from(state.sign_on.login(url.as_deref()))?;
    Ok((status, [(LOCATION, location)]).into_response())
}

fn who(user: &User) -> [(HeaderName, HeaderValue); 3] {
    let safe = |text: &str| {
        // escaped, it is a value; an empty one would say nobody
        let escaped = utf8_percent_encode(text, ESCAPED).to_string();
        HeaderValue::try_from(escaped).unwrap_or(HeaderValue::from_static("-"))
    };
    [(REMOTE_USER, safe(&user.id.to_string())), (REMOTE_EMAIL, safe(&user.email)), (REMOTE_NAME, safe(&user.name))]
}

/// What was asked of the proxy, as far as it says so.
struct Asked {
    url: Option<String>,
    status: StatusCode,
}

impl Asked {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if let (Some(host), Some(uri)) = (text(&FORWARDED_HOST), text(&FORWARDED_URI)) {
            let reads = text(&FORWARDED_METHOD).is_none_or(|method| matches!(method, "GET" | "HEAD"));
            let proto = text(&FORWARDED_PROTO).unwrap_or("https");
            let url = reads.then(|| format!("{proto}://{host}{uri}"));
            return Asked { url, status: if reads { StatusCode::SEE_OTHER } else { StatusCode::UNAUTHORIZED } };
        }
        Asked { url: text(&ORIGINAL_URL).map(str::to_owned), status: StatusCode::UNAUTHORIZED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn whoever_it_is_becomes_three_values_of_ascii() {
        let clock = Clock::default();
        let user = User {
            id: clock.new_id(),
            email: "ann@example.org".into(),
            name: "Jürgen 100% 陈".into(),
            locale: "en".into(),
            created_at: clock.now(),
        };
        let [(_, id), (_, email), (_, name)] = who(&user);
        assert_eq!(id, user.id.to_string());
        assert_eq!(email, "ann@example.org");
        assert_eq!(name, "J%C3%BCrgen 100%25 %E9%99%88");
    }

    #[test]
    fn each_proxy_says_in_its_way_what_was_asked() {
        let asked = |headers: &[(&'static str, &'static str)]| {
            let headers =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let Asked { url, status } = Asked::of(&headers.collect());
            (status.as_u16(), url)
        };
        let page = Some("https://app.example.org/x?y".to_owned());
        let of_caddy = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "app.example.org"),
            ("x-forwarded-uri", "/x?y"),
            ("x-forwarded-method", "GET"),
        ];
        assert_eq!(asked(&of_caddy), (303, page.clone()));
        let [proto, host, uri, _] = of_caddy;
        assert_eq!(asked(&[proto, host, uri, ("x-forwarded-method", "POST")]), (401, None));
        assert_eq!(asked(&[("x-original-url", "https://app.example.org/x?y")]), (401, page));
        assert_eq!(asked(&[proto]), (401, None));
    }
}
