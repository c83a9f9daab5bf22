//! What every answer has, whatever the question.

use crate::support::app::{PASSWORD, Stack, TestApp, on_both_stacks};

on_both_stacks!(
    looking_changes_nothing,
    every_answer_has_its_headers,
    the_document_of_the_api_names_every_call,
    the_mailbox_is_for_this_machine_and_for_nothing_configured,
    a_page_of_another_site_can_post_nothing,
);

const TABLES: [&str; 5] = ["users", "registrations", "sessions", "login_log", "outbox"];

async fn looking_changes_nothing(app: TestApp) {
    let client = app.signed_in_client("ann@example.org").await;
    app.client().register("bob@example.org", PASSWORD, "Bob").await;
    app.settle().await;
    let token = app.mails_to("bob@example.org").await[0].token().unwrap();
    let dump = async || {
        let mut all = String::new();
        for table in TABLES {
            all.push_str(&app.dump(table).await);
        }
        all
    };
    let before = dump().await;
    for path in [
        "/",
        "/register",
        "/register/sent",
        "/register/status",
        "/confirm",
        "/login",
        "/logout",
        "/account",
        "/mailbox",
        "/mailbox.json",
        "/api",
        "/api/openapi.json",
        "/api/v1/register",
        "/api/v1/confirm",
        "/api/v1/login",
        "/api/v1/logout",
        "/api/v1/me",
        "/api/v1/me/activity",
        "/livez",
        "/readyz",
        "/static/style.css",
        "/nowhere",
    ] {
        let query = format!("?token={token}&email=bob@example.org&password={}", PASSWORD.replace(' ', "+"));
        for method in [reqwest::Method::GET, reqwest::Method::HEAD, reqwest::Method::OPTIONS] {
            let request = client.http.request(method.clone(), format!("{}{path}{query}", app.url));
            let answer = client.send(request).await;
            assert!(answer.status < 500, "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(before, dump().await);
}

async fn every_answer_has_its_headers(app: TestApp) {
    let client = app.client();
    let raw = async |method: &str, path: &str, kind: &str, body: String| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.http.request(method, format!("{}{path}", app.url)).header("content-type", kind).body(body);
        client.send(request).await
    };
    let form = "application/x-www-form-urlencoded";
    let answers = [
        (200, client.get("/").await),
        (200, client.get("/static/style.css").await),
        (200, client.get("/api/openapi.json").await),
        (303, client.get("/account").await),
        (400, raw("POST", "/login", form, "email=%FF".into()).await),
        (401, client.get("/api/v1/me").await),
        (403, client.send(client.posting("/login").header("sec-fetch-site", "cross-site")).await),
        (404, client.get("/nowhere").await),
        (404, client.get("/.git/config").await),
        (404, client.get("/static/").await),
        (405, raw("TRACE", "/", form, String::new()).await),
        (405, raw("DELETE", "/login", form, String::new()).await),
        (413, raw("POST", "/login", form, "x".repeat(20_000)).await),
        (415, raw("POST", "/login", "text/plain", String::new()).await),
        (421, client.send(client.http.get(&app.url).header("host", "evil.example")).await),
        (422, client.login("nobody@example.org", "x").await),
    ];
    for (status, answer) in answers {
        let what = format!("{status}: {:?}", answer.headers);
        assert_eq!(answer.status, status, "{what}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"), "{what}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{what}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"), "{what}");
        assert_eq!(answer.header("strict-transport-security"), "", "plain http has none");
        assert_eq!(answer.header("server"), "", "{what}");
        let kind = answer.header("content-type");
        let said = kind.contains("charset=utf-8") || kind.starts_with("application/") || answer.body.is_empty();
        assert!(said, "{what}");
        for leak in ["panicked", "sqlx", "select ", "/src/", env!("CARGO_PKG_VERSION"), "axum", "hyper"] {
            let page_of_ours = answer.status < 300 || leak == env!("CARGO_PKG_VERSION");
            assert!(page_of_ours || !answer.body.contains(leak), "{leak} in {}", answer.body);
        }
    }
    app.settle().await;
}

