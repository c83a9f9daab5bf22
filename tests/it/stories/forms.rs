//! Forms: sent twice, in another language, on the way to somewhere.

use bellhop::db::Sql;

use crate::support::app::{HttpClient, OTHER_PASSWORD, PASSWORD, TestApp, on_both_stacks};

on_both_stacks!(
    a_form_that_is_sent_twice_is_one_registration,
    where_a_person_wanted_to_go_is_kept_through_registering_confirming_and_signing_in,
    a_language_is_chosen_on_any_page_and_remembered_by_browser_and_account,
    a_session_that_has_just_begun_is_on_the_account_page,
    only_a_session_that_exists_is_ended,
    choosing_another_language_keeps_what_was_typed,
    what_no_field_may_hold_is_a_mistake_in_that_field,
    item_63_a_browser_sends_back_the_token_of_its_session_or_nothing_is_done,
);

/// The hidden fields of the form that posts to `action`.
fn hidden(page: &str, action: &str) -> Vec<(String, String)> {
    let form = page.split(&format!("action=\"{action}\"")).nth(1).unwrap().split("</form>").next().unwrap();
    let fields = form.split("<input type=\"hidden\" name=\"").skip(1);
    fields
        .map(|field| {
            let mut parts = field.split('"');
            (parts.next().unwrap().to_owned(), parts.nth(1).unwrap().replace("&#38;", "&"))
        })
        .collect()
}

/// Opens the form at `path` and gives what a browser would send from it.
async fn form(client: &HttpClient, path: &str, typed: &[(&str, &str)]) -> Vec<(String, String)> {
    let page = client.get(path).await.body;
    let mut fields = hidden(&page, path.split('?').next().unwrap());
    fields.extend(typed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    fields
}

async fn send(client: &HttpClient, path: &str, fields: &[(String, String)]) -> crate::support::app::Answer {
    client.send(client.posting(path).form(fields)).await
}

/// F19.
async fn a_form_that_is_sent_twice_is_one_registration(app: TestApp) {
    let client = app.client();
    let typed = [("email", "ann@example.org"), ("password", PASSWORD), ("name", "Ann")];
    let fields = form(&client, "/register", &typed).await;
    let (one, other) = (app.client(), app.client());
    let (first, second) = tokio::join!(send(&one, "/register", &fields), send(&other, "/register", &fields));
    assert_eq!((first.status, second.status), (303, 303), "{first:?} {second:?}");
    assert_eq!(first.cookie("bellhop-reg"), second.cookie("bellhop-reg"), "either answer will do");
    app.settle().await;
    assert_eq!(app.mails().await.len(), 1);

    // the way back, and something else typed into the same form: another registration, whose password counts
    let changed: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.clone(), if name == "password" { OTHER_PASSWORD.to_owned() } else { value.clone() }))
        .collect();
    let third = send(&client, "/register", &changed).await;
    assert_ne!(third.cookie("bellhop-reg"), first.cookie("bellhop-reg"));
    app.settle().await;
    assert_eq!(app.mails().await.len(), 2);
    let token = app.mails().await[1].token().unwrap();
    assert_eq!(client.post("/confirm", &[("token", &token)]).await.status, 303);
    assert_eq!(app.client().login("ann@example.org", OTHER_PASSWORD).await.status, 303);
    // two forms are two registrations, whatever is typed into them
    let (one, other) = (form(&client, "/register", &typed).await, form(&client, "/register", &typed).await);
    assert_ne!(one, other);
    app.settle().await;
}

