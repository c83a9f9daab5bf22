//! Golden events: the body of every event as it was once released, kept for good.
//!
//! They lie in tests/golden/events, a folder for each version of payloads. What was sent once may still lie in somebody's
//! outbox, queue or archive, so a file that is there is never changed: a payload that changes otherwise than by an
//! optional field is a new version in a new folder, and the old one must still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bellhop::event::{self, EmailChange, Event, MailFact, MailRefusal, Origin, PasswordChange, Received, Refusal};
use bellhop::messaging::broker::{Publication, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::outbox::OutboxEvent as _;
use bellhop::messaging::topology::{DEFAULT, EVENTS, Exchange, Queue, QueueKind, dead};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::PartialSchema as _;
use uuid::Uuid;

use crate::support::app::{PASSWORD, TestApp, on_both_stacks, within};

/// Every file of version 1 and what it says. A type has one file under its name, and more where it has more to say.
/// New lines come last: ids and times are counted.
#[expect(clippy::too_many_lines, reason = "a table")]
fn version_1() -> Vec<(&'static str, Event)> {
    let (user, registration, session) = (id(0xa), id(0xb), id(0xc));
    let origin = Origin { ip: "192.0.2.7".parse().unwrap(), user_agent: "Reader/1 (\"quoted\"; ünï)".into() };
    let far = Origin { ip: "2001:db8::7".parse().unwrap(), user_agent: String::new() };
    let attempted = "5d41402abc4b2a76b9719d911017c592".to_owned();
    let failed = |user, reason, origin: &Origin| Event::LoginFailed {
        user,
        attempted: attempted.clone(),
        reason,
        refusals: 1,
        origin: origin.clone(),
    };
    let mail = |template: &str| MailFact {
        registration: Some(registration),
        template: template.into(),
        message_id: format!("<{}.{template}@example.org>", id(0xd)),
        ..MailFact::default()
    };
    let mail_of = |template: &str, reset, user| MailFact { registration: None, reset, user, ..mail(template) };
    let delayed =
        |reason: &str, refusal| Event::MailDelayed { mail: mail("confirmation"), reason: reason.into(), refusal };
    let rejected = |reason: &str, refusal| Event::MailRejected {
        mail: mail("already_registered"),
        reason: reason.into(),
        refusal,
    };
    let refusal =
        |class: &str, smtp_code, enhanced_code| MailRefusal { class: Some(class.to_owned()), smtp_code, enhanced_code };
    vec![
        ("user.registered", Event::UserRegistered { registration, origin: origin.clone() }),
        ("user.confirmed", Event::UserConfirmed { user, registration, session: None, origin: far.clone() }),
        ("login.succeeded", Event::LoginSucceeded { user, session, origin: origin.clone() }),
        ("login.failed", failed(Some(user), Refusal::WrongPassword, &origin)),
        ("login.failed.unknown_address", failed(None, Refusal::UnknownAddress, &far)),
        ("login.failed.unconfirmed", failed(None, Refusal::Unconfirmed, &origin)),
        ("login.failed.disabled", failed(Some(user), Refusal::Disabled, &origin)),
        ("login.failed.malformed", failed(None, Refusal::Malformed, &far)),
        ("session.revoked", Event::SessionRevoked { user, session }),
        ("mail.sent", Event::MailSent { mail: mail("confirmation") }),
        ("mail.delayed", delayed("451 4.3.0 later", MailRefusal::default())),
        ("mail.rejected", rejected("550 5.1.1 no", MailRefusal::default())),
        (
            "mail.delayed.refused",
            delayed("the mail server refuses our sender address (550)", refusal("sender", Some(550), None)),
        ),
        (
            "mail.delayed.unreachable",
            delayed("connect: Connection refused (os error 111)", refusal("unreachable", None, None)),
        ),
        (
            "mail.rejected.refused",
            rejected(
                "the mail server refuses the recipient (550 5.1.1)",
                refusal("recipient", Some(550), Some("5.1.1".to_owned())),
            ),
        ),
        (
            "user.confirmed.session",
            Event::UserConfirmed { user, registration, session: Some(session), origin: origin.clone() },
        ),
        ("password.reset_requested", Event::PasswordResetRequested { reset: registration, origin: far.clone() }),
        (
            "password.changed",
            Event::PasswordChanged {
                user,
                by: PasswordChange::Account,
                session: Some(session),
                origin: origin.clone(),
            },
        ),
        (
            "password.changed.reset",
            Event::PasswordChanged { user, by: PasswordChange::Reset, session: None, origin: far.clone() },
        ),
        ("mail.sent.reset", Event::MailSent { mail: mail_of("password_reset", Some(registration), None) }),
        ("mail.sent.user", Event::MailSent { mail: mail_of("password_changed", None, Some(user)) }),
        ("user.updated", Event::UserUpdated { user }),
        ("confirmation.requested", Event::ConfirmationRequested { registration, mail: 2, origin: origin.clone() }),
        ("session.begun", Event::SessionBegun { user, session, registration: None }),
        ("session.begun.confirmed", Event::SessionBegun { user, session, registration: Some(registration) }),
        ("mail.kept_back", Event::MailKeptBack { mail: mail("confirmation") }),
        ("user.reminder_due", Event::UserReminderDue { registration }),
        (
            "user.deletion_scheduled",
            Event::UserDeletionScheduled {
                user,
                deletes_at: DateTime::<Utc>::from_timestamp_micros(1_768_532_645_678_900).unwrap(),
                origin: origin.clone(),
            },
        ),
        ("user.deletion_due", Event::UserDeletionDue { user }),
        ("user.restored", Event::UserRestored { user, origin: far.clone() }),
        ("user.deleted", Event::UserDeleted { user }),
        ("email.change_requested", Event::EmailChangeRequested { change: registration, user, origin: origin.clone() }),
        (
            "email.changed",
            Event::EmailChanged { change: registration, user, by: EmailChange::Confirmed, origin: origin.clone() },
        ),
        (
            "email.changed.undone",
            Event::EmailChanged { change: registration, user, by: EmailChange::Undone, origin: far.clone() },
        ),
        (
            "mail.sent.change",
            Event::MailSent {
                mail: MailFact { registration: None, change: Some(registration), ..mail("email_change") },
            },
        ),
        ("login.new_device", Event::LoginNewDevice { user, session, origin: origin.clone() }),
        ("login.after_failures", Event::LoginAfterFailures { user, session, origin: far.clone() }),
        (
            "login.failed.many",
            Event::LoginFailed {
                user: None,
                attempted: String::new(),
                reason: Refusal::UnknownAddress,
                refusals: 47,
                origin: far,
            },
        ),
    ]
}

/// An id of version 7 that ends in `number`.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_d3a0_7c00_7000_8000_0000_0000_0000 + number)
}

