//! F40: the OpenAPI document is whole. That no answer is another than it says is looked at with every call that any test makes
//! (`support::openapi`); here it is that nothing it says is idle.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::app::{HttpClient, PASSWORD, TestApp, on_both_stacks};

on_both_stacks!(
    what_the_document_gives_as_an_example_is_answered_as_it_says,
    every_status_in_the_document_is_one_that_the_call_gives,
);

/// An operation of the document.
struct Operation {
    method: reqwest::Method,
    /// With the examples of its parameters.
    path: String,
    body: Option<Value>,
    statuses: BTreeSet<u16>,
    securities: Vec<Value>,
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.client().get("/api/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let (mut target, mut query) = (path.clone(), form_urlencoded::Serializer::new(String::new()));
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let example = &parameter["example"];
                assert!(!example.is_null(), "{method} {path} has an example for {name}");
                let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                if parameter["in"] == "path" {
                    target = target.replace(&format!("{{{name}}}"), &example);
                } else {
                    query.append_pair(name, &example);
                }
            }
            assert!(!target.contains('{'), "{target}");
            let query = query.finish();
            let body = operation.get("requestBody").map(|body| body["content"]["application/json"]["example"].clone());
            assert!(body.as_ref().is_none_or(Value::is_object), "{method} {path} has an example");
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: if query.is_empty() { target } else { format!("{target}?{query}") },
                body,
                statuses: operation["responses"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|code| code.parse().unwrap())
                    .collect(),
                securities: operation["security"].as_array().cloned().unwrap_or_default(),
            });
        }
    }
    assert!(operations.len() >= 11, "{}", operations.len());
    operations
}

fn asking(client: &HttpClient, operation: &Operation) -> reqwest::RequestBuilder {
    let request = client.http.request(operation.method.clone(), format!("{}{}", client.url, operation.path));
    let request = request.header("sec-fetch-site", "same-origin");
    match &operation.body {
        Some(body) => request.json(body),
        None => request,
    }
}

/// A new session: an example may end one.
async fn signed_in(app: &TestApp, email: &str) -> HttpClient {
    let client = app.client();
    assert_eq!(client.login(email, PASSWORD).await.status, 303);
    client
}

