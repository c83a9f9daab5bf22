use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeZone;
use proptest::prelude::*;

use super::*;

const OUR_HEADERS: [&str; 9] = [
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "Content-Language",
    "MIME-Version",
];

fn mail() -> Mail {
    Mail {
        to: "ada@example.org".into(),
        to_name: Some("Ada Lovelace".into()),
        subject: "Confirm your address".into(),
        text: "Hello\nAda".into(),
        html: "<p>Hello Ada</p>".into(),
        message_id: "<0198.confirmation@example.com>".into(),
        language: "en",
    }
}

fn sender() -> Sender {
    Sender::parse("Bellhop <no-reply@example.com>").unwrap()
}

fn now() -> Timestamp {
    chrono::Utc.with_ymd_and_hms(2026, 11, 22, 21, 10, 31).unwrap()
}

/// A second reading of RFC 5322, 2045 and 2047, written apart from the builder: headers in order and decoded parts.
struct Parsed {
    headers: Vec<(String, String)>,
    parts: Vec<(String, String)>,
}

impl Parsed {
    fn new(raw: &[u8]) -> Self {
        let raw = std::str::from_utf8(raw).unwrap();
        assert!(raw.is_ascii(), "the message needs 8BITMIME");
        for line in raw.split("\r\n") {
            assert!(!line.contains(['\r', '\n', '\0']), "bare CR, LF or NUL in {line:?}");
            assert!(line.len() <= 998, "line of {} bytes", line.len());
        }
        let (headers, body) = entity(raw);
        let content_type = &headers.iter().find(|(name, _)| name == "Content-Type").unwrap().1;
        let boundary = content_type.split("boundary=\"").nth(1).unwrap().trim_end_matches('"');
        assert!(content_type.starts_with("multipart/alternative"));
        let mut parts = Vec::new();
        for part in body.split(&format!("--{boundary}")).skip(1) {
            if part.starts_with("--") {
                break;
            }
            let (headers, body) = entity(part.strip_prefix("\r\n").unwrap());
            let get = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap();
            let body = body.strip_suffix("\r\n").unwrap();
            let bytes = match get("Content-Transfer-Encoding").as_str() {
                "7bit" => body.as_bytes().to_vec(),
                "base64" => STANDARD.decode(body.replace("\r\n", "")).unwrap(),
                "quoted-printable" => quoted_printable(body),
                other => panic!("encoding {other}"),
            };
            parts.push((get("Content-Type"), String::from_utf8(bytes).unwrap().replace("\r\n", "\n")));
        }
        Self { headers, parts }
    }

    fn get(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = &found.next().unwrap_or_else(|| panic!("no {name}")).1;
        assert!(found.next().is_none(), "{name} twice");
        value
    }
}

fn entity(raw: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers = unfolded
        .split("\r\n")
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    (headers, body)
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'=' {
            out.push(first);
        } else if let Some(tail) = tail.strip_prefix(b"\r\n") {
            rest = tail;
        } else {
            out.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        }
    }
    out
}

/// Decodes encoded words; white space between two of them is not part of the text.
fn unencoded(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("=?utf-8?b?") {
        if !before.trim().is_empty() {
            out.push_str(before);
        }
        let (word, tail) = after.split_once("?=").unwrap();
        out.push_str(&String::from_utf8(STANDARD.decode(word).unwrap()).unwrap());
        rest = tail;
    }
    out + rest
}

#[test]
fn a_mail_has_exactly_our_headers_and_both_bodies_in_utf_8() {
    let built =
        build(&Mail { subject: "请确认您的地址".into(), text: "你好\n.\nAda".into(), ..mail() }, &sender(), now())
            .unwrap();
    let parsed = Parsed::new(&built.raw);
    assert_eq!(parsed.get("Date"), "Sun, 22 Nov 2026 21:10:31 +0000");
    assert_eq!(parsed.get("From"), "Bellhop <no-reply@example.com>");
    assert_eq!(parsed.get("To"), "\"Ada Lovelace\" <ada@example.org>");
    assert_eq!(unencoded(parsed.get("Subject")), "请确认您的地址");
    assert_eq!(parsed.get("Message-ID"), "<0198.confirmation@example.com>");
    assert_eq!(parsed.get("Auto-Submitted"), "auto-generated");
    assert_eq!(parsed.get("X-Auto-Response-Suppress"), "All");
    assert_eq!(parsed.get("Content-Language"), "en");
    assert_eq!(parsed.parts.len(), 2);
    assert_eq!(parsed.parts[0], ("text/plain; charset=utf-8".into(), "你好\n.\nAda".into()));
    assert_eq!(parsed.parts[1], ("text/html; charset=utf-8".into(), "<p>Hello Ada</p>".into()));
    assert_eq!(built.envelope.to().len(), 1);
}

#[test]
fn a_message_id_is_the_same_with_and_without_brackets() {
    let bare = build(&Mail { message_id: "a.b@c".into(), ..mail() }, &sender(), now()).unwrap();
    let bracketed = build(&Mail { message_id: "<a.b@c>".into(), ..mail() }, &sender(), now()).unwrap();
    assert_eq!(bare.message_id, "<a.b@c>");
    assert_eq!(bracketed.message_id, "<a.b@c>");
}

