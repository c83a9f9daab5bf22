//! The log as JSON: a line an event, whatever strangers type (OWASP ASVS 16.4.1).

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{PASSWORD, within};
use crate::support::process::Bellhop;

/// A line of its own, an escape sequence, and what would end a JSON text.
const FORGED: &str = "x\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\n\u{1b}[31m\"},{\u{85}\u{2028}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_the_log_is_json_whatever_is_typed() {
    let mut app = Bellhop::new().await.with("LOG", "trace").with("LOG_FORMAT", "json");
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    let client = app.client();
    let fields = |email, password, name| [("email", email), ("password", password), ("name", name)];
    for form in [
        fields(FORGED, PASSWORD, "Ann"),
        fields("bob@example.org", FORGED, "Ann"),
        fields("bob@example.org", PASSWORD, FORGED),
        fields(FORGED, FORGED, FORGED),
    ] {
        // a password may hold anything but NUL
        assert!([303, 422].contains(&client.post("/register", &form).await.status), "{form:?}");
        assert_eq!(client.post("/login", &form[..2]).await.status, 422);
        let json = json!({"email": form[0].1, "password": form[1].1, "name": form[2].1});
        assert!([202, 422].contains(&client.post_json("/api/v1/register", &json).await.status), "{json}");
    }
    assert_eq!(client.post("/confirm", &[("token", FORGED), ("password", FORGED)]).await.status, 422);
    assert_eq!(client.post("/login", &[("email", "ann@example.org"), ("password", FORGED)]).await.status, 422);
    let escaped: String = url::form_urlencoded::byte_serialize(FORGED.as_bytes()).collect();
    for path in [format!("/{escaped}"), format!("/login?next={escaped}"), format!("/confirm?token={escaped}")] {
        assert!(client.get(&path).await.status < 500, "{path}");
    }
    // what no client library would send
    let host = app.url.trim_start_matches("http://");
    for head in [
        format!("GET /login HTTP/1.1\r\nHost: {host}\r\nUser-Agent: x\u{1b}[31m{{\"level\":\"ERROR\"}}\r\n"),
        format!(
            "POST /login HTTP/1.1\r\nHost: {host}\r\nUser-Agent: x\"}}\n{{\"level\":\"ERROR\"}}\r\nContent-Length: 0\r\n"
        ),
        format!("GET /\u{1b}[31m{{\"level\":\"ERROR\"}} HTTP/1.1\r\nHost: {host}\r\n"),
        format!("GET /\" HTTP/1.1\r\nHost: {host}\"\u{1b}\r\nCookie: bellhop=\u{1b}\"\r\n"),
    ] {
        let mut stream = TcpStream::connect(host).await.expect("it listens");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 5"), "{head}: {answer}");
    }
    within("the log of what was sent", async || app.log().contains("answered")).await;
    app.terminate();
    app.end().await;

    let log = app.log();
    assert!(!log.contains('\u{1b}'), "no escape sequences");
    let mut lines = 0;
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["level"].is_string() && value["timestamp"].is_string() && value["target"].is_string(), "{line}");
        assert_ne!(value["level"], "ERROR", "{line}");
        lines += 1;
    }
    assert!(lines > 50, "the finest log was on");
}