async fn what_the_document_gives_as_an_example_is_answered_as_it_says(app: TestApp) {
    for email in ["root@example.org", "ann@example.org"] {
        app.signed_in_client(email).await;
    }
    assert!(bellhop::account::user::set_admin(&app.app.accounts, "root@example.org", true).await.unwrap());
    let mut operations = operations(&app).await;
    // nobody signs in with the old one after it
    operations.sort_by_key(|operation| operation.path.ends_with("/password"));
    let mut led_somewhere = BTreeSet::new();
    for operation in &operations {
        let stranger = app.client().send(asking(&app.client(), operation)).await;
        let ann = app.client().send(asking(&signed_in(&app, "ann@example.org").await, operation)).await;
        let root = app.client().send(asking(&signed_in(&app, "root@example.org").await, operation)).await;
        let what = format!("{} {}", operation.method, operation.path);
        // each is one of the document's, or the client would have said so
        let needs_cookie = ["session", "registration"].map(|cookie| vec![json!({ cookie: [] })]);
        assert_eq!(
            needs_cookie.contains(&operation.securities),
            [401, 404].contains(&stranger.status) && operation.path != "/api/v1/login",
            "{what}: {stranger:?}"
        );
        for answer in [ann, root] {
            assert!(answer.status < 500, "{what}: {answer:?}");
            if answer.status < 300 {
                led_somewhere.insert(what.clone());
            }
        }
    }
    // what the examples need to lead to something: the person, the link, a dead letter
    app.settle().await;
    let ada = app.client();
    // of several with one path the one that takes something
    let of_path = |path: &str| {
        let all = operations.iter().filter(|operation| operation.path == path);
        all.max_by_key(|operation| operation.body.is_some()).unwrap()
    };
    let (register, confirm, login) =
        (of_path("/api/v1/register"), of_path("/api/v1/confirm"), of_path("/api/v1/login"));
    let email = register.body.as_ref().unwrap()["email"].as_str().unwrap();
    // the same person, waiting in another browser
    let waits = app.client();
    assert_eq!(waits.send(asking(&waits, register)).await.status, 202);
    for path in ["/api/v1/register/correct", "/api/v1/register/resend"] {
        let asked = waits.send(asking(&waits, of_path(path))).await;
        assert_eq!(asked.status, 202, "{path}: {}", asked.body);
        led_somewhere.insert(format!("POST {path}"));
    }
    app.settle().await;
    let token = app.mails_to(email).await.last().unwrap().token().unwrap();
    let mut example = confirm.body.clone().unwrap();
    assert!(example["password"] == register.body.as_ref().unwrap()["password"], "the same person");
    example["token"] = json!(token);
    assert_eq!(ada.post_json(&confirm.path, &example).await.status, 204);
    assert_eq!(ada.post_json(&login.path, login.body.as_ref().unwrap()).await.status, 200);
    let (forgot, reset) = (of_path("/api/v1/forgot"), of_path("/api/v1/reset"));
    assert_eq!(ada.post_json(&forgot.path, forgot.body.as_ref().unwrap()).await.status, 202);
    app.settle().await;
    let mut example = reset.body.clone().unwrap();
    example["token"] = json!(app.mails_to(email).await.last().unwrap().token().unwrap());
    assert_eq!(ada.post_json(&reset.path, &example).await.status, 204);
    // the person moves to another address, and back
    let password = reset.body.as_ref().unwrap()["password"].as_str().unwrap();
    assert_eq!(ada.login(email, password).await.status, 303);
    let mut example = of_path("/api/v1/me/email").body.clone().unwrap();
    example["current_password"] = json!(password);
    assert_eq!(ada.post_json("/api/v1/me/email", &example).await.status, 202);
    app.settle().await;
    for (path, to) in [("/api/v1/email/confirm", example["email"].as_str().unwrap()), ("/api/v1/email/undo", email)] {
        let mut example = of_path(path).body.clone().unwrap();
        example["token"] = json!(app.mails_to(to).await.last().unwrap().token().unwrap());
        assert_eq!(ada.post_json(path, &example).await.status, 204, "{path}");
        app.settle().await;
    }
    // that put the password out of use
    assert_eq!(ada.post_json(&forgot.path, forgot.body.as_ref().unwrap()).await.status, 202);
    app.settle().await;
    let mut example = reset.body.clone().unwrap();
    example["token"] = json!(app.mails_to(email).await.last().unwrap().token().unwrap());
    assert_eq!(ada.post_json(&reset.path, &example).await.status, 204);
    // somebody else signs in
    assert_eq!(ada.login(email, password).await.status, 303);
    let other = app.client();
    let login = other.posting("/login").header("user-agent", "another/1");
    assert_eq!(other.send(login.form(&[("email", email), ("password", password)])).await.status, 303);
    app.settle().await;
    let mut example = of_path("/api/v1/login/not-me").body.clone().unwrap();
    let warned = app.mails_to(email).await;
    let warned = warned.iter().rev().find(|mail| mail.text.contains("/login/not-me")).unwrap();
    example["token"] = json!(warned.token().unwrap());
    assert_eq!(ada.post_json("/api/v1/login/not-me", &example).await.status, 204);
    let calls = ["confirm", "login", "reset", "email/confirm", "email/undo", "login/not-me"];
    led_somewhere.extend(calls.map(|call| format!("POST /api/v1/{call}")));
    let idle = operations.iter().map(|operation| format!("{} {}", operation.method, operation.path));
    let idle: Vec<String> = idle
        .filter(|what| !led_somewhere.contains(what) && !what.contains("-letters/") && !what.contains("sessions/"))
        .collect();
    assert!(idle.is_empty(), "examples that never lead to anything: {idle:?}");
    app.settle().await;
}

async fn every_status_in_the_document_is_one_that_the_call_gives(app: TestApp) {
    app.signed_in_client("root@example.org").await;
    assert!(bellhop::account::user::set_admin(&app.app.accounts, "root@example.org", true).await.unwrap());
    let client = app.client();
    let mut seen: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    let operations = operations(&app).await;
    for operation in &operations {
        let separator = if operation.path.contains('?') { '&' } else { '?' };
        let ask = |more: &str| {
            let target = format!("{}{}{separator}{more}", app.url, operation.path);
            client.http.request(operation.method.clone(), target).header("sec-fetch-site", "same-origin")
        };
        let mut statuses = BTreeSet::new();
        for request in [
            ask("a=%FF"),
            ask("a=%00"),
            ask("").header("sec-fetch-site", "cross-site"),
            ask("").body("x".repeat(16 * 1_024 + 1)),
            ask("").header("content-encoding", "gzip"),
            ask("").header("host", "id.example.org"),
            ask("").header("x-long", "x".repeat(16 * 1_024)),
        ] {
            statuses.insert(client.send(request).await.status);
        }
        seen.insert(format!("{} {}", operation.method, operation.path), statuses);
    }
    for operation in &operations {
        let what = format!("{} {}", operation.method, operation.path);
        let by_layers: BTreeSet<u16> = [400, 403, 413, 415, 421, 422, 431].into();
        let documented: BTreeSet<u16> = operation.statuses.intersection(&by_layers).copied().collect();
        let given: BTreeSet<u16> = seen[&what].intersection(&by_layers).copied().collect();
        assert_eq!(documented, given, "{what}");
        let changes = operation.method != reqwest::Method::GET;
        let is_limited = operation.body.is_some() || operation.path.ends_with("/resend");
        for (status, holds) in
            [(408, operation.body.is_some()), (429, is_limited), (403, changes), (500, true), (503, true)]
        {
            assert_eq!(operation.statuses.contains(&status), holds, "{status} of {what}");
        }
    }
}
