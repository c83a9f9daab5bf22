//! What a mail server refuses: whose fault it is, who is told what, and where its words go.

use std::time::Duration;

use bellhop::account::credentials::link;
use bellhop::mail::Health;
use bellhop::messaging::operator::DeadLetterFilter;
use serde_json::Value;
use uuid::Uuid;

use crate::support::app::{HttpClient, PASSWORD, Stack, TestApp, within};
use crate::support::smtp::{Phase, Script, Step};

const STACKS: [Stack; 2] = [Stack::Small, Stack::Large];

async fn status(client: &HttpClient) -> String {
    client.get("/register/status").await.json()["state"].as_str().unwrap().to_owned()
}

/// The data of the events of one type.
async fn events(app: &TestApp, kind: &'static str) -> Vec<Value> {
    let bodies: Vec<(String,)> =
        app.db().query("select body from outbox where type = $1 order by id").bind(kind).all().await.unwrap();
    bodies.iter().map(|(body,)| serde_json::from_str::<Value>(body).unwrap()["data"].clone()).collect()
}

/// F50.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ours_to_mend_is_delayed_and_told_to_the_operator_and_goes_when_it_is_mended() {
    for stack in STACKS {
        for (said, class) in [
            ("504 5.5.2 <bellhop>: Helo command rejected: need fully-qualified hostname", "protocol"),
            ("550 5.1.0 Sender rejected", "sender"),
            ("550 relay not permitted, authentication required", "login"),
            ("553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "policy"),
            ("550 5.4.5 Daily user sending limit exceeded", "quota"),
        ] {
            let app = TestApp::mailing(stack, |_| {}).await;
            let sink = app.sink.as_ref().unwrap();
            sink.set(Script::default().on(Phase::Rcpt, Step::reply(said)));
            let client = app.client();
            client.register("ann@example.org", PASSWORD, "Ann").await;
            sink.wait_for_attempts(2).await;
            assert_eq!(status(&client).await, "delayed", "{said}");
            let delayed = &events(&app, "mail.delayed").await[0];
            assert_eq!(
                (delayed["class"].as_str(), delayed["smtp_code"].as_u64()),
                (Some(class), said[..3].parse().ok())
            );
            let Health::Failing { reason, .. } = app.app.mail.health() else { panic!("{said}: not degraded") };
            assert!(reason.contains(&said[4..]), "the operator can read what the server said: {reason}");
            sink.set(Script::default());
            app.settle().await;
            assert_eq!((status(&client).await, app.mails().await.len()), ("sent".to_owned(), 1), "{said}");
            assert!(matches!(app.app.mail.health(), Health::Working { .. }));
        }
    }
}

/// F46: whatever a server repeats of a mail is in no event, retry state, queue or dead letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_repeats_is_in_no_event_no_retry_state_and_no_dead_letter() {
    for stack in STACKS {
        let app =
            TestApp::mailing(stack, |options| options.config.messaging.retry.total = Duration::from_hours(24)).await;
        let sink = app.sink.as_ref().unwrap();
        let refuse = |reply: &str| {
            Script::default()
                .on(Phase::Dot, Step::reply(&format!("554 5.7.1 <{{to}}> CANARY-WORDS {{link}} {reply}")))
                .on_recipient("canary.rejected@canary.example", Step::reply("550 5.1.1 <{to}>: CANARY-WORDS unknown"))
        };
        sink.set(refuse("blocked"));
        app.client().register("canary.delayed@canary.example", PASSWORD, "Ann").await;
        app.client().register("canary.rejected@canary.example", PASSWORD, "Ann").await;
        within("both to be refused", async || {
            // retry state too: since when it fails is written down after the event
            !app.dump("setback").await.is_empty() && !events(&app, "mail.rejected").await.is_empty()
        })
        .await;
        app.clock().advance(Duration::from_secs(24 * 3_600 + 1));
        app.settle().await;

        let letters = app.app.operator().dead_letters(&DeadLetterFilter::default()).await.unwrap();
        assert_eq!(letters.len(), 1, "one was given up");
        assert!(format!("{letters:?}").contains("(554 5.7.1)"), "{letters:?}");
        assert_eq!(events(&app, "mail.rejected").await[0]["enhanced_code"], "5.1.1");
        let (id,): (Uuid,) = app
            .db()
            .query("select id from registrations where email = 'canary.delayed@canary.example'")
            .one()
            .await
            .unwrap();
        let token = link::confirm_token(&app.app.accounts.keys, id, "canary.delayed@canary.example");
        let mut seen = format!("{letters:?}").to_lowercase();
        // the list has heads alone
        let whole = DeadLetterFilter { id: Some(letters[0].message.id), ..DeadLetterFilter::default() };
        for letter in app.app.operator().dead_letters(&whole).await.unwrap() {
            assert_ne!(letter.message.body, b"", "the body of the one that is asked for");
            seen += &String::from_utf8_lossy(&letter.message.body).to_lowercase();
        }
        for table in ["outbox", "inbox", "setback", "broker_message"] {
            seen += &app.dump(table).await;
        }
        assert!(seen.contains("554 5.7.1"), "{seen}");
        for private in ["canary", "confirm?token", &token, &token[20..40]] {
            assert!(!seen.contains(&private.to_lowercase()), "{private} is in {seen}");
        }
    }
}

/// F44: mails to an address that nobody has confirmed say nothing that a stranger chose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_to_an_unconfirmed_address_holds_nothing_that_was_typed() {
    for stack in STACKS {
        let app = TestApp::mailing(stack, |_| {}).await;
        let names = [
            "Visit evil.example today",
            "Go evil\u{ff61}example now",
            "evil\u{2024}example",
            "Your account is locked call +1 900 5550",
        ];
        for (n, name) in names.into_iter().enumerate() {
            assert_eq!(app.client().register(&format!("ann{n}@example.org"), PASSWORD, name).await.status, 303);
        }
        app.settle().await;
        let mails = app.sink.as_ref().unwrap().mails();
        assert_eq!(mails.len(), names.len());
        for mail in mails {
            let parsed = mail.parsed();
            assert_eq!(mail.header("To").as_deref(), Some(mail.recipients[0].as_str()), "no name");
            for text in [&parsed.subject, &parsed.text, &parsed.html] {
                for word in ["evil", "locked", "900", "Visit"] {
                    assert!(!text.contains(word), "{word}: {text}");
                }
            }
        }
    }
}
