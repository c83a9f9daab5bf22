//! The security headers of every answer, errors and redirects included (OWASP ASVS 3.4).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, SERVER, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::middleware::site::Site;
use crate::http::response::NO_REFERRER;
use crate::links;

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
// every name here is one that Chromium knows: each unknown one is a warning in the console of every page
const NO_PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), \
     encrypted-media=(), fullscreen=(), gamepad=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), \
     local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
     publickey-credentials-create=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), storage-access=(), \
     usb=(), window-management=(), xr-spatial-tracking=()",
);
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// The layer that sets them. A handler's own `Referrer-Policy` and `Cache-Control` stay; nothing else of these does.
///
/// Without `Cache-Control` an answer is `no-store`. A good answer under `/static/` may be kept: for a year when its URL
/// names a version (`?v=`), else for an hour.
pub async fn set_security_headers(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let asset = request.uri().path().starts_with(links::STATIC);
    let versioned = request.uri().query().is_some_and(|query| query.starts_with("v="));
    let mut response = next.run(request).await;
    let kept = match (asset && !response.status().is_client_error() && !response.status().is_server_error(), versioned)
    {
        (true, true) => "public, max-age=31536000, immutable",
        (true, false) => "public, max-age=3600",
        (false, _) => "no-store",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, site.content_policy().clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(OPENER_POLICY, SAME_ORIGIN);
    headers.insert(RESOURCE_POLICY, SAME_ORIGIN);
    headers.insert(PERMISSIONS_POLICY, NO_PERMISSIONS);
    if site.https() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(site.hsts()));
    } else {
        headers.remove(STRICT_TRANSPORT_SECURITY);
    }
    headers.remove(SERVER);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(kept));
    let referrer = headers.entry(REFERRER_POLICY).or_insert(SAME_ORIGIN);
    // Under no-referrer a browser posts `Origin: null` (Fetch standard, "append a request Origin header"), and over plain
    // http to another machine it sends no Sec-Fetch-Site either: the page's own form would be refused. The bare origin
    // tells a third party no token, and keeps Origin.
    if *referrer == NO_REFERRER && !site.trustworthy() {
        *referrer = HeaderValue::from_static("strict-origin");
    }
    response
}