/// F31.
async fn where_a_person_wanted_to_go_is_kept_through_registering_confirming_and_signing_in(app: TestApp) {
    let client = app.client();
    let login = client.get("/login?next=%2Fapi%3Fa%3D1").await.body;
    assert!(login.contains("href=\"/register?next=%2Fapi%3Fa%3D1\""), "{login}");
    let typed = [("email", "ann@example.org"), ("password", PASSWORD), ("name", "Ann")];
    let mut mistaken = form(&client, "/register?next=%2Fapi%3Fa%3D1", &typed[..2]).await;
    mistaken.push(("name".into(), String::new()));
    let again = send(&client, "/register", &mistaken).await;
    assert!(again.body.contains("href=\"/login?next=%2Fapi%3Fa%3D1\""), "{}", again.body);
    let mut fields = hidden(&again.body, "/register");
    fields.extend(typed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(send(&client, "/register", &fields).await.status, 303);
    app.settle().await;
    let token = app.mails().await[0].token().unwrap();
    let elsewhere = app.client();
    let confirmed = elsewhere.post("/confirm", &[("token", &token), ("password", PASSWORD)]).await;
    assert_eq!((confirmed.status, confirmed.header("location")), (303, "/api?a=1"));
    let done = app.client().get(&format!("/confirm?token={token}")).await.body;
    assert!(done.contains("href=\"/login?next=%2Fapi%3Fa%3D1\""), "{done}");

    let fields = [("email", "ann@example.org"), ("password", PASSWORD), ("next", "//evil.example/")];
    assert_eq!(app.client().post("/login", &fields).await.header("location"), "/");
    let evil = form(&app.client(), "/register?next=https%3A%2F%2Fevil.example", &[]).await;
    assert!(evil.contains(&("next".to_owned(), "/".to_owned())), "{evil:?}");
    app.settle().await;
}

/// F18.
async fn a_language_is_chosen_on_any_page_and_remembered_by_browser_and_account(app: TestApp) {
    let client = app.client();
    let french = client.send(client.http.get(format!("{}/login", app.url)).header("accept-language", "fr")).await;
    assert!(!french.body.contains("the language your browser asks for"), "{}", french.body);
    for path in ["/", "/login?next=%2Fapi", "/register", "/register/sent", "/api", "/nowhere", "/confirm?token=x"] {
        let mut fields = hidden(&client.get(path).await.body, "/language");
        assert_eq!(fields, [("next".to_owned(), path.to_owned())]);
        fields.push(("locale".into(), "zh-CN".into()));
        let answer = send(&app.client(), "/language", &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, path));
        assert_eq!(answer.cookie("bellhop-lang"), "zh-CN");
    }
    let choose = async |client: &HttpClient, locale: &str| {
        client.post("/language", &[("locale", locale), ("next", "/")]).await.status
    };
    assert_eq!(choose(&client, "zh-CN").await, 303);
    for path in ["/", "/login", "/nowhere"] {
        assert!(client.get(path).await.body.contains("lang=\"zh-CN\""), "{path}");
    }
    assert_eq!(choose(&client, "tlh").await, 422);
    assert!(client.get("/").await.body.contains("<html lang=\"zh-CN\""), "as it was");

    let ann = app.signed_in_client("ann@example.org").await;
    assert_eq!(choose(&ann, "zh-CN").await, 303);
    assert_eq!(ann.get("/api/v1/me").await.json()["user"]["locale"], "zh-CN");
    let elsewhere = app.client();
    elsewhere.login("ann@example.org", PASSWORD).await;
    assert!(elsewhere.get("/account").await.body.contains("<html lang=\"zh-CN\""), "the account remembers");
    app.settle().await;
}

/// F10, F35.
async fn a_session_that_has_just_begun_is_on_the_account_page(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    app.settle().await;
    let page = ann.get("/account").await.body;
    assert_eq!(page.matches("Signed in by confirming the address").count(), 1, "{page}");
    assert_eq!(page.matches("The session you are looking from").count(), 1, "{page}");
    // and while the log does not have it
    let mut tx = app.db().begin().await.unwrap();
    tx.query("delete from login_log").execute().await.unwrap();
    tx.commit().await.unwrap();
    let page = ann.get("/account").await.body;
    assert_eq!(page.matches("Signed in by confirming the address").count(), 1, "{page}");
    assert_eq!(page.matches("The session you are looking from").count(), 1, "{page}");
    let again = app.client();
    again.login("ann@example.org", PASSWORD).await;
    for _ in 0..2 {
        // before the listener has seen it, and after
        let page = again.get("/account").await.body;
        let rows = page.split("<tbody").nth(1).unwrap();
        assert_eq!(rows.matches("<tr").count(), 2, "each session once, the one that the log has lost too: {page}");
        assert!(rows.split("</tr>").next().unwrap().contains("The session you are looking from"), "{page}");
        app.settle().await;
    }
}