/// The files with the id, the time and the event that each holds.
fn released() -> Vec<(&'static str, Received)> {
    let at = |n: u32| DateTime::<Utc>::from_timestamp_micros(1_767_323_045_678_900 + i64::from(n)).unwrap();
    let numbered = (1_u32..).zip(version_1());
    numbered.map(|(n, (file, event))| (file, Received { id: id(0x100 + u128::from(n)), at: at(n), event })).collect()
}

fn folder() -> PathBuf {
    PathBuf::from("tests/golden/events/v1")
}

fn kept(file: &str) -> String {
    let path = folder().join(format!("{file}.json"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_released_event_is_read_as_what_it_was() {
    for (file, received) in released() {
        assert_eq!(event::decode(received.id, kept(file).as_bytes()), Ok(received), "{file}");
    }
}

#[test]
fn what_is_sent_today_is_what_was_released_under_this_version() {
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
    fs::create_dir_all(&fresh).unwrap();
    let mut changed = Vec::new();
    for (file, Received { id, at, event }) in released() {
        let sent = event.body(id, at);
        fs::write(fresh.join(format!("{file}.json")), sent.clone() + "\n").unwrap();
        let kept = fs::read_to_string(folder().join(format!("{file}.json"))).unwrap_or_default();
        // the order of fields is no promise
        let [sent, kept] = [sent, kept].map(|text| serde_json::from_str::<Value>(&text).unwrap_or_default());
        if sent != kept {
            changed.push(format!("{file} was released as\n{kept}\nand is sent as\n{sent}"));
        }
    }
    assert!(
        changed.is_empty(),
        "{}\nA file that was released stays as it is, and another payload is another version. \
         A new event's file is to be copied from {}",
        changed.join("\n"),
        fresh.display()
    );
}

#[test]
fn every_event_of_the_catalogue_has_a_golden_file_and_no_file_is_forgotten() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap().trim_end_matches(".json").to_owned())
        .collect();
    let released = released();
    let known: BTreeSet<String> = released.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(files, known, "a file for each line of this test, and a line for each file");

    let types = event::TYPES.map(str::to_owned).into();
    assert!(files.is_superset(&types), "without a golden file: {:?}", types.difference(&files));
    for (file, Received { event, .. }) in &released {
        assert!(file.starts_with(event.kind()), "{file} holds {}", event.kind());
    }
    // a word of a closed list is as much of the payload as a field's name
    let reasons: BTreeSet<String> = released
        .iter()
        .filter_map(|(_, received)| match received.event {
            Event::LoginFailed { reason, .. } => Some(reason.as_str().to_owned()),
            _ => None,
        })
        .collect();
    let schema = serde_json::to_value(Refusal::schema()).unwrap();
    let words: BTreeSet<String> = serde_json::from_value(schema["enum"].clone()).unwrap();
    assert_eq!(reasons, words, "a golden file for each reason");
}

on_both_stacks!(
    an_event_of_an_unknown_type_or_version_rests_with_its_reason_and_holds_up_no_other,
    fields_that_a_later_program_added_are_ignored,
);

const TYPE: &str = "a type that this program does not know";
const VERSION: &str = "a version of its type that this program does not know";

async fn an_event_of_an_unknown_type_or_version_rests_with_its_reason_and_holds_up_no_other(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    let user = ann.get("/api/v1/me").await.json()["user"]["id"].as_str().unwrap().parse().unwrap();
    let login = Event::LoginSucceeded { user, session: Uuid::now_v7(), origin: origin() };
    let registered = Event::UserRegistered { registration: Uuid::now_v7(), origin: origin() };
    let newer: &dyn Fn(String) -> String = &|body| body.replace(":1\"", ":2\"");
    let other: &dyn Fn(String) -> String =
        &|body| body.replace("login.succeeded", "login.teleported").replace("user.registered", "user.teleported");

    let mut wanted: BTreeMap<&str, BTreeMap<Uuid, &str>> = BTreeMap::new();
    for (queue, exchange, key, event, change, reason) in [
        ("login-log", EVENTS, "login.succeeded", &login, newer, VERSION),
        // by the name of the queue, which is bound for nothing else
        ("login-log", DEFAULT, "login-log", &login, other, TYPE),
        ("confirmation", EVENTS, "user.registered", &registered, newer, VERSION),
        ("confirmation", DEFAULT, "confirmation", &registered, other, TYPE),
    ] {
        let id = send(&app, exchange, key, |id| change(event.body(id, app.clock().now()))).await;
        wanted.entry(queue).or_default().insert(id, reason);
    }

    // what comes behind them is done
    assert_eq!(app.client().register("ben@example.org", PASSWORD, "Ben").await.status, 303);
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    within("the mail", async || app.mails_to("ben@example.org").await.len() == 1).await;
    let mut rows = Vec::new();
    within("the row", async || {
        let mut log = ann.get("/api/v1/me/activity").await.json();
        rows = std::mem::take(log["items"].as_array_mut().unwrap());
        rows.retain(|row| row["type"] != "user.confirmed");
        !rows.is_empty()
    })
    .await;

    for (queue, wanted) in wanted {
        let resting = dead_letters(&app, queue, wanted.len()).await;
        let resting: BTreeMap<Uuid, &str> = resting.iter().map(|(id, reason)| (*id, reason.as_str())).collect();
        assert_eq!(resting, wanted, "{queue}");
    }
    assert_eq!(rows.len(), 1, "no row of what could not be read: {rows:?}");
}

async fn fields_that_a_later_program_added_are_ignored(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    let user = ann.get("/api/v1/me").await.json()["user"]["id"].as_str().unwrap().parse().unwrap();
    let login = Event::LoginSucceeded { user, session: Uuid::now_v7(), origin: origin() };
    let sent = send(&app, EVENTS, "login.succeeded", |id| {
        let mut body: Value = serde_json::from_str(&login.body(id, app.clock().now())).unwrap();
        body["tenant"] = json!("a");
        body["data"]["device"] = json!({ "colour": "red" });
        body.to_string()
    })
    .await;
    within("the row", async || ann.get("/api/v1/me/activity").await.json()["items"][0]["id"] == json!(sent)).await;
}

fn origin() -> Origin {
    Origin { ip: "192.0.2.7".parse().unwrap(), user_agent: "Reader/1".into() }
}

/// Publishes what another version of this program would.
async fn send(app: &TestApp, exchange: Exchange, key: &str, body: impl Fn(Uuid) -> String) -> Uuid {
    let id = app.clock().new_id();
    let body = body(id);
    let kind = serde_json::from_str::<Value>(&body).unwrap()["type"].as_str().unwrap().to_owned();
    let message = Message { id, kind, body: body.into_bytes(), traceparent: None, attempt: 0, failure: None };
    let publication = Publication { exchange, routing_key: key.to_owned(), message };
    assert_eq!(app.app.broker.publish(vec![publication]).await, [Published::Confirmed]);
    id
}

/// The first dead letters of a queue, with their reasons.
async fn dead_letters(app: &TestApp, queue: &str, count: usize) -> BTreeMap<Uuid, String> {
    let (resting, stop) = (Queue { name: dead(queue), kind: QueueKind::Dead }, CancellationToken::new());
    let prefetch = u16::try_from(count).unwrap();
    let mut deliveries = app.app.broker.consume(&resting, prefetch, stop).await.unwrap();
    let (mut seen, mut unacked) = (BTreeMap::new(), Vec::new());
    while seen.len() < count {
        let next = tokio::time::timeout(std::time::Duration::from_mins(1), deliveries.next()).await;
        let delivery = next.expect("a dead letter in time").expect("a subscription that goes on");
        let Message { id, failure, .. } = delivery.message().clone();
        let failure = failure.expect("a reason");
        assert_eq!(failure.queue, queue);
        seen.insert(id, failure.reason);
        unacked.push(delivery);
    }
    seen
}
