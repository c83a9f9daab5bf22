//! What asks without being a browser: probes, scanners, proxies with opinions.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{Stack, TestApp};

/// The status line and headers of the answer to these bytes.
async fn ask(app: &TestApp, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// F2: an orchestrator asks by the address it gave us, a balancer by HTTP/1.0 without `Host`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_whatever_they_call_us_and_nobody_else_is() {
    let app = TestApp::start(Stack::Small).await;
    for path in ["/livez", "/readyz", "/readyz?verbose"] {
        for request in [
            format!(
                "GET {path} HTTP/1.1\r\nHost: 10.244.0.17:8080\r\nConnection: close\r\nUser-Agent: kube-probe/1.31\r\n\r\n"
            ),
            format!("GET {path} HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n"),
            format!("GET {path} HTTP/1.0\r\n\r\n"),
            format!("HEAD {path} HTTP/1.0\r\n\r\n"),
            format!("HEAD {path} HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n"),
        ] {
            let answer = ask(&app, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.") && answer[9..].starts_with("200"), "{request}{answer}");
        }
    }
    for (request, status) in [
        ("GET / HTTP/1.0\r\n\r\n", "400"),
        ("GET /login HTTP/1.1\r\nHost: 10.244.0.17\r\nConnection: close\r\n\r\n", "421"),
        ("POST /livez HTTP/1.1\r\nHost: 10.244.0.17\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "421"),
        ("GET /livez/ HTTP/1.1\r\nHost: 10.244.0.17\r\nConnection: close\r\n\r\n", "421"),
    ] {
        let answer = ask(&app, request.as_bytes()).await;
        assert!(answer[9..].starts_with(status), "{request}{answer}");
    }
}

/// Strangers were told of processes, times and restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_sit_at_this_machine_is_told_no_more_than_what_is_degraded() {
    let app = TestApp::start(Stack::Small).await;
    let host = app.url.trim_start_matches("http://");
    for (by, of_parts) in [
        (format!("Host: {host}\r\n"), true),
        (format!("Host: {host}\r\nX-Forwarded-For: 192.0.2.7\r\n"), false),
        ("Host: 10.244.0.17:8080\r\n".to_owned(), false),
        ("Host: sign-up.example\r\n".to_owned(), false),
    ] {
        let answer = ask(&app, format!("GET /readyz HTTP/1.1\r\n{by}Connection: close\r\n\r\n").as_bytes()).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let said: serde_json::Value = serde_json::from_str(body).unwrap();
        let mut names: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected = if of_parts { &["degraded", "elsewhere", "parts", "ready"][..] } else { &["degraded", "ready"] };
        assert_eq!(names, expected, "{by}{answer}");
        assert_eq!(said["ready"], true);
    }
}

/// F59.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_nobody_reads_is_nobodys_affair() {
    let app = TestApp::start(Stack::Small).await;
    let host = app.url.trim_start_matches("http://");
    for header in
        [&b"CF-Region: S\xe3o Paulo"[..], b"User-Agent: Caf\xe9/1", b"Accept-Language: \xff, zh", b"Accept: \xe9"]
    {
        let head = format!("GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let request = [head.as_bytes(), header, b"\r\n\r\n"];
        let answer = ask(&app, &request.concat()).await;
        assert!(answer[9..].starts_with("200"), "{}: {answer}", header.escape_ascii());
    }
}

/// F3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_browsers_and_scanners_look_for_is_there() {
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.http.security_contact = Some("mailto:security@example.org".parse().unwrap());
    })
    .await;
    let client = app.client();
    for (path, kind, begins) in [
        ("/favicon.ico", "image/vnd.microsoft.icon", &b"\0\0\x01\0"[..]),
        ("/apple-touch-icon.png", "image/png", b"\x89PNG"),
        ("/static/icon-512.png", "image/png", b"\x89PNG"),
        ("/site.webmanifest", "application/manifest+json", b"{"),
        ("/robots.txt", "text/plain; charset=utf-8", b"#"),
    ] {
        let answer = client.http.get(format!("{}{path}", app.url)).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
            (200, kind),
            "{path}"
        );
        assert!(answer.headers()["cache-control"].to_str().unwrap().starts_with("public"), "{path}");
        assert!(answer.bytes().await.unwrap().starts_with(begins), "{path}");
    }
    let manifest = client.get("/site.webmanifest").await.json();
    for icon in manifest["icons"].as_array().unwrap() {
        assert_eq!(client.get(icon["src"].as_str().unwrap()).await.status, 200, "{icon}");
    }
    let robots = client.get("/robots.txt").await.body;
    assert!(robots.contains("Disallow: /\n"), "{robots}");
    let change = client.get("/.well-known/change-password").await;
    assert_eq!((change.status, change.header("location")), (302, "/account/password"));
    let security = client.get("/.well-known/security.txt").await;
    assert_eq!((security.status, security.header("content-type")), (200, "text/plain; charset=utf-8"));
    let lines: Vec<&str> = security.body.lines().collect();
    assert_eq!(lines[0], "Contact: mailto:security@example.org");
    let expires: bellhop::clock::Timestamp = lines[1].strip_prefix("Expires: ").unwrap().parse().unwrap();
    let days = (expires - app.clock().now()).num_days();
    assert!((100..365).contains(&days), "{days}");
    let without = TestApp::start(Stack::Small).await;
    assert_eq!(without.client().get("/.well-known/security.txt").await.status, 404);
    // how a password manager finds out whether a site says 200 to everything
    let nothing = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200";
    assert_eq!(client.get(nothing).await.status, 404);
}