#[test]
fn a_name_that_would_start_a_header_is_dropped_and_the_mail_still_goes() {
    for name in [
        "Eve\r\nBcc: x@y.z",
        "Eve\nBcc: x@y.z",
        "Eve\rx",
        "E\0ve",
        "bank@evil.example",
        "see https://evil.example",
        "\u{202e}eve",
        " ",
        "",
    ] {
        let built = build(&Mail { to_name: Some(name.into()), ..mail() }, &sender(), now()).unwrap();
        assert_eq!(Parsed::new(&built.raw).get("To"), "ada@example.org", "{name:?}");
    }
}

/// F64.
#[test]
fn a_name_that_begins_with_a_dot_is_quoted() {
    for (name, to) in [
        ("..lead", "\"..lead\" <ada@example.org>"),
        (".", "\".\" <ada@example.org>"),
        ("a\"\\.", "\"a\\\"\\\\.\" <ada@example.org>"),
    ] {
        let built = build(&Mail { to_name: Some(name.into()), ..mail() }, &sender(), now()).unwrap();
        assert_eq!(Parsed::new(&built.raw).get("To"), to);
    }
}

#[test]
fn an_address_message_id_or_language_that_is_none_is_an_error() {
    for to in [
        "",
        "ada",
        "Ada <ada@example.org>",
        "ada@example.org\r\nBcc: x@y.z",
        "a@b.example,c@d.example",
        "ü@example.org",
    ] {
        assert_eq!(
            build(&Mail { to: to.into(), ..mail() }, &sender(), now()).unwrap_err(),
            MailError::Recipient,
            "{to:?}"
        );
    }
    for id in ["", "a", "<a@b", "a@b>\r\nX: y", "a@b@c", "a b@c", "@b"] {
        assert_eq!(
            build(&Mail { message_id: id.into(), ..mail() }, &sender(), now()).unwrap_err(),
            MailError::MessageId,
            "{id:?}"
        );
    }
    assert_eq!(build(&Mail { language: "en\r\nX: y", ..mail() }, &sender(), now()).unwrap_err(), MailError::Language);
    for from in ["", "Bellhop", "Bell\r\nhop <a@b.example>", "ü@b.example"] {
        assert_eq!(Sender::parse(from), Err(MailError::Sender), "{from:?}");
    }
    assert_eq!(Sender::parse("Bellhop <no-reply@localhost>").unwrap().domain(), "localhost");
}

#[test]
fn a_subject_that_looks_encoded_arrives_as_it_was_written() {
    let built = build(&Mail { subject: "=?utf-8?q?=0D=0ABcc:_x?= hi".into(), ..mail() }, &sender(), now()).unwrap();
    assert_eq!(unencoded(Parsed::new(&built.raw).get("Subject")), "=?utf-8?q?=0D=0ABcc:_x?= hi");
}

/// Text of the kind that breaks mail builders, mixed with text of any kind.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        "[a-zA-Z ]{0,40}",
        Just("\r\n".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("\r\n.\r\n".to_owned()),
        Just("\r\nBcc: mallory@example.net\r\n".to_owned()),
        Just("=?utf-8?b?DQo=?=".to_owned()),
        Just("\"\\".to_owned()),
        Just("<mallory@example.net>,".to_owned()),
        Just("x".repeat(1200)),
        Just("字".repeat(300)),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_the_name_subject_and_body_the_mail_has_our_headers_one_recipient_and_the_same_body(
        name in prop::option::of(hostile()), title in hostile(), text in hostile(), html in hostile(),
    ) {
        let mail = Mail { to_name: name, subject: title.clone(), text: text.clone(), html: html.clone(), ..mail() };
        let built = build(&mail, &sender(), now()).unwrap();
        let parsed = Parsed::new(&built.raw);

        let mut names: Vec<&str> = parsed.headers.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(names.pop(), Some("Content-Type"));
        names.sort_unstable();
        let mut ours = OUR_HEADERS.to_vec();
        ours.sort_unstable();
        prop_assert_eq!(names, ours);

        let to: &str = parsed.get("To");
        prop_assert!(to == "ada@example.org" || to.ends_with(" <ada@example.org>"), "{}", to);
        prop_assert_eq!(to.matches('@').count(), 1);
        prop_assert_eq!(built.envelope.to().len(), 1);
        prop_assert_eq!(built.envelope.to()[0].to_string(), "ada@example.org");

        prop_assert_eq!(unencoded(parsed.get("Subject")), printable_subject(&title));
        prop_assert_eq!(&parsed.parts[0].1, &body(&text));
        prop_assert_eq!(&parsed.parts[1].1, &body(&html));
    }

    #[test]
    fn a_body_without_control_characters_is_not_touched(text in "[^\\pC]{0,400}(\n[^\\pC]{0,90}){0,9}") {
        prop_assert_eq!(body(&text), text);
    }

    #[test]
    fn a_name_of_letters_arrives_as_it_was_typed(name in "[\\pL\"\\\\=?.,;:' -]{0,40}[\\pL]") {
        let name = name.trim().to_owned();
        let built = build(&Mail { to_name: Some(name.clone()), ..mail() }, &sender(), now()).unwrap();
        let parsed = Parsed::new(&built.raw);
        let shown = parsed.get("To").strip_suffix(" <ada@example.org>").unwrap().to_owned();
        let shown = match shown.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
            None => unencoded(&shown),
        };
        prop_assert_eq!(shown, name);
    }
}
