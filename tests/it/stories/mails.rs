//! When the mail server is slow, away, or says no. People register all the same.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bellhop::app::Parts;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::support::app::{PASSWORD, Stack, TestApp, within, without_times};
use crate::support::proxy::{Mode, Proxy};
use crate::support::smtp::{Phase, Script, Step};

async fn large() -> TestApp {
    TestApp::start(Stack::Large).await
}

/// With a road to the database that can be cut; the app is dropped first.
async fn on_a_road() -> (Proxy, TestApp) {
    let mut road = None;
    let app = TestApp::start_with(Stack::Large, |options| {
        let url = options.config.data.database_url.take().unwrap();
        let way = Proxy::before(url.expose_secret());
        let (proxy, url) = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(way));
        (options.config.data.database_url, road) = (Some(url.into()), Some(proxy));
    })
    .await;
    (road.unwrap(), app)
}

async fn delivery(app: &TestApp, email: &str) -> String {
    let sql = "select delivery from registrations where email_canonical = $1";
    let (word,): (String,) = app.db().query(sql).bind(email.to_owned()).one().await.unwrap();
    word
}

async fn setbacks(app: &TestApp) -> sqlx::Result<i64> {
    let (count,): (i64,) = app.db().query("select count(*) from setback").one().await?;
    Ok(count)
}

