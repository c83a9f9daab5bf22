//! The log as JSON: a line an event, whatever strangers type (OWASP ASVS 16.4.1). And a log that cannot be written.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::sync::Arc;

use regex::Regex;
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

/// What is on a line, without the time at its beginning.
fn content(line: &str, format: &str) -> String {
    if format == "text" {
        let (time, rest) = line.split_once(' ').expect(line);
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
        return rest.to_owned();
    }
    let mut value: Value = serde_json::from_str(line).expect(line);
    assert!(value["timestamp"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{line}");
    value.as_object_mut().expect(line).remove("timestamp");
    value.to_string()
}

fn without_time(line: &str) -> String {
    let time = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z").expect("a pattern");
    time.replace(line, "").into_owned()
}

/// Whom the filter that docs/security.md has for fail2ban bans for a line.
fn banned(line: &str) -> Option<String> {
    let paper = std::fs::read_to_string("docs/security.md").expect("the paper");
    let filter =
        paper.split("[Definition]\nfailregex = ").nth(1).expect("a filter").split("\n```").next().expect("its end");
    let patterns = filter.lines().map(|line| line.trim().replace("<ADDR>", "([0-9a-f.:]+)"));
    let patterns: Vec<Regex> = patterns.map(|pattern| Regex::new(&pattern).expect("a pattern")).collect();
    assert_eq!(patterns.len(), 2, "one for each form of the log");
    patterns.iter().find_map(|pattern| Some(pattern.captures(line)?.get(1)?.as_str().to_owned()))
}

#[test]
fn the_filter_for_fail2ban_bans_nobody_by_what_a_stranger_wrote() {
    let refused = "INFO bellhop::refused: refused outcome=wrong-credentials client=203.0.113.7 route=/login";
    for before in ["  ", "", "host bellhop[12]: 2026-11-27T10:15:30.123456Z  "] {
        assert_eq!(banned(&format!("{before}{refused}")).as_deref(), Some("203.0.113.7"), "{before}");
    }
    for line in [
        format!("  WARN bellhop::http: arrived=\"{refused}\""),
        format!("  INFO http{{path=\"/{refused}\"}}: bellhop::http: answered"),
        refused.replace("wrong-credentials", "misdirected"),
        r#"{"timestamp":"","level":"WARN","message":"x","arrived":"{\"timestamp\":\"\",\"level\":\"INFO\",\"message\":\"refused\",\"outcome\":\"wrong-credentials\",\"client\":\"203.0.113.7\","}"#.to_owned(),
    ] {
        assert_eq!(banned(&line), None, "{line}");
    }
}

/// F36, F39: word for word, because other programs read them; and nothing of what was typed is in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_and_where_it_is_asked_for_every_request_has_a_line_of_one_shape() {
    for (format, named) in [("text", true), ("json", true), ("text", false), ("json", false)] {
        let app = Bellhop::new().await.with("LOG_FORMAT", format).with("LIMITS", "on");
        let app = app.with("TRUSTED_PROXIES", "127.0.0.1");
        let mut app = if named { app.with("LOG", "bellhop::request=info") } else { app };
        app.start().await;
        let client = app.client();
        let from = |request: reqwest::RequestBuilder, ip: &str| request.header("x-forwarded-for", ip);
        let login = [("email", "canary.lovelace@canary.example"), ("password", "CANARY-word one two three")];
        let json = json!({"email": login[0].1, "password": login[1].1});
        let get = |path: &str| client.http.get(format!("{}{path}", app.url));
        let mut lines = Vec::new();
        for (method, route, status, ip, outcome, request) in [
            ("POST", "/login", 422, "203.0.113.7", Some("wrong-credentials"), client.posting("/login").form(&login)),
            (
                "POST",
                "/api/v1/login",
                401,
                "2001:db8::7",
                Some("wrong-credentials"),
                client.posting("/api/v1/login").json(&json),
            ),
            ("GET", "/", 421, "203.0.113.7", Some("misdirected"), get("/").header("host", "id.example.org")),
            ("POST", "/login", 403, "203.0.113.8", None, client.posting("/login").header("sec-fetch-site", "none")),
            ("POST", "/login", 415, "203.0.113.8", None, client.posting("/login").json(&json)),
            ("GET", "/confirm", 404, "203.0.113.8", None, get("/confirm?token=CANARY-token")),
            ("GET", "none", 404, "203.0.113.8", None, get("/CANARY-path?CANARY-query")),
            ("other", "/", 405, "203.0.113.8", None, {
                client.http.request("CANARY-method".parse().expect("a token"), &app.url)
            }),
        ] {
            let answer = client.send(from(request, ip)).await;
            assert_eq!(answer.status, status, "{route}");
            lines.push((method, route, status, ip, outcome, answer.header("x-request-id").to_owned()));
        }
        let mut tries = 0;
        let limited = loop {
            let guess = client.posting("/confirm").form(&[("token", "CANARY-token")]);
            let answer = client.send(from(guess, "203.0.113.9")).await;
            if answer.status == 429 {
                break answer;
            }
            tries += 1;
            assert!(tries < 1_000, "guesses are limited");
        };
        let id = limited.header("x-request-id").to_owned();
        lines.push(("POST", "/confirm", 429, "203.0.113.9", Some("too-many-requests"), id));
        app.terminate();
        assert_eq!(app.end().await.code(), Some(0));

        let log = app.log();
        for canary in ["canary", "CANARY", "lovelace"] {
            assert!(!log.contains(canary), "{canary} in {log}");
        }
        let said: Vec<String> = log.lines().map(|line| content(line, format)).collect();
        // fail2ban takes the time out before it looks
        let banned: Vec<String> = log.lines().map(without_time).filter_map(|line| banned(&line)).collect();
        assert_eq!(banned, ["203.0.113.7", "2001:db8::7", "203.0.113.9"], "{log}");
        let mut of_refusals = 0;
        for (method, route, status, ip, outcome, id) in &lines {
            let refused = outcome.map(|outcome| match format {
                "text" => format!(
                    " INFO bellhop::refused: refused outcome={outcome} client={ip} route={route} status={status} request_id={id}"
                ),
                _ => json!({"level": "INFO", "message": "refused", "outcome": outcome, "client": ip, "route": route,
                    "status": status, "request_id": id, "target": "bellhop::refused"})
                .to_string(),
            });
            // what else may be said of it, as that another host was asked for, is not said each time
            let is_shaped =
                |line: &str| ["bellhop::refused", "bellhop::request"].iter().any(|target| line.contains(target));
            let of_request = said.iter().filter(|line| line.contains(id.as_str()) && is_shaped(line));
            let of_request: Vec<&String> = of_request.collect();
            let told = of_request.iter().filter(|line| Some(**line) == refused.as_ref()).count();
            assert_eq!(told, usize::from(refused.is_some()), "{refused:?} in {log}");
            of_refusals += told;
            // the other line is the request's
            assert_eq!(of_request.len(), told + usize::from(named), "{of_request:#?}");
            let Some(answered) = of_request.into_iter().find(|line| Some(*line) != refused.as_ref()) else { continue };
            if format == "text" {
                let rest = answered
                    .strip_prefix(&format!(
                        " INFO bellhop::request: answered method={method} route={route} status={status} took_ms="
                    ))
                    .expect(answered);
                let took = rest.strip_suffix(&format!(" client={ip} request_id={id}")).expect(answered);
                assert!(took.parse::<f64>().expect(answered) > 0.0, "{answered}");
            } else {
                let mut value: Value = serde_json::from_str(answered).expect("JSON");
                assert!(value["took_ms"].as_f64().expect(answered) > 0.0, "{answered}");
                value.as_object_mut().expect("an object").remove("took_ms");
                let expected = json!({"level": "INFO", "message": "answered", "method": method, "route": route,
                    "status": status, "client": ip, "request_id": id, "target": "bellhop::request"});
                assert_eq!(value, expected);
            }
        }
        assert_eq!(said.iter().filter(|line| line.contains("bellhop::refused")).count(), of_refusals, "{log}");
    }
}

/// F39: whoever sends many is summed up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refusals_is_a_few_lines_that_say_how_many() {
    let mut app = Bellhop::new().await;
    app.start().await;
    let client = app.client();
    for _ in 0..300 {
        let request = client.http.get(&app.url).header("host", "id.example.org");
        assert_eq!(client.send(request).await.status, 421);
    }
    // what is not told yet is told at the end
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0));
    let log = app.log();
    let told = log.matches("bellhop::refused: refused outcome=misdirected client=127.0.0.1 route=/ status=421").count();
    let sums = log.lines().filter_map(|line| {
        let rest = line.split_once("bellhop::refused: more were refused network=127.0.0.1/32 requests=")?.1;
        rest.strip_suffix(" seconds=10")?.parse::<usize>().ok()
    });
    let sums: Vec<usize> = sums.collect();
    assert!(told <= 10 * (sums.len() + 1), "{told} lines, {sums:?}");
    assert_eq!(told + sums.iter().sum::<usize>(), 300, "{log}");
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
