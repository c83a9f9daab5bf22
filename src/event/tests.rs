use uuid::Uuid;

use serde_json::{Value, json};

use super::bounds::TEXTS;
use super::*;
use crate::clock::Clock;
use crate::messaging::message::MAX_BODY_BYTES;
use crate::messaging::outbox::OutboxEvent as _;

/// One of each type.
pub(super) fn every() -> Vec<Event> {
    let (user, registration, session) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let origin = Origin { ip: "192.0.2.7".parse().unwrap(), user_agent: "Reader/1".into() };
    let mail = MailFact {
        registration: Some(registration),
        template: "confirmation".into(),
        message_id: "<1.confirmation@a.example>".into(),
        ..MailFact::default()
    };
    let refusal =
        MailRefusal { class: Some("recipient".into()), smtp_code: Some(550), enhanced_code: Some("5.1.1".into()) };
    vec![
        Event::UserRegistered { registration, origin: origin.clone() },
        Event::UserConfirmed { user, registration, session: Some(Uuid::nil()), origin: origin.clone() },
        Event::LoginSucceeded { user, session, origin: origin.clone() },
        Event::LoginFailed {
            user: None,
            attempted: "ab".into(),
            reason: Refusal::UnknownAddress,
            refusals: 1,
            origin: origin.clone(),
        },
        Event::SessionRevoked { user, session },
        Event::MailSent { mail: mail.clone() },
        Event::MailDelayed { mail: mail.clone(), reason: "451 later".into(), refusal: MailRefusal::default() },
        Event::MailRejected { mail: mail.clone(), reason: "550 no".into(), refusal },
        Event::PasswordResetRequested { reset: registration, origin: origin.clone() },
        Event::PasswordChanged { user, by: PasswordChange::Account, session: Some(session), origin: origin.clone() },
        Event::UserUpdated { user },
        Event::ConfirmationRequested { registration, mail: 2, origin: origin.clone() },
        Event::SessionBegun { user, session, registration: Some(registration) },
        Event::MailKeptBack { mail },
        Event::UserReminderDue { registration },
        Event::UserDeletionScheduled { user, deletes_at: Clock::default().now(), origin: origin.clone() },
        Event::UserDeletionDue { user },
        Event::UserRestored { user, origin: origin.clone() },
        Event::UserDeleted { user },
        Event::EmailChangeRequested { change: registration, user, origin: origin.clone() },
        Event::EmailChanged { change: registration, user, by: EmailChange::Confirmed, origin: origin.clone() },
        Event::LoginNewDevice { user, session, origin: origin.clone() },
        Event::LoginAfterFailures { user, session, origin },
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

/// What becomes of an event whose field says something else.
fn with(event: &Event, field: &str, value: &Value) -> Result<Event, String> {
    let clock = Clock::default();
    let (id, at) = (clock.new_id(), clock.now());
    let mut body: Value = serde_json::from_str(&event.body(id, at)).unwrap();
    let part = if body["data"].get(field).is_some() { &mut body["data"] } else { &mut body };
    part[field] = value.clone();
    decode(id, body.to_string().as_bytes()).map(|received| received.event).map_err(|error| error.to_string())
}

/// F68.
#[test]
fn a_text_that_is_longer_than_documented_or_has_other_characters_is_no_event() {
    let mut fields = Vec::new();
    for mut event in every() {
        let texts: Vec<_> = event.texts().into_iter().map(|(bound, _)| bound).collect();
        for bound in texts {
            let (most, wrong) = match bound.alphabet {
                bounds::Alphabet::Hexadecimal => ("f", "g"),
                bounds::Alphabet::NoControl => ("\u{1f6ce}", "\0"),
            };
            let kind = event.kind();
            let whole = with(&event, bound.field, &json!(most.repeat(bound.max_chars)));
            assert!(whole.is_ok(), "{kind} {}: {whole:?}", bound.field);
            for (text, what) in [
                (most.repeat(bound.max_chars + 1), format!("has more than {} characters", bound.max_chars)),
                (wrong.to_owned(), "has characters that it may not have".to_owned()),
            ] {
                let error = with(&event, bound.field, &json!(text)).expect_err(kind);
                assert_eq!(error, format!("not an event: {} {what}", bound.field));
            }
            fields.push(bound.field);
        }
    }
    for bound in TEXTS {
        assert!(fields.contains(&bound.field), "no event has a {}", bound.field);
    }
}

/// F68.
#[test]
fn an_envelope_is_held_to_what_its_document_says() {
    let event = every().into_iter().find(|event| event.kind() == "mail.rejected").unwrap();
    for (field, value, error) in [
        ("source", json!("canary"), "not an event: source is not bellhop"),
        ("datacontenttype", json!("text/canary"), "not an event: datacontenttype is not application/json"),
        ("time", json!("+99999-01-01T00:00:00Z"), "not an event: time is not between 1970 and 9999"),
        ("smtp_code", json!(199), "not an event: smtp_code is not between 200 and 599"),
        ("smtp_code", json!(600), "not an event: smtp_code is not between 200 and 599"),
    ] {
        assert_eq!(with(&event, field, &value).expect_err(field), error, "{value}");
    }
    assert!(with(&event, "colour", &json!("red")).is_ok());
    let larger = with(&event, "colour", &json!("x".repeat(MAX_BODY_BYTES)));
    assert_eq!(larger.expect_err("too large"), "not an event: larger than 65536 bytes");
}

/// F68: an event of ours is never a dead letter for what somebody wrote into a request.
#[test]
fn what_is_written_fits_whatever_it_was_made_of() {
    let clock = Clock::default();
    for mut event in every() {
        event.texts().into_iter().for_each(|(_, text)| *text = "\u{1f6ce}\"\u{7}".repeat(10_000));
        let (id, at) = (clock.new_id(), clock.now());
        let body = event.body(id, at);
        // with room for fields that are added, and for a writer that escapes all it can: twelve bytes a character
        assert!(body.len() * 3 < MAX_BODY_BYTES / 2, "{} has {} bytes", event.kind(), body.len());
        let read = decode(id, body.as_bytes());
        assert!(read.is_ok(), "{read:?}");
    }
}