async fn events(app: &TestApp, kind: &'static str) -> i64 {
    let (count,): (i64,) =
        app.db().query("select count(*) from outbox where type = $1").bind(kind).one().await.unwrap();
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_register_while_the_mail_server_is_away_and_their_mails_follow() {
    let mut app = large().await;
    let mut sink = app.sink.take().unwrap();
    sink.stop().await;
    let client = app.client();
    for n in 0..5 {
        assert_eq!(app.client().register(&format!("ann{n}@example.org"), PASSWORD, "Ann").await.status, 303);
    }
    assert_eq!(client.register("bob@example.org", PASSWORD, "Bob").await.status, 303);
    within("every mail to have been tried", async || events(&app, "mail.delayed").await == 6).await;
    let told = client.get("/register/status").await.json();
    assert_eq!(told["state"], "delayed", "the person who waits is told");
    assert_eq!(
        app.client().get("/readyz").await.status,
        200,
        "a mail server that is away is no reason to send people away"
    );
    within("readiness to name it", async || {
        app.client().get("/readyz").await.json()["degraded"] == serde_json::json!(["mail"])
    })
    .await;

    sink.restart().await;
    app.sink = Some(sink);
    app.settle().await;
    for n in 0..5 {
        assert_eq!(app.mails_to(&format!("ann{n}@example.org")).await.len(), 1);
    }
    assert_eq!(delivery(&app, "bob@example.org").await, "sent");
    assert_eq!(events(&app, "mail.delayed").await, 6, "told once for each, however often it was tried");
    assert_eq!(events(&app, "mail.sent").await, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_address_is_told_and_not_tried_again() {
    let app = large().await;
    let sink = app.sink.as_ref().unwrap();
    sink.set(Script::default().on_recipient("typo@example.org", Step::reply("550 5.1.1 no such mailbox")));
    let client = app.client();
    client.register("typo@example.org", PASSWORD, "Ann").await;
    app.client().register("fine@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    assert_eq!(client.get("/register/status").await.json()["state"], "rejected");
    let page = client.get("/register/sent").await;
    assert!(page.body.contains("href=\"/register\""), "the address can be corrected: {}", page.body);
    assert_eq!(app.mails_to("fine@example.org").await.len(), 1, "one bad destination holds nobody up");
    assert_eq!(events(&app, "mail.rejected").await, 1);
    assert_eq!(sink.attempts(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_says_later_gets_the_mail_later() {
    let app = large().await;
    app.sink.as_ref().unwrap().set(Script::default().on(Phase::Rcpt, Step::reply("451 4.7.1 greylisted").times(3)));
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    assert_eq!(app.mails_to("ann@example.org").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_whose_last_answer_was_lost_comes_again_with_the_same_id_and_the_same_link() {
    let app = large().await;
    let sink = app.sink.as_ref().unwrap();
    // it has the mail, and goes away before it says so
    sink.set(Script::default().on(Phase::Dot, Step::drop().keeping_the_mail().times(1)));
    let client = app.client();
    client.register("ann@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let mails = sink.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].message_id(), mails[1].message_id());
    let letters = app.mails_to("ann@example.org").await;
    assert_eq!(letters[0].token(), letters[1].token());
    let pressed = client.post("/confirm", &[("token", &letters[0].token().unwrap())]).await;
    assert_eq!(pressed.status, 303, "either of them opens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_another_workers_lease_is_no_failed_attempt() {
    let app = TestApp::start_with(Stack::Large, |options| options.parts = Parts::only(["web", "relay"]).unwrap()).await;
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    let event = "select id from outbox where type = 'user.registered'";
    let (event,): (Uuid,) = app.db().query(event).one().await.unwrap();
    // of a worker that has died
    let mut tx = app.db().begin().await.unwrap();
    tx.query("insert into lease (listener, event_id, holder, until) values ('confirmation', $1, $2, $3)")
        .bind(event)
        .bind(Uuid::new_v4())
        .bind(app.clock().now() + Duration::from_secs(5))
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    app.sink.as_ref().unwrap().set(Script::default().on(Phase::Rcpt, Step::reply("451 4.7.1 greylisted").times(1)));
    let listeners = app.another_node(Parts::only(["listeners"]).unwrap()).await.unfinished();
    app.settle().await;
    let (attempts, reason): (i32, String) = app.db().query("select attempt, reason from setback").one().await.unwrap();
    assert!(reason.contains("451"), "{reason}");
    assert_eq!(attempts, 1, "or the second would be put off as if it were the fourth");
    drop(listeners);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_does_not_go_again_because_the_database_was_away_when_it_was_taken() {
    let (road, app) = on_a_road().await;
    let sink = app.sink.as_ref().unwrap();
    sink.set(Script::default().on(Phase::Dot, Step::delay(Duration::from_secs(1)).times(1)));
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    sink.wait_for_attempts(1).await;
    let mut tick = tokio::time::interval(Duration::from_millis(300));
    tick.tick().await;
    // by now the message is with the server, which takes its time
    tick.tick().await;
    road.set(Mode::Reset);
    sink.wait_for(1).await;
    tick.reset();
    tick.tick().await;
    road.set(Mode::Pass);
    within("the database to answer", async || setbacks(&app).await.is_ok()).await;
    app.settle().await;
    assert_eq!(sink.mails().len(), 1);
    assert_eq!(delivery(&app, "ann@example.org").await, "sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_not_put_off_for_longer_because_the_database_was_away() {
    let (road, app) = on_a_road().await;
    let sink = app.sink.as_ref().unwrap();
    // so that the database goes while a listener is at work
    sink.set(Script::default().on(Phase::Rcpt, Step::delay(Duration::from_millis(500))));
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    sink.wait_for_attempts(1).await;
    road.set(Mode::Reset);
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    tick.tick().await;
    tick.tick().await;
    road.set(Mode::Pass);
    within("the database to answer", async || setbacks(&app).await.is_ok()).await;
    app.settle().await;
    assert_eq!((setbacks(&app).await.unwrap(), sink.mails().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_leaves_late_holds_a_link_that_lives() {
    let mut app = large().await;
    let mut sink = app.sink.take().unwrap();
    sink.stop().await;
    let client = app.client();
    client.register("ann@example.org", PASSWORD, "Ann").await;
    within("the first try", async || delivery(&app, "ann@example.org").await == "delayed").await;
    app.clock().advance(Duration::from_hours(20));
    sink.restart().await;
    app.sink = Some(sink);
    app.settle().await;
    app.clock().advance(app.app.accounts.lifetimes.confirm.checked_sub(Duration::from_mins(1)).unwrap());
    let token = app.mails_to("ann@example.org").await[0].token().unwrap();
    assert_eq!(client.post("/confirm", &[("token", &token)]).await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_fails_for_two_days_becomes_a_dead_letter_with_its_reason() {
    let mut app = TestApp::start_with(Stack::Large, |options| {
        options.config.messaging.retry.total = Duration::from_hours(24);
    })
    .await;
    let mut sink = app.sink.take().unwrap();
    sink.stop().await;
    app.client().register("ann@example.org", PASSWORD, "Ann").await;
    within("the first failure", async || setbacks(&app).await.unwrap() == 1).await;
    app.clock().advance(Duration::from_secs(24 * 3_600 + 1));
    app.settle().await;
    let depths = app.app.depths().await.unwrap();
    assert!(depths.iter().any(|depth| depth.queue == "confirmation.dead" && depth.messages == 1), "{depths:?}");
    sink.restart().await;
    app.sink = Some(sink);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_markup_or_headers_reach_the_reader_as_text() {
    for stack in [Stack::Small, Stack::Large] {
        let app = TestApp::start(stack).await;
        let names = [
            "<script>alert(1)</script>",
            "\"Eve\" <eve@evil.example>",
            "{{7*7}} ${7*7}",
            "Ann, Lee; =?utf-8?q?x?=",
            "' or 1=1 --",
        ];
        for (n, name) in names.into_iter().enumerate() {
            let answer = app.client().register(&format!("ann{n}@example.org"), PASSWORD, name).await;
            assert_eq!(answer.status, 303, "{name}");
        }
        for name in ["Eve\r\nBcc: x@evil.example", "Eve\nSubject: x", "Eve\u{0}", "Eve\u{1b}[31m"] {
            assert_eq!(app.client().register("eve@example.org", PASSWORD, name).await.status, 422, "{name:?}");
        }
        app.settle().await;
        let mails = app.mails().await;
        assert_eq!(mails.len(), names.len());
        for mail in mails {
            assert!(!mail.html.contains("<script"), "{}", mail.html);
            assert!(!mail.subject.contains("Bcc") && mail.token().is_some(), "{mail:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_43_a_mail_server_that_is_away_tells_nobody_who_has_an_account() {
    let mut app = large().await;
    app.signed_in_client("taken@example.org").await;
    // the owner has just been told: another registration of the address sends no mail
    app.client().register("taken@example.org", PASSWORD, "Eve").await;
    app.settle().await;
    let mut sink = app.sink.take().unwrap();
    sink.stop().await;
    let (new, taken) = (app.client(), app.client());
    new.register("new@example.org", PASSWORD, "Eve").await;
    within("the first mail to fail", async || delivery(&app, "new@example.org").await == "delayed").await;
    taken.register("taken@example.org", PASSWORD, "Eve").await;
    within("the other to be looked at", async || {
        taken.get("/register/status").await.json()["state"] != serde_json::json!("queued")
    })
    .await;
    let status =
        async |client: &crate::support::app::HttpClient| without_times(&client.get("/register/status").await.body);
    assert_eq!(status(&taken).await, status(&new).await);
    sink.restart().await;
    app.sink = Some(sink);
    app.settle().await;
    assert_eq!(status(&taken).await, status(&new).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_43_a_slow_mail_server_tells_nobody_who_has_an_account() {
    let app = large().await;
    app.signed_in_client("taken@example.org").await;
    let slow = Duration::from_millis(600);
    app.sink.as_ref().unwrap().set(Script::default().on(Phase::Dot, Step::delay(slow)));
    app.client().register("taken@example.org", PASSWORD, "Eve").await;
    app.settle().await;
    let told_after = async |email: &str| {
        let client = app.client();
        client.register(email, PASSWORD, "Eve").await;
        let since = Instant::now();
        within("the person to be told", async || {
            client.get("/register/status").await.json()["state"] == serde_json::json!("sent")
        })
        .await;
        since.elapsed()
    };
    let (new, taken) = (told_after("new@example.org").await, told_after("taken@example.org").await);
    // a ratio of one run: without the wait it would be a tenth
    assert!(taken > new / 2, "{taken:?} for a taken address, {new:?} for a new one");
    assert_eq!(app.mails_to("taken@example.org").await.len(), 3, "the first mail and a notice for each registration");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_hangs_holds_nobody_else_up() {
    let app = large().await;
    let sink = app.sink.as_ref().unwrap();
    let mut script = Script::default();
    for n in 0..6 {
        script = script.on_recipient(&format!("ann{n}@hangs.example"), Step::hang());
    }
    sink.set(script);
    for n in 0..6 {
        app.client().register(&format!("ann{n}@hangs.example"), PASSWORD, "Ann").await;
    }
    within("one to hang", async || sink.attempts() > 0).await;
    for n in 0..3 {
        app.client().register(&format!("bob{n}@fine.example"), PASSWORD, "Bob").await;
    }
    within("the others to have theirs", async || app.mails().await.len() == 3).await;
    // a hanging RCPT is given up after half a minute: they did not wait for that
    let given_up = "select count(*) from setback where reason like '%no answer within%'";
    assert_eq!(app.db().query(given_up).one::<(i64,)>().await.unwrap().0, 0);
    assert!(app.mails().await.iter().all(|mail| mail.to.ends_with("@fine.example")));
    within("those in vain to be told", async || events(&app, "mail.delayed").await >= 4).await;
    assert_eq!(delivery(&app, "bob0@fine.example").await, "sent");
    sink.set(Script::default());
    app.unfinished();
}

/// F72: however much one network asks for, few of its mails go before that of a person from another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_does_not_wait_for_all_that_one_network_causes() {
    let app = TestApp::start_with(Stack::Large, |options| {
        options.config.http.limits = true;
        options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        options.config.mail.rate = NonZeroU32::new(60);
    })
    .await;
    let client = app.client();
    let register = async |from: &str, email: &str| {
        let fields = [("email", email), ("password", PASSWORD), ("name", "Ann")];
        client.send(client.posting("/register").header("x-forwarded-for", from).form(&fields)).await.status
    };
    let mut accepted = 0;
    for n in 0..70 {
        accepted += usize::from(register("192.0.2.7", &format!("flood{n}@a.example")).await == 303);
    }
    assert_eq!(register("198.51.100.7", "ann@b.example").await, 303);
    within("the mail of the other network", async || app.mails_to("ann@b.example").await.len() == 1).await;
    let before = app.mails().await.len() - 1;
    // at one a second: the first five at once, and what came while seventy were asked for
    assert!(accepted >= 5 && before <= accepted && accepted < 15, "{accepted} were accepted, {before} went before");
    app.unfinished();
}
