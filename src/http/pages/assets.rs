//! What the pages load, and what browsers and scanners look for by themselves: small files, inside the binary.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use chrono::SecondsFormat;

use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::links;

const FILES: [(&str, &str, &[u8]); 4] = [
    ("style.css", "text/css; charset=utf-8", include_bytes!("../../../static/style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_bytes!("../../../static/page.js")),
    ("icon.svg", "image/svg+xml; charset=utf-8", include_bytes!("../../../static/icon.svg")),
    ("icon-512.png", "image/png", include_bytes!("../../../static/icon-512.png")),
];

/// What is asked for by its path without a page having named it.
const ROOT_FILES: [(&str, &str, &[u8]); 4] = [
    (links::FAVICON, "image/vnd.microsoft.icon", include_bytes!("../../../static/favicon.ico")),
    (links::TOUCH_ICON, "image/png", include_bytes!("../../../static/apple-touch-icon.png")),
    (links::MANIFEST, "application/manifest+json", include_bytes!("../../../static/site.webmanifest")),
    (links::ROBOTS, "text/plain; charset=utf-8", include_bytes!("../../../static/robots.txt")),
];

/// How long a contact is good for: a reader looks again then (RFC 9116 section 2.5.5 recommends less than a year).
const CONTACT_LIFETIME: Duration = Duration::from_hours(180 * 24);

/// GET /static/{name}
///
/// # Errors
/// 404 for any other name.
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (_, kind, bytes) =
        FILES.into_iter().find(|(file, ..)| *file == name).ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))?;
    Ok(([(CONTENT_TYPE, kind)], bytes).into_response())
}

/// GET /favicon.ico and the like: kept for a day, as their paths name no version.
///
/// # Errors
/// 404 for any other path.
pub async fn root_file(uri: Uri) -> Result<Response, Problem> {
    let found = ROOT_FILES.into_iter().find(|(path, ..)| *path == uri.path());
    let (_, kind, bytes) = found.ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))?;
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=86400")], bytes).into_response())
}

/// GET /.well-known/change-password: 302 to the form (W3C, "A Well-Known URL for Changing Passwords").
pub async fn change_password() -> Response {
    (StatusCode::FOUND, [(LOCATION, links::ACCOUNT_PASSWORD)]).into_response()
}

/// GET /.well-known/security.txt, with a contact set.
///
/// # Errors
/// 404 without one.
pub async fn security_txt(State(state): State<Arc<AppState>>) -> Result<Response, Problem> {
    let contact = state.security_contact.as_ref().ok_or_else(|| Problem::of(StatusCode::NOT_FOUND))?;
    let expires = (state.accounts.clock.now() + CONTACT_LIFETIME).to_rfc3339_opts(SecondsFormat::Secs, true);
    let text = format!("Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en, zh\n");
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
