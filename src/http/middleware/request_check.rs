//! What a request must satisfy before any route sees it: method, host, well-formed text, origin, encoding.
//!
//! Each check is a function of the request's head; [`validate_request`] asks them in order.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_ENCODING, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use crate::http::middleware::hints::Hint;
use crate::http::middleware::site::{Site, is_address};
use crate::http::problem::Problem;
use crate::links;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The layer that asks every check of this module.
pub async fn validate_request(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match check(&site, &parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => {
            let refused = problem.status == StatusCode::METHOD_NOT_ALLOWED;
            let mut response = problem.into_response();
            if refused {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
            }
            response
        }
    }
}

fn check(site: &Site, parts: &Parts) -> Result<(), Problem> {
    if is_probe(parts) {
        return Ok(());
    }
    method(&parts.method)?;
    host(site, &parts.uri, &parts.headers)?;
    text(&parts.uri)?;
    same_origin(site, &parts.method, &parts.headers)?;
    encoding(&parts.headers)
}

/// Whether somebody looks how the process is, or who is signed in: an orchestrator by the address it gave us, a balancer by HTTP/1.0
/// without any `Host`, a proxy with that of another application. They change nothing, and no browser's page can be made to.
fn is_probe(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
        && matches!(parts.uri.path(), links::LIVEZ | links::READYZ | links::AUTH_VERIFY)
}

/// The seven methods that mean something here. TRACE would echo cookies, CONNECT is for proxies (OWASP ASVS 13.4.4).
fn method(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            Ok(())
        }
        _ => Err(Problem::of(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

/// One `Host`, one of ours, and a target in absolute form that agrees with it (RFC 9112 section 3.2).
fn host(site: &Site, target: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "bad-host", detail);
    let mut lines = headers.get_all(HOST).iter();
    let (Some(host), None) = (lines.next(), lines.next()) else {
        return Err(bad("The request does not have exactly one Host."));
    };
    let host = host.to_str().map_err(|_| bad("Host is no text."))?;
    if target.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return Err(bad("Host and the request's target disagree."));
    }
    if !site.answers_to(host) {
        site.hints().tell(Hint::Host, host, site.origin());
        return Err(Problem::of(StatusCode::MISDIRECTED_REQUEST));
    }
    let scheme = if site.https() { "https" } else { "http" };
    match headers.get(X_FORWARDED_PROTO).and_then(|proto| proto.to_str().ok()) {
        Some(proto @ ("http" | "https")) if proto != scheme && !is_address(host) => {
            site.hints().tell(Hint::Scheme, &format!("{proto}://{host}"), site.origin());
        }
        _ => {}
    }
    Ok(())
}

/// Path and query are UTF-8 without NUL. Headers are left to their readers, for whom garbage says nothing: what nobody reads
/// is nobody's affair.
fn text(target: &Uri) -> Result<(), Problem> {
    for part in [target.path(), target.query().unwrap_or_default()] {
        let malformed = || Problem::new(StatusCode::BAD_REQUEST, "malformed", "The URL is not UTF-8.");
        let decoded = percent_decode_str(part).decode_utf8().map_err(|_| malformed())?;
        if decoded.contains('\0') {
            let detail = "The URL contains the character NUL.";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "nul", detail));
        }
    }
    Ok(())
}

/// Cross-site request forgery, by what the browser says about the page that sent the request (OWASP CSRF cheat sheet,
/// "Fetch Metadata"): `Sec-Fetch-Site` decides where there is one, else `Origin`, held against the configured public URL
/// and never against `Host`. With neither it is no browser, and carries no cookie of ours.
///
/// Stricter than tower-http's layer, which lets a cookie pass without either header and believes `Host`.
fn same_origin(site: &Site, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let detail = "The request came from a page of another site, or hides where it came from.";
    let refusal = || Problem::new(StatusCode::FORBIDDEN, "cross-site", detail);
    let passes = match (only(headers, &SEC_FETCH_SITE)?, only(headers, &ORIGIN)?) {
        (Some(fetch_site), _) => matches!(fetch_site, b"same-origin" | b"none"),
        (None, Some(origin)) => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let owned = site.owns(origin, host);
            let origin = String::from_utf8_lossy(origin);
            // a page of the very host that was asked is no other site's: the settings think of it otherwise
            if !owned && origin.split_once("://").is_some_and(|(_, name)| name == host) {
                site.hints().tell(Hint::Scheme, &origin, site.origin());
            }
            owned
        }
        // the registration's cookie does not count: without a token from a mail it asks for one more mail to an address, as anybody
        // may, and SameSite keeps it from what another site's page sends
        (None, None) => !site.sign_on().cookie().is_mentioned(headers, site.https()),
    };
    if passes { Ok(()) } else { Err(refusal()) }
}

