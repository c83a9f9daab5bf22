//! How answers are made: a page, a redirect, cookies.

use askama::Template;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Redirect, Response};

use crate::http::problem::Problem;

/// What a page with a token in its URL sets as its `Referrer-Policy`; the layer of security headers leaves it alone where
/// it can.
pub const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// `Clear-Site-Data`: what a browser forgets at the logout (OWASP ASVS 14.3.1). Not the cookies: that would be those of every
/// host of the registrable domain, and ours end by `Set-Cookie`.
pub const CLEAR_SITE_DATA: (&str, HeaderValue) =
    ("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));

/// A page with its status.
///
/// # Errors
/// When the template fails to format, which is a 500.
pub fn html(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    Ok((status, Html(page.render()?)).into_response())
}

/// "See other", with cookies.
#[must_use]
pub fn see_other(to: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    with_cookies(Redirect::to(to).into_response(), cookies)
}

/// Adds cookies to an answer.
#[must_use]
pub fn with_cookies(mut response: Response, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
