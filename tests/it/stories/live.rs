//! Pages that stay open: what becomes of the mail, who signs in, whose session ends; and the forms for another mail.

use std::time::{Duration, Instant};

use bellhop::account::credentials::link;
use bellhop::app::Parts;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::{HttpClient, OTHER_PASSWORD, PASSWORD, Stack, TestApp, on_both_stacks, within};
use crate::support::events::Events;
use crate::support::smtp::{Phase, Script, Step};

const STACKS: [Stack; 2] = [Stack::Small, Stack::Large];
const ANN: &str = "ann@example.org";
const STREAM: &str = "/register/sent/events";

on_both_stacks!(
    a_page_that_was_cut_off_comes_back_to_what_is,
    a_page_on_another_node_is_told,
    a_page_of_the_account_is_told_of_sign_ins_and_of_its_end,
    what_is_said_live_is_in_the_language_of_the_page,
    a_stream_may_be_asked_for_from_any_time,
    an_open_page_is_no_use_of_the_session,
    a_stranger_is_told_nothing,
    a_stop_ends_the_streams_at_once,
    another_mail_comes_once_for_each_form,
    whoever_asks_without_a_registration_is_told_so,
);

fn without_words(said: &Value) -> Value {
    let mut said = said.clone();
    said.as_object_mut().unwrap().remove("text");
    said
}

/// The states that were told, each once, in their order.
fn states(told: &[Value]) -> Vec<&str> {
    told.iter().map(|said| said["state"].as_str().unwrap()).collect()
}