/// A header that browsers send once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Problem> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line.map(HeaderValue::as_bytes)),
        _ => Err(Problem::of(StatusCode::FORBIDDEN)),
    }
}

/// Compressed bodies are not unpacked: a few bytes could become gigabytes.
fn encoding(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        Ok(())
    } else {
        Err(Problem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use url::Url;

    use super::*;

    fn status(site: &Site, method: &str, target: &str, headers: &[(&str, &[u8])]) -> u16 {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, _) = request.body(Body::empty()).unwrap().into_parts();
        check(site, &parts).map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    fn public() -> Site {
        Site::new(&Url::parse("https://id.example.org").unwrap(), 8080).unwrap()
    }

    fn local() -> Site {
        Site::new(&Url::parse("http://127.0.0.1:8080").unwrap(), 8080).unwrap()
    }

    const HOST: (&str, &[u8]) = ("host", b"id.example.org");

    #[test]
    fn only_methods_that_mean_something_pass() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            assert_eq!(status(&public(), method, "/", &[HOST]), 200, "{method}");
        }
        for method in ["TRACE", "CONNECT", "PROPFIND", "get", "FOO"] {
            assert_eq!(status(&public(), method, "/", &[HOST]), 405, "{method}");
        }
    }

    #[test]
    fn another_host_is_misdirected_and_a_doubtful_one_bad() {
        let get = |target: &str, headers: &[(&str, &[u8])]| status(&public(), "GET", target, headers);
        assert_eq!(get("/", &[("host", b"id.example.org:443")]), 200);
        assert_eq!(get("/", &[("host", b"localhost:8080")]), 200);
        assert_eq!(get("https://ID.example.org/x", &[HOST]), 200);
        for host in [&b"evil.example"[..], b"", b"id.example.org.evil.example", b"id.example.org:80", b"localhost:9"] {
            assert_eq!(get("/", &[("host", host)]), 421, "{}", host.escape_ascii());
        }
        assert_eq!(get("https://evil.example/", &[("host", b"evil.example")]), 421);
        assert_eq!(get("/", &[]), 400);
        assert_eq!(get("/", &[HOST, HOST]), 400);
        assert_eq!(get("/", &[HOST, ("host", b"evil.example")]), 400);
        assert_eq!(get("/", &[("host", b"\xff")]), 400);
        assert_eq!(get("https://evil.example/", &[HOST]), 400);
        assert_eq!(get("https://a@id.example.org/", &[HOST]), 400);
    }

    /// F23: 421 and 403, and no word in the log.
    #[test]
    fn what_does_not_fit_the_settings_is_told_once() {
        let site = Site::new(&Url::parse("http://id.example.org").unwrap(), 8080).unwrap();
        for _ in 0..3 {
            assert_eq!(status(&site, "GET", "/", &[("host", b"10.0.0.7:8080")]), 421);
            assert_eq!(status(&site, "POST", "/login", &[HOST, ("origin", b"https://id.example.org")]), 403);
            assert_eq!(status(&site, "POST", "/login", &[HOST, ("origin", b"https://evil.example")]), 403);
            assert_eq!(status(&site, "GET", "/", &[HOST, ("x-forwarded-proto", b"https")]), 200);
            assert_eq!(status(&site, "GET", "/", &[HOST, ("x-forwarded-proto", b"http")]), 200);
        }
        let told = site.hints().told();
        let told: Vec<(Hint, &str)> = told.iter().map(|(hint, arrived)| (*hint, arrived.as_str())).collect();
        assert_eq!(told, [(Hint::Host, "10.0.0.7:8080"), (Hint::Scheme, "https://id.example.org")]);
    }

    #[test]
    fn text_that_is_none_is_bad_and_nul_unprocessable() {
        let get = |target: &str, header: (&str, &[u8])| status(&public(), "GET", target, &[HOST, header]);
        let plain: (&str, &[u8]) = ("user-agent", "Ünï".as_bytes());
        assert_eq!(get("/people/%C3%BC?a=%F0%9F%98%80", plain), 200);
        assert_eq!(get("/people/%FF", plain), 400);
        assert_eq!(get("/?a=%C3", plain), 400);
        assert_eq!(get("/people/%00", plain), 422);
        assert_eq!(get("/?token=a%00b", plain), 422);
        // F59: a proxy writes what it likes
        for name in ["cf-region", "user-agent", "accept-language", "cookie", "x-forwarded-for"] {
            assert_eq!(get("/", (name, b"S\xe3o Paulo")), 200, "{name}");
        }
    }

    #[test]
    fn a_compressed_body_is_not_unpacked() {
        let post = |coding: &[u8]| status(&public(), "POST", "/login", &[HOST, ("content-encoding", coding)]);
        assert_eq!(post(b"identity"), 200);
        for coding in [&b"gzip"[..], b"br", b"gzip, identity", b"", b"x"] {
            assert_eq!(post(coding), 415, "{}", coding.escape_ascii());
        }
    }

    type Given = Option<&'static [u8]>;

    /// Every meeting of the two headers with a cookie, on both kinds of site.
    #[test]
    fn a_post_of_another_page_is_refused() {
        const OURS: Given = Some(b"https://id.example.org");
        const EVIL: Given = Some(b"https://evil.example");
        const LOCAL: Given = Some(b"http://localhost:8080");
        const NULL: Given = Some(b"null");
        const SAME: Given = Some(b"same-origin");
        const NONE: Given = Some(b"none");
        const CROSS: Given = Some(b"cross-site");
        const SIBLING: Given = Some(b"same-site");
        const SESSION: Given = Some(b"__Host-bellhop=abc");
        // (Sec-Fetch-Site, Origin, Cookie, passes on https://id.example.org)
        let table: [(Given, Given, Given, bool); 41] = [
            (SAME, None, None, true),
            (SAME, None, SESSION, true),
            (SAME, OURS, None, true),
            (SAME, OURS, SESSION, true),
            // a page with no-referrer posts this
            (SAME, NULL, None, true),
            (SAME, NULL, SESSION, true),
            (NONE, None, None, true),
            (NONE, None, SESSION, true),
            (NONE, NULL, SESSION, true),
            (NONE, OURS, SESSION, true),
            (CROSS, None, None, false),
            (CROSS, None, SESSION, false),
            (CROSS, OURS, None, false),
            (CROSS, OURS, SESSION, false),
            (CROSS, EVIL, None, false),
            (CROSS, EVIL, SESSION, false),
            (CROSS, NULL, None, false),
            (SIBLING, None, None, false),
            (SIBLING, OURS, SESSION, false),
            (SIBLING, EVIL, SESSION, false),
            (SIBLING, NULL, None, false),
            (Some(b""), None, None, false),
            (Some(b""), OURS, None, false),
            (Some(b"Same-Origin"), OURS, None, false),
            (Some(b"same-origin, cross-site"), OURS, None, false),
            (Some(b"?"), OURS, SESSION, false),
            (None, OURS, None, true),
            (None, OURS, SESSION, true),
            (None, EVIL, None, false),
            (None, EVIL, SESSION, false),
            (None, NULL, None, false),
            (None, NULL, SESSION, false),
            (None, LOCAL, SESSION, false),
            (None, Some(b""), None, false),
            (None, Some(b"http://id.example.org"), None, false),
            (None, Some(b"https://id.example.org:444"), SESSION, false),
            (None, Some(b"https://id.example.org.evil.example"), SESSION, false),
            (None, None, SESSION, false),
            (None, None, Some(b"theme=dark; __Host-bellhop-reg=abc"), true),
            (None, None, Some(b"theme=dark; __Host-bellhop=a\xff"), false),
            (None, None, Some(b"theme=dark"), true),
        ];
        for (fetch_site, origin, cookie, passes) in table {
            let given = [("sec-fetch-site", fetch_site), ("origin", origin), ("cookie", cookie)];
            let headers: Vec<_> =
                given.into_iter().filter_map(|(name, value)| Some((name, value?))).chain([HOST]).collect();
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                let expected = if passes { 200 } else { 403 };
                assert_eq!(status(&public(), method, "/login", &headers), expected, "{method} {headers:?}");
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert_eq!(status(&public(), method, "/login", &headers), 200, "{method} {headers:?}");
            }
        }
        assert_eq!(status(&public(), "POST", "/login", &[HOST]), 200);
    }

    #[test]
    fn on_the_loopback_its_names_are_one_origin() {
        let host: (&str, &[u8]) = ("host", b"localhost:8080");
        let post = |headers: &[(&str, &[u8])]| status(&local(), "POST", "/login", headers);
        for origin in [&b"http://localhost:8080"[..], b"http://127.0.0.1:8080", b"http://[::1]:8080"] {
            assert_eq!(post(&[host, ("origin", origin), ("cookie", b"bellhop=a")]), 200);
        }
        for origin in [&b"http://localhost:3000"[..], b"https://localhost:8080", b"http://localhost", b"null"] {
            assert_eq!(post(&[host, ("origin", origin)]), 403);
        }
        assert_eq!(post(&[host, ("cookie", b"bellhop=a")]), 403);
    }

    #[test]
    fn a_header_given_twice_decides_nothing() {
        let same: (&str, &[u8]) = ("sec-fetch-site", b"same-origin");
        let origin: (&str, &[u8]) = ("origin", b"https://id.example.org");
        assert_eq!(status(&public(), "POST", "/", &[HOST, same, same]), 403);
        assert_eq!(status(&public(), "POST", "/", &[HOST, origin, origin]), 403);
        assert_eq!(status(&public(), "POST", "/", &[HOST, same, origin, origin]), 403);
    }
}