/// F71: who sends random cookies waits for no writer, and none waits for them.
async fn only_a_session_that_exists_is_ended(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    app.settle().await;
    // whoever would write a session waits for this; who reads does not
    let mut tx = app.db().begin().await.unwrap();
    let lock =
        Sql { sqlite: "delete from sessions where user_id = x'00'", postgres: "lock table sessions in exclusive mode" };
    tx.query(lock).execute().await.unwrap();
    for (path, status) in [("/logout", 303), ("/api/v1/logout", 204)] {
        for cookie in ["A".repeat(43), "B".repeat(43)] {
            let stranger = app.client();
            let request = stranger.posting(path).header("cookie", format!("bellhop={cookie}"));
            let request = if path == "/logout" { request.form(&[("", ""); 0]) } else { request };
            assert_eq!(stranger.send(request).await.status, status, "{path}");
        }
    }
    drop(tx);
    assert_eq!(ann.post("/logout", &[]).await.status, 303);
    assert_eq!(ann.get("/api/v1/me").await.status, 401);
    app.settle().await;
}

/// The button of another language sent a form of its own, and what was typed into the other one was lost.
async fn choosing_another_language_keeps_what_was_typed(app: TestApp) {
    let typed = [("email", "ann@example.org"), ("name", "Ann Lee"), ("password", PASSWORD)];
    let ann = app.signed_in_client("ben@example.org").await;
    let mails = app.mails().await.len();
    for (path, fields) in
        [("/register", 3), ("/login", 1), ("/forgot", 1), ("/login?next=%2Fapi", 1), ("/account/email", 1)]
    {
        let client = if path.starts_with("/account") { ann.clone() } else { app.client() };
        let page = client.get(path).await.body;
        let to = path.split('?').next().unwrap();
        let button = format!("form=\"form\" formaction=\"{path}\" name=\"locale\" value=\"zh-CN\"");
        assert!(page.contains(&button), "{page}");
        let typed = if fields == 1 { &typed[..1] } else { &typed[..] };
        let mut sent = form(&client, path, typed).await;
        sent.push(("locale".into(), "zh-CN".into()));
        let shown = send(&client, to, &sent).await;
        assert_eq!((shown.status, shown.cookie("bellhop-lang").as_str()), (200, "zh-CN"), "{path}");
        assert!(shown.body.contains("<html lang=\"zh-CN\""), "{}", shown.body);
        for (name, value) in typed.iter().filter(|(name, _)| *name != "password") {
            assert!(shown.body.contains(&format!("value=\"{value}\"")), "{name}: {}", shown.body);
        }
        assert!(!shown.body.contains(PASSWORD) && !shown.body.contains("mistake"), "{}", shown.body);
        assert_eq!(hidden(&shown.body, to).iter().any(|(name, _)| name == "next"), path.contains("next"));
        // a language that is none of ours is refused here too
        sent.last_mut().unwrap().1 = "tlh".into();
        assert_eq!(send(&client, to, &sent).await.status, 422);
    }
    app.settle().await;
    assert_eq!(app.mails().await.len(), mails, "nothing was registered, asked for or changed");
}

/// A NUL was answered with a page about a malformed request, and the form was gone.
async fn what_no_field_may_hold_is_a_mistake_in_that_field(app: TestApp) {
    let client = app.client();
    let good = [("email", "ann@example.org"), ("password", PASSWORD), ("name", "Ann Lee")];
    for wrong in 0..good.len() {
        let mut fields = good.map(|(name, value)| (name, value.to_owned()));
        fields[wrong].1.push('\0');
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = client.post("/register", &fields).await;
        assert_eq!(page.status, 422);
        assert!(page.body.contains(&format!("id=\"{}-mistake\"", good[wrong].0)), "{}", page.body);
        assert_eq!(page.body.matches("class=\"mistake\"").count(), 1, "{}", page.body);
        for (at, (name, value)) in good.iter().enumerate().filter(|(_, (name, _))| *name != "password") {
            let shown = if at == wrong { format!("value=\"{value}\u{fffd}\"") } else { format!("value=\"{value}\"") };
            assert!(page.body.contains(&shown), "{name}: {}", page.body);
        }
        let refused = client.post("/login", &fields[..2]).await;
        assert_eq!(refused.status, 422);
    }
    app.settle().await;
    assert!(app.mails().await.is_empty());
}