async fn stream(client: &HttpClient) -> Events {
    Events::open(client, STREAM).await.expect("a stream")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_page_is_told_every_step_and_moves_on_wherever_the_link_is_pressed() {
    for stack in STACKS {
        let app = TestApp::mailing(stack, |_| {}).await;
        let sink = app.sink.as_ref().unwrap();
        sink.set(Script::default().on(Phase::Rcpt, Step::reply("451 4.7.1 greylisted, try again later")));
        let client = app.client();
        client.register(ANN, PASSWORD, "Ann").await;
        let mut page = stream(&client).await;
        let delayed = page.until("delayed").await.pop().unwrap();
        assert_eq!(delayed["reason"], "busy");
        assert!(delayed["next_try"].as_str() > delayed["at"].as_str(), "{delayed}");
        let text = delayed["text"].as_str().unwrap();
        assert!(text.contains("come back later") && text.contains("next at about"), "{text}");
        sink.set(Script::default());
        let sent = page.until("sent").await.pop().unwrap();
        let at = sent["at"].as_str().unwrap();
        assert!(sent["text"].as_str().unwrap().contains(&format!("at {} UTC", &at[11..16])), "{sent}");
        // who asks is told the same, and sees it without the script
        assert_eq!(client.get("/register/status").await.json(), sent);
        assert_eq!(client.get("/api/v1/register/status").await.json(), without_words(&sent));
        assert!(client.get("/register/sent").await.body.contains(sent["text"].as_str().unwrap()));

        let token = app.mails_to(ANN).await[0].token().unwrap();
        let telephone = app.client();
        let pressed = telephone.post("/confirm", &[("token", &token), ("password", PASSWORD)]).await;
        assert_eq!(pressed.status, 303, "{}", pressed.body);
        page.until("confirmed").await;
        assert_eq!(page.next().await, None, "there is nothing more to wait for");
        let moved = client.get("/register/sent").await;
        assert_eq!((moved.status, moved.header("location")), (303, "/login"), "the other browser is not signed in");
        assert!(client.get("/login").await.body.contains("Your address is confirmed"));
        assert_eq!(client.get("/api/v1/register/status").await.json()["state"], "confirmed");
        assert_eq!(client.get("/account").await.status, 303);
        assert_eq!(telephone.get("/account").await.status, 200);
        app.settle().await;
    }
}

async fn a_page_that_was_cut_off_comes_back_to_what_is(app: TestApp) {
    let client = app.client();
    client.register(ANN, PASSWORD, "Ann").await;
    let mut page = stream(&client).await;
    page.next().await.unwrap();
    drop(page);
    app.settle().await;
    let (_, now) = stream(&client).await.next().await.unwrap();
    assert_eq!(now["state"], "sent", "the present state comes first");
    assert_eq!(now, client.get("/register/status").await.json());
}

async fn a_page_on_another_node_is_told(app: TestApp) {
    let other = app.another_node(Parts::only(["web"]).unwrap()).await;
    let (client, owner) = (other.client(), other.client());
    client.register(ANN, PASSWORD, "Ann").await;
    let mut page = stream(&client).await;
    page.until("sent").await;
    let token = app.mails_to(ANN).await[0].token().unwrap();
    // pressed on the first node
    let pressed = app.client().post("/confirm", &[("token", &token), ("password", PASSWORD)]).await;
    assert_eq!(pressed.status, 303);
    page.until("confirmed").await;
    assert_eq!(owner.login(ANN, PASSWORD).await.status, 303);
    let mut account = Events::open(&owner, "/account/events").await.unwrap();
    assert_eq!(app.client().login(ANN, PASSWORD).await.status, 303);
    // whoever began within the last minute comes too: the page knows whom it shows
    loop {
        let (name, data) = account.next().await.unwrap();
        assert_eq!(name, "sign-in");
        if data["begun_at"].as_str() > account_began(&owner).await.as_deref() {
            break;
        }
    }
    app.settle().await;
}

/// When the session of this client began.
async fn account_began(client: &HttpClient) -> Option<String> {
    let sessions = client.get("/api/v1/me/sessions").await.json();
    let current = sessions["items"].as_array().unwrap().iter().find(|one| one["current"] == true)?;
    Some(current["begun_at"].as_str().unwrap().to_owned())
}

async fn a_page_of_the_account_is_told_of_sign_ins_and_of_its_end(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    app.settle().await;
    let mut page = Events::open(&ann, "/account/events").await.unwrap();
    let elsewhere = app.client();
    assert_eq!(elsewhere.login(ANN, PASSWORD).await.status, 303);
    let (name, sign_in) = page.next().await.unwrap();
    let items = elsewhere.get("/api/v1/me/sessions").await.json()["items"].clone();
    let other = items.as_array().unwrap().iter().find(|one| one["current"] == true).unwrap().clone();
    assert_eq!((name.as_str(), &sign_in["id"], &sign_in["ip"]), ("sign-in", &other["id"], &json!("127.0.0.1")));
    assert_eq!((&sign_in["device"], &sign_in["begun_at"]), (&json!("Bellhop-Test/1"), &other["begun_at"]));
    // the list has it at once, whether the log has been written or not
    let list = ann.get("/account").await.body;
    assert!(list.contains(&format!("data-session=\"{}\"", other["id"].as_str().unwrap())), "{list}");

    // of somebody else's account nothing is told, and of one's own each thing once
    app.signed_in_client("ben@example.org").await;
    let again = app.client();
    assert_eq!(again.login(ANN, PASSWORD).await.status, 303);
    let (name, third) = page.next().await.unwrap();
    assert_eq!(name, "sign-in");
    assert_ne!(third["id"], sign_in["id"]);

    // a page that was made before is told what it does not show
    let since = format!("/account/events?since={}", sign_in["begun_at"].as_str().unwrap());
    let mut late = Events::open(&ann, &since).await.unwrap();
    let told = [late.next().await.unwrap().1["id"].clone(), late.next().await.unwrap().1["id"].clone()];
    assert_eq!(told, [sign_in["id"].clone(), third["id"].clone()]);

    assert_eq!(elsewhere.post("/account/sessions/end-others", &[]).await.status, 303);
    assert_eq!(page.next().await, Some(("session-ended".to_owned(), json!({}))));
    assert_eq!(page.next().await, None);
    let mut over = Events::open(&ann, "/account/events").await.unwrap();
    assert_eq!((over.next().await.unwrap().0.as_str(), over.next().await), ("session-ended", None));
    app.settle().await;
}

async fn an_open_page_is_no_use_of_the_session(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    let idle = app.app.accounts.lifetimes.session_idle;
    app.clock().advance(idle.checked_sub(Duration::from_mins(5)).unwrap());
    drop(Events::open(&ann, "/account/events").await.unwrap());
    app.clock().advance(Duration::from_mins(6));
    assert_eq!(ann.get("/account").await.status, 303, "it ended by itself");
    app.settle().await;
}

async fn a_stranger_is_told_nothing(app: TestApp) {
    app.client().register(ANN, PASSWORD, "Ann").await;
    let stranger = app.client();
    for path in [STREAM, "/forgot/sent/events"] {
        assert_eq!(Events::open(&stranger, path).await.err(), Some(204), "{path}");
    }
    let mut nobodys = Events::open(&stranger, "/account/events").await.unwrap();
    assert_eq!((nobodys.next().await.unwrap().0.as_str(), nobodys.next().await), ("session-ended", None));
    assert_eq!(stranger.get("/api/v1/register/status").await.json()["state"], "unknown");
    // who has forgotten a password follows that mail
    assert_eq!(stranger.post("/forgot", &[("email", ANN)]).await.status, 303);
    let mut page = Events::open(&stranger, "/forgot/sent/events").await.unwrap();
    page.until("sent").await;
    assert_eq!(Events::open(&stranger, STREAM).await.err(), Some(204));
    app.settle().await;
}

async fn a_stop_ends_the_streams_at_once(mut app: TestApp) {
    let client = app.client();
    client.register(ANN, PASSWORD, "Ann").await;
    let mut page = stream(&client).await;
    page.until("sent").await;
    app.settle().await;
    let since = Instant::now();
    app.end().await;
    assert_eq!(page.next().await, None, "ended, not broken off");
    // what is dropped at the end of its time takes ten
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
}

async fn another_mail_comes_once_for_each_form(app: TestApp) {
    let client = app.client();
    client.register(ANN, PASSWORD, "Ann").await;
    app.settle().await;
    for _ in 0..2 {
        let again = client.post("/register/resend", &[("mail", "1")]).await;
        assert_eq!((again.status, again.header("location")), (303, "/register/sent"));
    }
    app.settle().await;
    let mails = app.mails_to(ANN).await;
    assert_eq!(mails.len(), 2, "one form, one mail");
    assert_eq!(mails[0].token(), mails[1].token(), "the same link");
    assert!(client.get("/register/sent").await.body.contains("name=\"mail\" value=\"2\""));

    // a form that is as old as the page changes no address either
    let stale = [("email", "eve@example.org"), ("mail", "1")];
    assert_eq!(client.post("/register/correct", &stale).await.status, 303);
    let wrong = client.post("/register/correct", &[("email", "no address"), ("mail", "2")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("value=\"no address\"") && wrong.body.contains("aria-invalid"), "{}", wrong.body);
    let half = [("email", "half an addr"), ("mail", "2"), ("locale", "zh-CN")];
    let turned = client.post("/register/correct", &half).await;
    assert!(turned.status == 200 && turned.body.contains("value=\"half an addr\""), "{}", turned.body);
    assert!(turned.body.contains("<html lang=\"zh-CN\"") && !turned.body.contains("aria-invalid"), "{}", turned.body);
    for _ in 0..2 {
        let right = [("email", "Ann.Lee@example.org"), ("mail", "2")];
        assert_eq!(client.post("/register/correct", &right).await.status, 303);
    }
    app.settle().await;
    assert_eq!(app.mails_to("eve@example.org").await.len(), 0);
    let corrected = app.mails_to("Ann.Lee@example.org").await;
    assert_eq!((corrected.len(), app.mails_to(ANN).await.len()), (1, 2));
    assert!(client.get("/register/sent").await.body.contains("Ann.Lee@example.org"));

    let old = mails[0].token().unwrap();
    assert_eq!(client.get(&format!("/confirm?token={old}")).await.status, 404, "the old link is dead");
    assert_eq!(client.post("/confirm", &[("token", &old), ("password", PASSWORD)]).await.status, 422);
    let new = corrected[0].token().unwrap();
    assert_eq!(client.post("/confirm", &[("token", &new)]).await.status, 303, "this browser registered");
    assert_eq!(client.get("/api/v1/me").await.json()["user"]["name"], "Ann");
    assert_eq!(app.client().login("ann.lee@example.org", PASSWORD).await.status, 303, "the password stayed");
    app.settle().await;
}

async fn whoever_asks_without_a_registration_is_told_so(app: TestApp) {
    let nobody = app.client();
    for (path, fields) in [("/register/resend", &[("mail", "1")][..]), ("/register/correct", &[("email", ANN)])] {
        let answer = nobody.post(path, fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/register/sent"));
    }
    let correction = json!({ "email": ANN });
    assert_eq!(nobody.send(nobody.posting("/api/v1/register/resend")).await.status, 404);
    assert_eq!(nobody.post_json("/api/v1/register/correct", &correction).await.status, 404);
    let client = app.client();
    client.register("typo@example.org", PASSWORD, "Ann").await;
    assert_eq!(client.post_json("/api/v1/register/correct", &json!({ "email": "x" })).await.status, 422);
    assert_eq!(client.post_json("/api/v1/register/correct", &correction).await.status, 202);
    assert_eq!(client.send(client.posting("/api/v1/register/resend")).await.status, 202);
    app.settle().await;
    let token = app.mails_to(ANN).await[0].token().unwrap();
    assert_eq!(client.post("/confirm", &[("token", &token)]).await.status, 303);
    assert_eq!(client.send(client.posting("/api/v1/register/resend")).await.status, 404);
    app.settle().await;
}

/// A mail that waits for a server goes nowhere any more once another one was asked for in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_address_is_corrected_and_a_delayed_mail_is_replaced() {
    for stack in STACKS {
        let app = TestApp::mailing(stack, |_| {}).await;
        let sink = app.sink.as_ref().unwrap();
        sink.set(
            Script::default()
                .on_recipient("typo@example.org", Step::reply("550 5.1.1 no such user"))
                .on_recipient("later@example.org", Step::reply("450 4.2.1 busy")),
        );
        let client = app.client();
        client.register("typo@example.org", PASSWORD, "Ann").await;
        let mut page = stream(&client).await;
        let rejected = page.until("rejected").await.pop().unwrap();
        assert_eq!(rejected["reason"], "recipient");
        let shown = client.get("/register/sent").await.body;
        assert!(shown.contains("action=\"/register/correct\"") && !shown.contains("http-equiv"), "{shown}");
        let correct = async |email: &str, mail: &str| {
            assert_eq!(client.post("/register/correct", &[("email", email), ("mail", mail)]).await.status, 303);
        };
        correct("later@example.org", "1").await;
        // the same stream goes on
        page.until("delayed").await;
        correct(ANN, "2").await;
        page.until("sent").await;
        sink.set(Script::default());
        app.settle().await;
        let to: Vec<String> = sink.mails().into_iter().flat_map(|mail| mail.recipients).collect();
        assert_eq!(to, [ANN], "none to an address that was corrected");
        assert_eq!(client.get("/register/status").await.json()["state"], "sent");
    }
}

/// Whoever has the address: three an hour, and the answers do not tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_that_are_asked_for_again_count_among_those_of_their_address() {
    for stack in STACKS {
        let app = TestApp::mailing(stack, |options| options.config.http.limits = true).await;
        app.signed_in_client("taken@example.org").await;
        app.clock().advance(Duration::from_hours(24));
        let mut shown = Vec::new();
        for email in ["free@example.org", "taken@example.org"] {
            let client = app.client();
            client.register(email, OTHER_PASSWORD, "Eve").await;
            let mut page = stream(&client).await;
            let mut told = page.until("sent").await;
            let mut answers = Vec::new();
            for mail in ["1", "2", "3", "4"] {
                let answer = client.post("/register/resend", &[("mail", mail)]).await;
                answers.push((answer.status, answer.header("location").to_owned()));
                told.extend(page.until("sent").await);
            }
            app.settle().await;
            let states: Vec<String> = told.iter().map(|said| said["state"].to_string()).collect();
            let mut states = states;
            states.dedup();
            // the first is whatever it was when the page opened
            shown.push((answers, states.into_iter().filter(|state| state != "\"queued\"").collect::<Vec<_>>()));
        }
        assert_eq!(shown[0], shown[1], "on {stack:?}");
        for email in ["free@example.org", "taken@example.org"] {
            // one more before: of the registration that the account is of
            let before = usize::from(email.starts_with("taken"));
            assert_eq!(app.mails_to(email).await.len(), before + 3, "three an hour to {email}");
        }
        let kept_back = "select count(*) from outbox where type = 'mail.kept_back'";
        let (kept_back,): (i64,) = app.db().query(kept_back).one().await.unwrap();
        assert_eq!(kept_back, 4, "two of each, on the same way to the page as a mail");
        // the mails of the address that is corrected to are its own
        let client = app.client();
        client.register("other@example.org", PASSWORD, "Ann").await;
        client.post("/register/correct", &[("email", "free@example.org"), ("mail", "1")]).await;
        app.settle().await;
        assert_eq!(app.mails_to("free@example.org").await.len(), 3);
        assert_eq!(client.get("/register/status").await.json()["state"], "sent");
    }
}

/// F42, live: neither a rival nor who registered a taken address is told the moment at which the owner confirms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_that_another_registration_of_the_address_was_confirmed() {
    for stack in STACKS {
        let app = TestApp::mailing(stack, |_| {}).await;
        let (rival, control) = (app.client(), app.client());
        rival.register(ANN, OTHER_PASSWORD, "Eve").await;
        control.register("nobody@example.org", OTHER_PASSWORD, "Eve").await;
        let (mut rivals, mut controls) = (stream(&rival).await, stream(&control).await);
        rivals.until("sent").await;
        controls.until("sent").await;
        app.signed_in_client(ANN).await;
        app.settle().await;
        let late = app.client();
        late.register(ANN, OTHER_PASSWORD, "Eve").await;
        let mut lates = stream(&late).await;
        lates.until("sent").await;
        // what is heard next is what was asked for next: nothing came in between
        for (client, page) in [(&rival, &mut rivals), (&control, &mut controls), (&late, &mut lates)] {
            assert_eq!(client.post("/register/resend", &[("mail", "1")]).await.status, 303);
            let told = page.until("sent").await;
            assert!(states(&told).iter().all(|state| ["queued", "sent"].contains(state)), "{told:?}");
        }
        // the link that came to the owner by that opens nothing
        app.settle().await;
        for client in [&rival, &late] {
            let token = app.mails_to(ANN).await[0].token().unwrap();
            let tried = client.post("/confirm", &[("token", &token), ("password", OTHER_PASSWORD)]).await;
            assert!(tried.body.contains("Your address is confirmed"), "{}", tried.body);
            let cookies = tried.headers.get_all("set-cookie").iter();
            assert!(cookies.map(|line| line.to_str().unwrap()).all(|line| !line.starts_with("bellhop=")));
            assert_eq!(client.get("/register/status").await.json()["state"], "sent");
        }
    }
}

