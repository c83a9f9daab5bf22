use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::messaging::outbox::OutboxEvent as _;

/// One of each type.
pub(super) fn every() -> Vec<Event> {
    let (user, registration, session) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let origin = Origin { ip: "192.0.2.7".parse().unwrap(), user_agent: "Reader/1".into() };
    let mail =
        MailFact { registration, template: "confirmation".into(), message_id: "<1.confirmation@a.example>".into() };
    vec![
        Event::UserRegistered { registration, origin: origin.clone() },
        Event::UserConfirmed { user, registration, session: Some(Uuid::nil()), origin: origin.clone() },
        Event::LoginSucceeded { user, session, origin: origin.clone() },
        Event::LoginFailed { user: None, attempted: "ab".into(), reason: Refusal::UnknownAddress, origin },
        Event::SessionRevoked { user, session },
        Event::MailSent { mail: mail.clone() },
        Event::MailDelayed { mail: mail.clone(), reason: "451 later".into(), refusal: MailRefusal::default() },
        Event::MailRejected { mail, reason: "550 no".into(), refusal: MailRefusal::default() },
    ]
}

#[test]
fn every_event_survives_encoding_and_decoding() {
    let clock = Clock::default();
    for event in every() {
        let (id, at) = (clock.new_id(), clock.now());
        let body = event.body(id, at);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["type"], event.kind(), "{body}");
        assert_eq!(decode(id, body.as_bytes()), Ok(Received { id, at, event }), "{body}");
    }
}

#[test]
fn every_type_is_listed() {
    let kinds: Vec<&str> = every().iter().map(Event::kind).collect();
    assert_eq!(kinds, TYPES);
}

#[test]
fn unknown_fields_are_ignored_and_unknown_types_and_versions_are_not() {
    let clock = Clock::default();
    let (id, at) = (clock.new_id(), clock.now());
    let body = every().remove(0).body(id, at);
    let more = body.replacen('{', r#"{"tenant":"a","#, 1).replace(r#""data":{"#, r#""data":{"colour":"red","#);
    assert!(decode(id, more.as_bytes()).is_ok(), "{more}");
    for (wrong, reason) in [
        (body.replace(":1\"", ":2\""), "a version of its type that this program does not know"),
        (body.replace("user.registered", "user.canary"), "a type that this program does not know"),
        (body.replace("\"1.0\"", "\"2.0\""), "not CloudEvents 1.0"),
        (body.replace("registration", "canary-word"), "not an event"),
        (body[..body.len() - 1].to_owned(), "not an event"),
        (String::new(), "not an event"),
        ("[]".to_owned(), "not an event"),
    ] {
        let error = decode(id, wrong.as_bytes()).expect_err(&wrong).to_string();
        assert!(error.starts_with(reason) && !error.contains("canary"), "{error}");
    }
    assert!(decode(clock.new_id(), body.as_bytes()).is_err(), "another id");
}