/// Beside where a request comes from, which is looked at first, what only a page of the session can know. Programs that read no pages
/// have none, and say nothing of how they fetch, as every browser does.
async fn item_63_a_browser_sends_back_the_token_of_its_session_or_nothing_is_done(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    let token = async |client: &HttpClient| {
        let page = client.get("/account/profile").await.body;
        hidden(&page, "/account/profile").into_iter().find(|(name, _)| name == "csrf").unwrap().1
    };
    let elsewhere = app.client();
    elsewhere.login("ann@example.org", PASSWORD).await;
    let (own, others) = (token(&ann).await, token(&elsewhere).await);
    assert_ne!(own, others);
    let send = async |client: &HttpClient, path: &str, fields: &[(&str, &str)], csrf: Option<&str>| {
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain(csrf.map(|csrf| ("csrf", csrf))).collect();
        client.send(client.posting(path).header("sec-fetch-mode", "navigate").form(&fields)).await
    };
    let end = format!("/account/sessions/{}/end", uuid::Uuid::now_v7());
    let forms: [(&str, &[(&str, &str)]); 9] = [
        ("/account/profile", &[("name", "Eve"), ("locale", "en")]),
        ("/account/password", &[("current_password", PASSWORD), ("password", OTHER_PASSWORD)]),
        ("/account/email", &[("email", "eve@example.net"), ("current_password", PASSWORD)]),
        ("/account/export", &[("current_password", PASSWORD)]),
        ("/account/delete", &[("current_password", PASSWORD)]),
        ("/account/delete/undo", &[]),
        ("/account/sessions/end-others", &[]),
        (&end, &[]),
        ("/logout", &[]),
    ];
    let garbled = format!("{}{}", if own.starts_with('A') { "B" } else { "A" }, &own[1..]);
    for (path, fields) in forms {
        for wrong in [None, Some(""), Some("x"), Some(others.as_str()), Some(&garbled)] {
            let refused = send(&ann, path, fields, wrong).await;
            assert_eq!(refused.status, 403, "{path} with {wrong:?}");
            assert!(refused.body.contains("Reload the page"), "{}", refused.body);
        }
        // one that is sent must be right, whoever sends it
        let program = ann.posting(path).form(&[fields, &[("csrf", others.as_str())]].concat());
        assert_eq!(ann.send(program).await.status, 403, "{path}");
    }
    let me = ann.get("/api/v1/me").await.json();
    assert_eq!((&me["user"]["name"], &me["user"]["email"]), (&"Ann".into(), &"ann@example.org".into()));
    assert_eq!(elsewhere.get("/api/v1/me").await.status, 200, "nothing was done");
    // it lasts as long as its session, whose cookie changes when the password is shown
    assert_eq!(send(&ann, "/account/export", &[("current_password", PASSWORD)], Some(&own)).await.status, 200);
    assert_eq!(send(&ann, "/account/profile", &[("name", "Ann Lee"), ("locale", "en")], Some(&own)).await.status, 303);
    let (path, fields) = forms[1];
    assert_eq!(send(&ann, path, fields, Some(&own)).await.status, 303);
    assert_eq!(send(&ann, "/logout", &[], Some(&own)).await.status, 403, "that was another session");
    assert_eq!(send(&ann, "/logout", &[], Some(&token(&ann).await)).await.status, 303);
    // twice
    assert_eq!(send(&ann, "/logout", &[], Some(&own)).await.status, 303, "there is nobody whom it would sign out");
    // what strangers send has none
    assert_eq!(
        send(&ann, "/login", &[("email", "ann@example.org"), ("password", OTHER_PASSWORD)], None).await.status,
        303
    );
    app.settle().await;
}