/// Past its places a network asks now and then; others have theirs, and who leaves makes room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_pages_of_one_network_take_no_places_from_others() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        })
        .await;
        let client = app.client();
        client.register(ANN, PASSWORD, "Ann").await;
        let open = async |from: &str| {
            let request = client.http.get(format!("{}{STREAM}", client.url));
            Events::of(request.header("x-forwarded-for", from)).await
        };
        let mut pages = Vec::new();
        for _ in 0..128 {
            pages.push(open("192.0.2.7").await.expect("a place"));
        }
        assert_eq!(open("192.0.2.7").await.err(), Some(204));
        let mut other = open("192.0.2.8").await.expect("a place of another network");
        assert_eq!(client.get("/register/status").await.status, 200, "who has no place asks");
        other.until("sent").await;
        pages.truncate(64);
        within("room", async || open("192.0.2.7").await.is_ok()).await;
        app.settle().await;
    }
}

/// The link was looked at with one address and is used with another: it proves nothing about that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_pressed_while_the_address_is_corrected_proves_nothing_about_the_new_one() {
    for stack in STACKS {
        let app = TestApp::start(stack).await;
        let mut corrected = 0;
        for n in 0..40 {
            let (own, victim) = (format!("own{n}@example.org"), format!("victim{n}@example.org"));
            let client = app.client();
            client.register(&own, PASSWORD, "Eve").await;
            app.settle().await;
            let (id,): (Uuid,) = app
                .db()
                .query("select id from registrations where email_canonical = $1")
                .bind(own.clone())
                .one()
                .await
                .unwrap();
            let token = link::confirm_token(&app.app.accounts.keys, id, &own);
            let (press, correct) = ([("token", token.as_str())], [("email", victim.as_str()), ("mail", "1")]);
            let (pressed, moved) =
                tokio::join!(client.post("/confirm", &press), client.post("/register/correct", &correct));
            assert_eq!(moved.status, 303);
            let users = "select count(*) from users where email_canonical = $1";
            let (stolen,): (i64,) = app.db().query(users).bind(victim.clone()).one().await.unwrap();
            assert_eq!(stolen, 0, "nobody has read a mail to {victim}");
            corrected += usize::from(pressed.status != 303);
        }
        println!("{corrected} of 40 were corrected first, on {stack:?}");
        app.settle().await;
    }
}