async fn the_document_of_the_api_names_every_call(app: TestApp) {
    let client = app.client();
    let document = client.get("/api/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{document}");
    let index = client.get("/api").await;
    for (method, path) in [
        ("post", "/api/v1/register"),
        ("post", "/api/v1/confirm"),
        ("post", "/api/v1/login"),
        ("post", "/api/v1/logout"),
        ("get", "/api/v1/me"),
        ("get", "/api/v1/me/activity"),
    ] {
        let operation = &document["paths"][path][method];
        assert!(operation["responses"].is_object(), "{method} {path}: {document}");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{operation}");
        assert!(index.body.contains(path), "{}", index.body);
        let answer =
            client.send(client.http.request(method.to_uppercase().parse().unwrap(), format!("{}{path}", app.url)));
        assert!(![404, 405].contains(&answer.await.status), "{method} {path} is there");
    }
    // every reference leads somewhere
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

async fn the_mailbox_is_for_this_machine_and_for_nothing_configured(app: TestApp) {
    app.signed_in_client("ann@example.org").await;
    let client = app.client();
    let (list, json) = (client.get("/mailbox").await, client.get("/mailbox.json?to=ann@example.org").await);
    match app.stack {
        Stack::Small => {
            assert_eq!((list.status, json.status), (200, 200));
            let mails = json.json();
            let mail = &mails[0];
            for field in ["id", "to", "subject", "text", "html", "received_at"] {
                assert!(mail[field].is_string(), "{mail}");
            }
            let page = client.get(&format!("/mailbox/{}", mail["id"].as_str().unwrap())).await;
            assert!(page.status == 200 && page.body.contains("/confirm?token="), "{}", page.body);
            assert_eq!(client.get("/mailbox.json?to=bob@example.org").await.body, "[]");
            assert_eq!(client.get("/mailbox/..%2fsecret.key").await.status, 404);
            // F22: by way of a proxy on this machine that asks for the loopback by name
            for (name, value) in [
                ("x-forwarded-proto", "https"),
                ("via", "1.1 proxy"),
                ("referer", "https://sign-up.example/register/sent"),
                ("origin", "https://sign-up.example"),
            ] {
                for path in ["/mailbox", "/mailbox.json"] {
                    let request = client.http.get(format!("{}{path}", app.url)).header(name, value);
                    assert_eq!(client.send(request).await.status, 404, "{path} with {name}: {value}");
                }
            }
            let own = client.http.get(format!("{}/mailbox", app.url)).header("referer", format!("{}/", app.url));
            assert_eq!(client.send(own).await.status, 200);
        }
        Stack::Large => assert_eq!((list.status, json.status), (404, 404)),
    }
}

async fn a_page_of_another_site_can_post_nothing(app: TestApp) {
    let client = app.signed_in_client("ann@example.org").await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        for path in ["/register", "/login", "/confirm", "/logout", "/api/v1/login", "/api/v1/logout"] {
            let request = client.http.post(format!("{}{path}", app.url)).header(name, value).form(&[("email", "x")]);
            assert_eq!(client.send(request).await.status, 403, "{name}: {value} {path}");
        }
    }
    // neither header and a session: fails safe
    let hidden = client.http.post(format!("{}/logout", app.url)).form::<[(&str, &str); 0]>(&[]);
    assert_eq!(client.send(hidden).await.status, 403);
    let own = client.http.post(format!("{}/logout", app.url)).header("origin", &app.url).form::<[(&str, &str); 0]>(&[]);
    assert_eq!(client.send(own).await.status, 303);
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_45_guesses_at_links_are_limited_by_network() {
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.http.limits = true;
        options.config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let guess = async |from: &str| {
        let client = app.client();
        let request = client.posting("/confirm").header("x-forwarded-for", from).form(&[("token", "x")]);
        client.send(request).await
    };
    let mut refused = 0;
    for n in 0..200 {
        // one network, however many addresses of it
        let answer = guess(&format!("2001:db8:1:1::{n:x}")).await;
        if answer.status == 429 {
            refused += 1;
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
    }
    assert!(refused > 100, "{refused} of 200 guesses were refused");
    assert_eq!(guess("2001:db8:2:2::1").await.status, 422, "another network is not in trouble");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_the_cookies_are_secure_and_the_transport_is_strict() {
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.http.public_url = "https://id.example.org".parse().unwrap();
    })
    .await;
    let client = app.client();
    let answer = client.register("ann@example.org", PASSWORD, "Ann").await;
    assert!(answer.header("set-cookie").starts_with("__Host-bellhop-reg="), "{:?}", answer.headers);
    assert!(answer.header("set-cookie").contains("; Secure"));
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    app.settle().await;
    let mail = app.mails_to("ann@example.org").await.remove(0);
    assert!(mail.text.contains("https://id.example.org/confirm?token="), "{}", mail.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_told_and_signs_nobody_out() {
    let (server, data) = (crate::support::postgres::Private::new().await, tempfile::tempdir().unwrap());
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.data.database_url = Some(secrecy::SecretString::from(server.url().to_owned()));
        options.config.data.data_dir = data.path().to_owned();
    })
    .await
    .unfinished();
    let client = app.signed_in_client("ann@example.org").await;
    server.stop().await;
    for path in ["/register", "/login"] {
        let fields = [("email", "ann@example.org"), ("password", PASSWORD), ("name", "Ann")];
        let take = if path == "/login" { &fields[..2] } else { &fields[..] };
        let answer = app.client().post(path, take).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
        assert_eq!(answer.header("set-cookie"), "", "nobody is signed in or out");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
    }
    // a session that this node does not remember
    let stranger =
        client.http.get(format!("{}/account", app.url)).header("cookie", format!("bellhop={}", "A".repeat(43)));
    assert_eq!(app.client().send(stranger).await.status, 503, "not knowing is not nobody");
    assert_eq!(client.get("/livez").await.status, 200);
    crate::support::app::within("readiness to tell", async || client.get("/readyz").await.status == 503).await;
    server.start().await;
    crate::support::app::within("the pool to heal", async || {
        app.client().login("ann@example.org", PASSWORD).await.status == 303
    })
    .await;
}
