//! The log as JSON: a line an event, whatever strangers type (OWASP ASVS 16.4.1). And a log that cannot be written.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{PASSWORD, within};
use crate::support::process::Bellhop;
use crate::support::smtp::{Phase, Script, Sink, Step};

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

    // from the first byte on, what is printed at the start too
    let log = app.printed() + &app.log();
    assert!(log.contains("listening on") && !log.contains('\u{1b}'), "no escape sequences");
    let mut lines = 0;
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["level"].is_string() && value["timestamp"].is_string() && value["target"].is_string(), "{line}");
        assert_ne!(value["level"], "ERROR", "{line}");
        lines += 1;
    }
    assert!(lines > 50, "the finest log was on");
}

/// F34, F64: whoever collects JSON can read why it does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_line_of_a_json_log_is_json_whichever_setting_is_wrong() {
    let app = Bellhop::new().await;
    let config = app.folder().join("bellhop.toml");
    std::fs::write(&config, "log_format = \"json\"\n").expect("the folder is ours");
    let app = app.with("CONFIG", &config.display().to_string()).with("MAIL_FROM", "no\u{1b}[31mbody");
    for arguments in [&["serve"][..], &["queues"], &["serve", "--retry-hours", "1"]] {
        let output = app.call(arguments).await;
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let last = lines.last().expect("a line");
        assert!(last["level"] == "ERROR" && last["message"].as_str().expect("text").contains("BELLHOP_"), "{said}");
    }
}

/// F8, F13, F49: lines are lost, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_harms_nothing() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
    let (gone, writer) = std::io::pipe().expect("a pipe");
    drop(gone);
    let broken = || Stdio::from(writer.try_clone().expect("a pipe"));
    // the reader stands still, and the pipe is full after 64 KiB
    let (still, writer) = std::io::pipe().expect("a pipe");
    for (out, log, level) in
        [(full(), full(), "info"), (broken(), broken(), "info"), (full(), Stdio::from(writer), "trace")]
    {
        let sink = Arc::new(Sink::start().await);
        sink.set(Script::default().on(Phase::Mail, Step::reply("421 4.3.2 later").times(4)));
        let mut app = Bellhop::new().await.mailing(Arc::clone(&sink)).with("LOG", level);
        app.spawn_writing(out, log);
        app.until_it_answers("/livez").await;
        // each consumer has something to say about one of them, and fails at it
        for number in 0..8 {
            let registered = app.client().register(&format!("guest{number}@example.org"), PASSWORD, "Ann").await;
            assert_eq!(registered.status, 303, "{level}");
        }
        assert_eq!(sink.wait_for(8).await.len(), 8, "{level}");
        let ready = app.client().get("/readyz").await;
        assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
        app.terminate();
        assert_eq!(app.end().await.code(), Some(0), "{level}");
    }
    drop(still);
}

/// F8: a list that was not written was not given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_output_cannot_be_written_fails_without_a_panic() {
    let app = Bellhop::new().await;
    for arguments in [&["migrate"][..], &["queues"], &["users", "list"], &["help"], &["--version"]] {
        let mut command = app.command(arguments);
        command.stdout(OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs").expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked") && output.status.code() != Some(101), "{arguments:?}: {said}");
    }
}

/// F8, F13: also one outside the layer that catches what handlers do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_layer_that_logs_is_a_500_with_a_body() {
    let mut app = Bellhop::new().await;
    for (nth, path) in [(2, "/login"), (2, "/api/v1/me")] {
        app.die_at(Some(&format!("request.traced:{nth}")));
        app.start().await;
        let answer = app.client().get(path).await;
        assert_eq!(answer.status, 500, "{}", app.log());
        assert!(!answer.body.is_empty() && answer.header("cache-control") == "no-store", "{answer:?}");
        let kind = if path == "/login" { "text/html" } else { "application/problem+json" };
        assert!(answer.header("content-type").starts_with(kind), "{answer:?}");
        assert!(app.client().get(path).await.status < 500, "the next one is well");
        app.until_it_says("failpoint request.traced").await;
        app.kill9();
    }
}
