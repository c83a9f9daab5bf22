use std::fs;
use std::path::Path;
use std::time::Duration;

use textwrap::core::display_width;

use super::*;
use crate::listeners::mail_layout::{MAX_COLUMNS, RenderedMail};
use crate::locale::Locale;

const LINK: &str =
    "https://desk.example/confirm?token=AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz0123456789";

const SITE: &str = "desk.example";

fn at(day: u32) -> Timestamp {
    format!("2026-11-{day:02}T09:00:00Z").parse().unwrap()
}

fn confirmation(locale: Locale) -> RenderedMail {
    super::confirmation(locale.text(), LINK.to_owned(), Duration::from_hours(24)).signed(SITE).unwrap()
}

fn already_registered(locale: Locale, name: &str) -> RenderedMail {
    super::already_registered(locale.text(), name, LINK.to_owned()).signed(SITE).unwrap()
}

/// Every mail, to somebody of this name.
fn all(name: &str) -> Vec<(Locale, RenderedMail)> {
    let mails = |locale: Locale| {
        let (t, link, hour) = (locale.text(), LINK.to_owned(), Duration::from_hours(1));
        let user_agent = "Firefox/150.0 (X11; Linux)".to_owned();
        let origin = Origin { ip: "2001:db8:85a3::8a2e:370:7334".parse().unwrap(), user_agent };
        let letters = [
            reminder(t, link.clone(), hour, at(7)),
            password_reset(t, name, link.clone(), hour),
            no_account(t, link.clone()),
            password_changed(t, name, at(2), link.clone()),
            email_change(t, link.clone(), hour),
            email_taken(t, link.clone()),
            email_changed(t, name, at(2), link.clone(), at(5)),
            deletion_scheduled(t, name, at(16), link.clone()),
            signed_in(t, name, true, (at(2), &origin), link.clone()),
            signed_in(t, name, false, (at(2), &origin), link),
        ];
        let rendered = letters.map(|letter| letter.signed(SITE).unwrap());
        [confirmation(locale), already_registered(locale, name)]
            .into_iter()
            .chain(rendered)
            .map(move |mail| (locale, mail))
    };
    Locale::ALL.into_iter().flat_map(mails).collect()
}

#[test]
fn every_mail_says_the_same_in_both_parts_and_is_left_to_be_looked_at() {
    for (locale, mail) in all("Ada Lovelace") {
        let folder = Path::new("target/pages").join(locale.tag());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("mail {}.html", mail.subject)), &mail.html).unwrap();
        fs::write(folder.join(format!("mail {}.txt", mail.subject)), &mail.text).unwrap();
        assert!(mail.html.contains(&format!("lang=\"{locale}\"")), "{locale}");
        assert!(mail.html.contains(&format!("href=\"{LINK}\"")), "{locale}");
        assert!(mail.html.contains(&format!(">{LINK}</a>")), "the link stands there to be read, too: {}", mail.html);
        assert!(mail.text.contains("desk.example") && mail.html.contains("desk.example"), "{locale}");
    }
}

#[test]
fn the_link_stands_alone_on_its_line_and_other_lines_are_short() {
    for (locale, mail) in all("Ada Lovelace") {
        assert!(mail.text.lines().any(|line| line == LINK), "{locale}: {}", mail.text);
        for line in mail.text.lines().filter(|line| *line != LINK) {
            assert!(display_width(line) <= MAX_COLUMNS, "{locale}: {line}");
            assert_eq!(line.trim_end(), line);
        }
        assert!(!mail.text.contains("\n\n\n") && mail.text.ends_with('\n'), "{locale}: {:?}", mail.text);
    }
}

#[test]
fn a_subject_is_one_line_and_holds_nothing_a_user_typed() {
    for (locale, mail) in all("Zaphod\r\nBcc: x@example.org") {
        assert!(!mail.subject.contains(['\r', '\n']) && !mail.subject.contains("Zaphod"), "{locale}");
        assert!(!mail.subject.is_empty() && mail.subject.chars().count() <= 60, "{locale}: {}", mail.subject);
    }
}

#[test]
fn a_name_is_escaped_in_html() {
    for (_, mail) in all("<script>alert(1)</script>").into_iter().chain(all("<b>Bo</b>")).chain(all("\"<i>")) {
        assert!(!mail.html.contains("<script") && !mail.html.contains("<b>Bo") && !mail.html.contains("<i>"));
    }
    assert!(already_registered(Locale::En, "<b>").html.contains("Hello &#60;b&#62;,"));
}

#[test]
fn a_name_that_carries_a_message_is_left_out() {
    for name in [
        "",
        "   ",
        "Win at https://evil.example",
        "evil.example",
        "Go to www.evil.example now",
        "call me: 123",
        "me@evil.example",
        "a\nYour account is locked",
        &"long ".repeat(20),
    ] {
        let mail = already_registered(Locale::En, name);
        assert!(mail.text.starts_with("Hello,\n"), "{name:?}: {}", mail.text);
        assert!(!mail.html.contains("evil") && !mail.html.contains("locked"), "{name:?}");
    }
    for name in ["Ada", "J. R. R. Tolkien", "J.R.R. Tolkien", "Anne-Marie O’Neill", "王小明", "Søren 3."] {
        assert!(already_registered(Locale::En, name).text.contains(&format!("Hello {name},")), "{name}");
    }
}

#[test]
fn no_mail_loads_anything() {
    for (locale, mail) in all("Ada") {
        for word in ["src=", "<img", "url(", "<link", "<script", "@import", "background=", "<form", "<iframe"] {
            assert!(!mail.html.contains(word), "{locale}: {word}");
        }
    }
}

#[test]
fn the_notice_of_an_existing_account_holds_no_token() {
    for locale in Locale::ALL {
        let mail = already_registered(locale, "Ada");
        assert!(!mail.text.contains("24"), "{}", mail.text);
        assert_ne!(mail.subject, confirmation(locale).subject);
    }
}
