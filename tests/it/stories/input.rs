//! Bad input: always a clear answer, never a 500, nothing written and nothing mailed.

use serde_json::json;

use crate::support::app::{PASSWORD, TestApp, on_both_stacks};

on_both_stacks!(
    json_that_is_not_what_was_asked_for_is_refused,
    forms_that_are_not_what_was_asked_for_are_refused,
    nothing_typed_anywhere_is_an_error_of_ours,
);

async fn json_that_is_not_what_was_asked_for_is_refused(app: TestApp) {
    let client = app.client();
    let good = format!(r#""email":"a@b.example","password":"{PASSWORD}","name":"Ann""#);
    let with = |from: &str, to: &str| format!("{{{}}}", good.replace(from, to));
    let deep = format!("{{{good},\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    for (body, status) in [
        (format!("{{{good}"), 400),
        (String::new(), 400),
        ("null".to_owned(), 422),
        ("[]".to_owned(), 422),
        (format!("[{{{good}}}]"), 422),
        (format!("{{{good}}} x"), 400),
        (format!("{{{good},\"is_admin\":true}}"), 422),
        (format!("{{{good},\"id\":\"01890000-0000-7000-8000-000000000000\",\"confirmed\":true}}"), 422),
        (format!("{{{good},\"email\":\"c@b.example\"}}"), 422),
        (with("\"a@b.example\"", "[\"a@b.example\",\"c@b.example\"]"), 422),
        (with("\"a@b.example\"", "{\"a\":1}"), 422),
        (with("\"a@b.example\"", "1e999"), 400),
        (with("a@b.example", "a@b.example\\u0000"), 422),
        (with("Ann", "\\ud800"), 400),
        (deep, 422),
    ] {
        let request = client.posting("/api/v1/register").header("content-type", "application/json").body(body.clone());
        let answer = client.send(request).await;
        assert_eq!(answer.status, status, "{}: {}", &body[..body.len().min(200)], answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""] {
        let request = client.posting("/api/v1/register").header("content-type", kind).body(format!("{{{good}}}"));
        assert_eq!(client.send(request).await.status, 415, "{kind}");
    }
    let evil = client.posting("/api/v1/register").header("origin", "https://evil.example").json(&json!({}));
    let answer = client.send(evil).await;
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{:?}", answer.headers);
    let large = client.posting("/api/v1/register").header("content-type", "application/json").body("x".repeat(16_385));
    assert_eq!(client.send(large).await.status, 413);
    app.settle().await;
    assert!(app.mails().await.is_empty(), "nothing of it was mailed");
    let (written,): (i64,) = app.db().query("select count(*) from registrations").one().await.unwrap();
    assert_eq!(written, 0);
}

async fn forms_that_are_not_what_was_asked_for_are_refused(app: TestApp) {
    let client = app.client();
    let good = "password=marble+teapot+kestrel+orbit&name=Ann";
    for (body, status) in [
        (format!("{good}&email=a@b.example&email=c@b.example"), 422),
        (format!("{good}&email[]=a@b.example&email[]=c@b.example"), 422),
        (format!("{good}&email=a@b.example&is_admin=1"), 422),
        (format!("{good}&email=a@b.example%00"), 422),
        (format!("{good}&email=%FF%FE"), 400),
        (format!("{good}&email=a%40b.example%0d%0aBcc:x%40y.example"), 422),
        (format!("{good}&email=a@b.example,c@b.example"), 422),
        (format!("{good}&email=a@b.c%EF%BC%8Ed"), 422),
        ("x".repeat(16_385), 413),
    ] {
        let request = client.posting("/register").header("content-type", "application/x-www-form-urlencoded");
        let answer = client.send(request.body(body.clone())).await;
        assert_eq!(answer.status, status, "{}", &body[..body.len().min(200)]);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    }
    let wrong = client.posting("/register").json(&json!({"email": "a@b.example"}));
    assert_eq!(client.send(wrong).await.status, 415);
    app.settle().await;
    assert!(app.mails().await.is_empty());
}

async fn nothing_typed_anywhere_is_an_error_of_ours(app: TestApp) {
    let client = app.signed_in_client("ann@example.org").await;
    let texts = [
        "",
        " ",
        "'",
        "\"",
        "\\",
        "%",
        "%00",
        "\u{0}",
        "\u{202e}",
        "\u{feff}",
        "\u{10ffff}",
        "' or '1'='1",
        "'; drop table users; --",
        "$1",
        "{{7*7}}",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "\r\nSet-Cookie: a=b",
        "a\u{301}\u{301}\u{301}",
        "🛎",
        "null",
        "-1",
        "18446744073709551616",
        "00000000-0000-0000-0000-000000000000",
    ];
    let long = "ü".repeat(4_000);
    for text in texts.into_iter().chain([long.as_str()]) {
        let mut statuses = Vec::new();
        for path in ["/register", "/login", "/confirm", "/logout", "/nowhere"] {
            for field in ["email", "password", "name", "token", "next"] {
                statuses.push(client.post(path, &[(field, text)]).await.status);
            }
        }
        for field in ["email", "password", "name", "token"] {
            let body = json!({ field: text });
            for path in ["register", "login", "confirm"] {
                statuses.push(client.post_json(&format!("/api/v1/{path}"), &body).await.status);
            }
        }
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for path in [
            "/confirm?token=",
            "/login?next=",
            "/mailbox/",
            "/mailbox.json?to=",
            "/static/",
            "/api/v1/me/activity?before=",
        ] {
            statuses.push(client.get(&format!("{path}{encoded}")).await.status);
        }
        assert!(statuses.iter().all(|status| *status < 500), "{text:?}: {statuses:?}");
    }
    app.settle().await;
    assert_eq!(app.mails().await.len(), 1, "nothing of it was mailed");
}
