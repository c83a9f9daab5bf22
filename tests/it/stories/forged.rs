//! Messages that are no events of ours, from somebody who may publish to the broker.

use bellhop::messaging::broker::{Publication, Published};
use bellhop::messaging::message::{MAX_BODY_BYTES, Message};
use bellhop::messaging::operator::DeadLetterFilter;
use bellhop::messaging::topology::EVENTS;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::{PASSWORD, TestApp, on_both_stacks, within};

on_both_stacks!(a_forged_login_with_more_than_an_event_holds_is_a_dead_letter_and_no_row);

/// A `login.failed` that is right but for its user agent.
fn forged(user: Uuid, agent: &str) -> Message {
    let id = Uuid::now_v7();
    let body = json!({
        "specversion": "1.0",
        "id": id,
        "source": "bellhop",
        "time": "2026-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:bellhop:login.failed:1",
        "type": "login.failed",
        "data": { "user": user, "attempted": "ab", "reason": "wrong_password", "ip": "192.0.2.7", "user_agent": agent },
    });
    let body = body.to_string().into_bytes();
    Message { id, kind: "login.failed".into(), body, traceparent: None, attempt: 0, failure: None }
}

/// F68: one of 3 MB was stored, and the page of who it named was 3 MB from then on.
async fn a_forged_login_with_more_than_an_event_holds_is_a_dead_letter_and_no_row(app: TestApp) {
    let ann = app.signed_in_client("ann@example.org").await;
    app.settle().await;
    let (user,): (Uuid,) = app.db().query("select id from users").one().await.unwrap();
    let publish = async |message: Message| {
        let publication = Publication { exchange: EVENTS, routing_key: message.kind.clone(), message };
        assert_eq!(app.app.broker.publish(vec![publication]).await, [Published::Confirmed]);
    };
    let wrong = [
        (forged(user, &"forged ".repeat(3 << 20)[..3 << 20]), "larger than an event can be: 3146"),
        (forged(user, &"f".repeat(MAX_BODY_BYTES)), "larger than an event can be: 65"),
        (forged(user, &"f".repeat(513)), "not an event: user_agent has more than 512 characters"),
        (forged(user, "forged\0"), "not an event: user_agent has characters that it may not have"),
    ];
    for (message, _) in &wrong {
        publish(message.clone()).await;
    }
    // those behind them go on, and what fits is taken
    let fits = forged(user, &"g".repeat(512));
    publish(fits.clone()).await;
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
    app.settle().await;

    let operator = app.app.operator();
    within("them to be dead letters", async || {
        let depths = app.app.depths().await.unwrap();
        depths.iter().any(|depth| depth.queue == "login-log.dead" && depth.messages == 4)
    })
    .await;
    let letters = operator.dead_letters(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!(letters.len(), wrong.len());
    for (message, reason) in &wrong {
        let letter = letters.iter().find(|letter| letter.message.id == message.id).expect("a dead letter of its id");
        let said = &letter.message.failure.as_ref().unwrap().reason;
        assert!(said.starts_with(reason), "{said}");
        assert_eq!((letter.message.kind.as_str(), letter.message.body.len()), ("login.failed", 0), "a head");
    }
    // asked for by its id it is whole, unless it was larger than any event
    for (at, bytes) in [(0, 0), (2, wrong[2].0.body.len())] {
        let one = DeadLetterFilter { id: Some(wrong[at].0.id), ..DeadLetterFilter::default() };
        assert_eq!(operator.dead_letters(&one).await.unwrap()[0].message.body.len(), bytes);
    }
    let rows: Vec<(Uuid, String)> = app.db().query("select id, user_agent from login_log").all().await.unwrap();
    assert!(rows.contains(&(fits.id, "g".repeat(512))), "{rows:?}");
    assert!(!rows.iter().any(|(_, agent)| agent.starts_with('f')), "{rows:?}");
    let activity = ann.get("/api/v1/me/activity").await;
    assert!(activity.body.len() < 8_192, "{} bytes", activity.body.len());
    let items = activity.json();
    let kinds: Vec<&Value> = items["items"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "login.failed").count(), 1, "{kinds:?}");
    // the two whose body was not kept stay as they are; the others come back to be refused for what they say
    let refused = operator.redrive(&DeadLetterFilter::default()).await.unwrap_err().to_string();
    assert!(refused.contains("can only be discarded"), "{refused}");
    app.settle().await;
    within("the others to be dead letters again", async || {
        operator.dead_letters(&DeadLetterFilter::default()).await.unwrap().len() == wrong.len()
    })
    .await;
    for letter in operator.dead_letters(&DeadLetterFilter::default()).await.unwrap() {
        let (_, reason) = wrong.iter().find(|(message, _)| message.id == letter.message.id).unwrap();
        let said = letter.message.failure.unwrap().reason;
        assert!(said.starts_with(reason), "{said}");
    }
    operator.discard(&DeadLetterFilter::default()).await.unwrap();
}
