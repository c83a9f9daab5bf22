//! What the layers put on every answer.

use super::*;

#[tokio::test]
async fn every_answer_carries_every_security_header() {
    let server = start_at("https://id.example.org", ConnectionLimits::default());
    let form = "Content-Type: application/x-www-form-urlencoded";
    let post = |path: &str, kind: &str, body: &str| {
        (format!("POST {path} HTTP/1.1\r\n{kind}\r\nContent-Length: {}", body.len()), body.to_owned())
    };
    let get = |path: &str| (format!("GET {path} HTTP/1.1"), String::new());
    let mut kinds = std::collections::BTreeSet::new();
    for ((head, body), expected) in [
        (get("/"), 200),
        (get("/go"), 303),
        (get("/?a=%FF"), 400),
        (post("/json", "Content-Type: application/json", "{"), 400),
        (post("/form", "Sec-Fetch-Site: cross-site", ""), 403),
        (get("/nowhere"), 404),
        (get("/.git/config"), 404),
        (post("/go", form, ""), 405),
        (("TRACE / HTTP/1.1".to_owned(), String::new()), 405),
        (("FOO / HTTP/1.1".to_owned(), String::new()), 405),
        (post("/form", form, &"a".repeat(16 * 1_024 + 1)), 413),
        (post("/form", "Content-Type: text/plain", "a"), 415),
        (post("/json", form, "{}"), 415),
        (post("/form", &format!("{form}\r\nContent-Encoding: gzip"), "a"), 415),
        (("GET http://evil.example/ HTTP/1.1".to_owned(), String::new()), 400),
        (post("/form", form, "email=a&is_admin=1"), 422),
        (post("/json", "Content-Type: application/json", r#"{"a":"b","a":"c"}"#), 422),
        (get("/mistake"), 422),
        (get("/often"), 429),
        (get("/error"), 500),
        (get("/panic"), 500),
        (get("/busy"), 503),
    ] {
        for accept in ["*/*", "application/json"] {
            let answer = server.ask(&format!("{head}\r\nAccept: {accept}"), body.as_bytes()).await;
            assert_eq!(status(&answer), expected, "{head}: {answer}");
            kinds.insert(expected);
            check_headers(&answer);
            assert_eq!(header(&answer, "strict-transport-security"), Some("max-age=31536000"));
            let kind = match (expected, accept, head.contains("/mistake")) {
                (303, ..) => None,
                (200, ..) => Some("text/plain; charset=utf-8"),
                (_, "*/*", _) | (_, _, true) => Some("text/html; charset=utf-8"),
                _ => Some("application/problem+json"),
            };
            assert_eq!(header(&answer, "content-type"), kind, "{head}");
            for secret in ["select", "srv", "kaboom", "axum", "hyper", "bellhop/"] {
                assert!(!answer.contains(secret), "{head}: {answer}");
            }
            let retry = match expected {
                429 => Some("2"),
                503 => Some("3"),
                _ => None,
            };
            assert_eq!(header(&answer, "retry-after"), retry, "{head}");
            assert_eq!(header(&answer, "allow").is_some(), expected == 405, "{head}");
        }
    }
    let misdirected = server.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&misdirected), 421);
    check_headers(&misdirected);
    assert_eq!(kinds.len(), 12);
}

fn check_headers(answer: &str) {
    let policy = header(answer, "content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
    for (name, expected) in [
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(header(answer, name), Some(expected), "{name}: {answer}");
    }
    assert!(header(answer, "permissions-policy").unwrap().contains("camera=()"));
    assert!(header(answer, "x-request-id").is_some());
    assert!(header(answer, "server").is_none());
    assert!(header(answer, "access-control-allow-origin").is_none());
}

#[tokio::test]
async fn a_token_page_tells_no_referrer_but_keeps_its_own_form_working() {
    for (url, policy) in [
        ("https://id.example.org", "no-referrer"),
        ("http://127.0.0.1", "no-referrer"),
        ("http://192.168.1.5", "strict-origin"),
    ] {
        let server = start_at(url, ConnectionLimits::default());
        let answer = server.ask("GET /token HTTP/1.1", b"").await;
        assert_eq!(header(&answer, "referrer-policy"), Some(policy), "{url}");
        assert_eq!(header(&answer, "strict-transport-security").is_some(), url.starts_with("https"), "{url}");
    }
}

#[tokio::test]
async fn assets_are_kept_by_browsers_and_their_errors_are_not() {
    let server = start(ConnectionLimits::default());
    for (path, kept) in [
        ("/static/app.css?v=1", "public, max-age=31536000, immutable"),
        ("/static/app.css", "public, max-age=3600"),
        ("/static/none.css?v=1", "no-store"),
        ("/", "no-store"),
    ] {
        let answer = server.ask(&format!("GET {path} HTTP/1.1"), b"").await;
        assert_eq!(header(&answer, "cache-control"), Some(kept), "{path}");
    }
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_is_told_apart() {
    let proxies = Arc::new(Proxies::new(vec!["127.0.0.0/8".parse().unwrap()]));
    let trusting = start(ConnectionLimits { proxies, ..ConnectionLimits::default() });
    let wary = start(ConnectionLimits::default());
    let ask = "GET / HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 198.51.100.1";
    assert!(trusting.ask(ask, b"").await.ends_with("\r\n\r\n198.51.100.1"));
    assert!(wary.ask(ask, b"").await.ends_with("\r\n\r\n127.0.0.1"));
}