/// The account's, in a browser that asks for another one and in which none was chosen.
async fn what_is_said_live_is_in_the_language_of_the_page(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    let chosen = ann.post("/account/profile", &[("name", "Ann"), ("locale", "zh-CN")]).await;
    assert_eq!(chosen.status, 303);
    assert!(chosen.cookie("bellhop-lang").contains("zh-CN"), "in this browser too");
    let elsewhere = app.client();
    let form = [("email", ANN), ("password", PASSWORD)];
    let login = elsewhere.posting("/login").header("accept-language", "en").form(&form);
    assert_eq!(elsewhere.send(login).await.status, 303);
    let move_to = [("email", "ann@example.net"), ("current_password", PASSWORD)];
    assert_eq!(elsewhere.post("/account/email", &move_to).await.status, 303);
    app.settle().await;
    let get = |path: &str| elsewhere.http.get(format!("{}{path}", app.url)).header("accept-language", "en");
    let page = elsewhere.send(get("/account/email")).await.body;
    let text = elsewhere.send(get("/account/email/status")).await.json()["text"].as_str().unwrap().to_owned();
    assert!(page.contains("zh-CN") && text.contains("邮件"), "{text}");
}

async fn a_stream_may_be_asked_for_from_any_time(app: TestApp) {
    let ann = app.signed_in_client(ANN).await;
    for since in ["-262143-01-01T00:00:00Z", "+262142-12-31T23:59:59Z", "x", ""] {
        let since: String = form_urlencoded::byte_serialize(since.as_bytes()).collect();
        let head = ann.http.head(format!("{}/account/events?since={since}", app.url));
        assert_eq!(ann.send(head).await.status, 200, "{since}");
    }
}
