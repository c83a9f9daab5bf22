use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use askama::Template as _;

use super::account::AccountPage;
use super::account_events::Live;
use super::activity::ActivityRow;
use super::api_index::{ApiIndexPage, ApiRow};
use super::confirm::ConfirmPage;
use super::delivery::{Delivery, Words};
use super::format::{day, event, moment};
use super::home::HomePage;
use super::layout::Page;
use super::login::LoginPage;
use super::mail::{MailPage, text_parts};
use super::mailbox::{MailRow, MailboxPage};
use super::problem::ProblemPage;
use super::register::RegisterPage;
use super::register_sent::RegisterSentPage;
use crate::account::confirm::ConfirmStep;
use crate::account::delivery::{Delivery as Progress, DeliveryStatus};
use crate::clock::Timestamp;
use crate::device::words;
use crate::http::extract::form::FormState;
use crate::http::redirect::Target;
use crate::locale::{Locale, Text};

mod changes;
mod recovery;

/// How far a mail may have come, and the name of that.
fn deliveries() -> Vec<(String, Option<Progress>)> {
    let delayed = [("unreachable", Some(at(15))), ("busy", Some(at(15))), ("policy", None)];
    let progress = |status, trouble: Option<&str>, next_try| Progress {
        status,
        at: at(5),
        trouble: trouble.map(str::to_owned),
        next_try,
    };
    let plain = [DeliveryStatus::Queued, DeliveryStatus::Sent, DeliveryStatus::Rejected];
    let plain = plain.map(|status| (status.as_str().to_owned(), Some(progress(status, None, None))));
    let delayed = delayed.map(|(trouble, next)| {
        (format!("delayed-{trouble}"), Some(progress(DeliveryStatus::Delayed, Some(trouble), next)))
    });
    [("unknown".to_owned(), None)].into_iter().chain(plain).chain(delayed).collect()
}

const ATTACK: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";

fn frame(locale: Locale, path: &'static str, signed_in: bool) -> Page {
    let signed_in = signed_in.then(|| "Ada Lovelace".to_owned());
    Page { signed_in, here: Target::parse("/login?next=%2Faccount"), demo_mailbox: true, ..Page::new(locale, path) }
}

/// A minute after nine on a day in November.
fn at(minute: u32) -> Timestamp {
    "2026-11-02T09:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(60 * u64::from(minute))
}

fn activity(t: Text, said: &str) -> Vec<ActivityRow> {
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Version/19.1 Mobile Safari/604.1",
        "curl/8.14.1",
    ];
    let row = |event, reason, ok: bool, agent: usize, minute| ActivityRow {
        what: super::format::event(t, event, reason),
        ok,
        at: moment(t, at(minute)),
        at_iso: at(minute).to_rfc3339(),
        ip: if ok { "203.0.113.7".to_owned() } else { "2001:db8:85a3::8a2e:370:7334".to_owned() },
        agent: words(t, agents[agent]),
        detail: (!said.is_empty()).then(|| said.to_owned()),
        session: ok.then(uuid::Uuid::nil),
    };
    vec![
        row("login.succeeded", None, true, 0, 41),
        row("login.failed", Some("wrong_password"), false, 2, 40),
        row("login.failed", Some("disabled"), false, 1, 22),
        row("user.confirmed", None, true, 1, 21),
    ]
}

/// Every page in every state, with `said` in each field that a person or a stranger fills.
#[expect(clippy::too_many_lines, reason = "a table")]
fn gallery(locale: Locale, said: &str) -> BTreeMap<String, String> {
    let t = locale.text();
    let some = |usual: &str| if said.is_empty() { usual.to_owned() } else { said.to_owned() };
    let mut pages = BTreeMap::new();
    let mut hang = |name: &str, html: askama::Result<String>| {
        assert!(pages.insert(name.to_owned(), html.unwrap()).is_none());
    };

    hang("home", HomePage { page: frame(locale, "/", false) }.render());
    let known = Page { signed_in: Some(some("Ada Lovelace")), ..frame(locale, "/", true) };
    hang("home-signed-in", HomePage { page: known }.render());

    let register = |form| RegisterPage {
        page: frame(locale, "/register", false),
        form,
        once: "0".repeat(43),
        next: Some(Target::parse("/account")),
    };
    let typed = || FormState::of([("email", some("ada@example.org")), ("name", some("Ada Lovelace"))]);
    hang("register", register(typed()).render());
    let mistakes = typed()
        .with_error(some(&t.get("mistake-form")))
        .with_field_error("email", some(&t.get("mistake-email-invalid")))
        .with_field_error("password", some(&t.get("mistake-password-short")))
        .with_field_error("name", some(&t.get("mistake-name-missing")));
    hang("register-mistakes", register(mistakes).render());

    let words = Words { t, mail_server: true, mailbox: true };
    let unchanged = || FormState::of([("email", some("ada@example.org"))]);
    let wrong = unchanged().with_field_error("email", some(&t.get("mistake-email-invalid")));
    for (name, progress) in deliveries() {
        let mail = progress.as_ref().map(|_| (some("ada@example.org"), 1));
        let needed = (name == "rejected").then(unchanged);
        let asked = (name == "sent").then(unchanged);
        let delivery = Delivery { words, url: "/register/status", events: "/register/sent/events", progress };
        let sent = |correction| {
            let (page, mail, delivery) = (frame(locale, "/register/sent", false), mail.clone(), delivery.clone());
            RegisterSentPage { page, mail, delivery, correction }.render()
        };
        hang(&format!("sent-{name}"), sent(needed));
        if asked.is_some() {
            hang("sent-correct", sent(asked));
            hang("sent-correct-mistake", sent(Some(wrong.clone())));
        }
    }

    recovery::gallery(locale, said, &mut hang);
    changes::gallery(locale, said, &mut hang);

    let confirm = || FormState::of([("token", some("v1.AbCdEf"))]);
    let wrong = confirm().with_field_error("password", some(&t.get("confirm-password-wrong")));
    for (name, step, form) in [
        ("confirm", ConfirmStep::Button, confirm()),
        ("confirm-again", ConfirmStep::Button, confirm().with_error(some(&t.get("mistake-form")))),
        ("confirm-password", ConfirmStep::Password, confirm()),
        ("confirm-password-wrong", ConfirmStep::Password, wrong),
        ("confirm-done", ConfirmStep::Confirmed, confirm()),
        ("confirm-invalid", ConfirmStep::Invalid, confirm()),
    ] {
        hang(name, ConfirmPage { page: frame(locale, "/confirm", false), step, next: None, form }.render());
    }
    let page = Page { signed_in: Some(some("Ada Lovelace")), ..frame(locale, "/confirm", true) };
    let (step, form) = (ConfirmStep::Confirmed, confirm());
    hang("confirm-done-signed-in", ConfirmPage { page, step, next: None, form }.render());

    let login = || FormState::of([("email", some("ada@example.org"))]);
    let kept = FormState::of([("email", some("ada@example.org")), ("keep", some("on"))]);
    let refused = kept.with_error(some(&t.get("login-refused")));
    let wait = t.wait(std::time::Duration::from_secs(850));
    let often = login().with_error(some(&t.args("login-too-often", &[("wait", &wait)])));
    hang("login-too-often", LoginPage { page: frame(locale, "/login", false), form: often, next: None }.render());
    for (name, next, form) in [("login", None, login()), ("login-refused", Some(Target::parse("/account")), refused)] {
        hang(name, LoginPage { page: frame(locale, "/login", false), form, next }.render());
    }

    let account = AccountPage {
        page: frame(locale, "/account", true),
        name: some("Ada Lovelace"),
        email: some("ada@example.org"),
        since: day(t, at(0)),
        deletes: None,
        activity: activity(t, said),
        live: Live::since(at(41)),
        language: locale,
    };
    hang("account", account.render());
    let page = frame(locale, "/account", true);
    let deletes = Some(moment(t, at(20)));
    hang("account-deleted-soon", AccountPage { page, deletes, activity: activity(t, said), ..account }.render());

    let mail = MailRow {
        id: "0193a2b4".to_owned(),
        to: some("ada@example.org"),
        subject: some(&t.get("mail-confirmation-subject")),
        at: moment(t, at(20)),
    };
    let page = frame(locale, "/mailbox", false);
    hang("mailbox-empty", MailboxPage { page: page.clone(), mails: Vec::new() }.render());
    hang("mailbox", MailboxPage { page: page.clone(), mails: vec![mail.clone(), mail.clone()] }.render());
    let text =
        format!("{}\n\nhttps://desk.example/confirm?token=v1.AbCdEf\n\nBellhop {said}", t.get("mail-greeting-plain"));
    let letter = MailPage { page, to: mail.to, subject: mail.subject, at: mail.at, text_parts: text_parts(&text) };
    hang("mail", letter.render());

    for status in ProblemPage::STATUSES {
        hang(&format!("problem-{status}"), ProblemPage::new(frame(locale, "", false), status, None).render());
    }

    let operations = [("POST", "/api/v1/register"), ("GET", "/api/v1/me"), ("DELETE", "/api/v1/me/sessions/{id}")]
        .map(|(method, path)| ApiRow {
            method,
            path: path.to_owned(),
            summary: some("Registers an address; the confirmation follows by mail."),
        })
        .into();
    hang("api", ApiIndexPage { page: frame(locale, "/api", false), operations }.render());
    pages
}

/// Every page in both languages.
fn galleries(said: &str) -> Vec<(String, Locale, String)> {
    let walls = Locale::ALL.map(|locale| (locale, gallery(locale, said)));
    walls
        .into_iter()
        .flat_map(|(locale, wall)| wall.into_iter().map(move |(name, html)| (name, locale, html)))
        .collect()
}

/// The start tags of a page: name and the text up to the closing bracket.
fn start_tags(html: &str) -> Vec<(&str, &str)> {
    html.split('<')
        .skip(1)
        .filter(|tag| tag.starts_with(|first: char| first.is_ascii_alphabetic()))
        .map(|tag| {
            let tag = tag.split('>').next().unwrap();
            tag.split_once(|c: char| c.is_whitespace()).unwrap_or((tag, ""))
        })
        .collect()
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    format!(" {attributes}")
        .find(&format!(" {name}=\""))
        .and_then(|at| attributes[at + name.len() + 2..].split('"').next())
}

#[test]
fn every_page_renders_in_both_languages_and_is_left_to_be_looked_at() {
    for (name, locale, html) in galleries("") {
        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert!(html.contains(&format!("<html lang=\"{locale}\">")), "{name} in {locale}");
        assert_eq!(html.matches("<h1").count(), 1, "{name} in {locale} has one heading of the first rank");
        assert!(!html.contains("{{") && !html.contains("{%") && !html.contains("{ $"), "{name} in {locale}");
        let folder = Path::new("target/pages").join(locale.tag());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.html")), html).unwrap();
    }
}

#[test]
fn the_two_languages_of_a_page_differ_in_words_only() {
    let (english, chinese) = (gallery(Locale::En, ""), gallery(Locale::ZhCn, ""));
    for (name, html) in &english {
        let tags = |html: &str| start_tags(html).into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(tags(html), tags(&chinese[name]), "{name}");
        assert_ne!(html, &chinese[name]);
    }
}

#[test]
fn nothing_a_stranger_typed_becomes_markup() {
    for (name, locale, html) in galleries(ATTACK) {
        assert!(!html.contains("<script>") && !html.contains("<img"), "{name} in {locale}");
        let known = galleries("").into_iter().find(|(other, l, _)| *other == name && *l == locale).unwrap().2;
        let names = |html: &str| {
            let mut names: Vec<String> = start_tags(html).into_iter().map(|(tag, _)| tag.to_owned()).collect();
            // a remark under an entry of the log is only there when there is something to remark
            names.retain(|tag| tag != "small");
            names
        };
        assert_eq!(names(&html), names(&known), "{name} in {locale}");
    }
}

#[test]
fn no_page_needs_anything_the_content_security_policy_forbids() {
    for (name, locale, html) in galleries(ATTACK) {
        for (tag, attributes) in start_tags(&html) {
            assert!(!matches!(tag, "style" | "iframe" | "object" | "embed" | "base" | "img"), "{name}: <{tag}>");
            assert!(tag != "script" || attributes.contains("src=\"/static/"), "{name}: inline script");
            for word in format!(" {attributes}").split('"').step_by(2).flat_map(str::split_whitespace) {
                let attribute = word.trim_end_matches('=').to_ascii_lowercase();
                assert!(
                    attribute != "style" && !attribute.starts_with("on"),
                    "{name} in {locale}: {tag} has {attribute}"
                );
            }
            for link in ["src", "href", "action"].iter().filter_map(|link| attribute(attributes, link)) {
                let inside = (link.starts_with('/') && !link.starts_with("//")) || link.starts_with('#');
                let in_a_mail = name == "mail" && link.starts_with("https://desk.example/");
                assert!(inside || in_a_mail, "{name} in {locale}: {link}");
            }
        }
        assert!(html.contains(&crate::links::asset("style.css")), "{name}");
    }
}

#[test]
fn every_field_has_a_label_and_every_reference_a_target() {
    for (name, locale, html) in galleries("") {
        for (tag, attributes) in start_tags(&html) {
            if tag == "input" && attribute(attributes, "type") != Some("hidden") {
                let id = attribute(attributes, "id").unwrap_or_else(|| panic!("{name}: an input without id"));
                assert_eq!(html.matches(&format!("<label for=\"{id}\"")).count(), 1, "{name} in {locale}: {id}");
                let is_typed = attribute(attributes, "type") != Some("checkbox");
                assert_eq!(attribute(attributes, "autocomplete").is_some(), is_typed, "{name}: {id}");
                assert!(!attributes.contains("maxlength"), "{name}: a browser would cut {id} in silence");
            }
            for reference in ["aria-describedby", "aria-labelledby", "aria-controls"] {
                for id in attribute(attributes, reference).into_iter().flat_map(str::split_whitespace) {
                    assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{name} in {locale}: {id}");
                }
            }
            if let Some(id) = attribute(attributes, "href").and_then(|href| href.strip_prefix('#')) {
                assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{name} in {locale}: {id}");
            }
        }
    }
}

#[test]
fn password_managers_find_their_fields() {
    let pages = gallery(Locale::En, "");
    let fields = |page: &str| -> Vec<(String, String)> {
        let inputs = start_tags(&pages[page]).into_iter().filter(|(tag, _)| *tag == "input");
        inputs.filter_map(|(_, a)| Some((attribute(a, "name")?.into(), attribute(a, "autocomplete")?.into()))).collect()
    };
    let pair = |name: &str, autocomplete: &str| (name.to_owned(), autocomplete.to_owned());
    assert_eq!(fields("register"), [pair("name", "name"), pair("email", "username"), pair("password", "new-password")]);
    assert_eq!(fields("login"), [pair("email", "username"), pair("password", "current-password")]);
    assert_eq!(fields("confirm-password"), [pair("password", "current-password")]);
    assert!(fields("confirm").is_empty());
    assert_eq!(fields("reset").last(), Some(&pair("password", "new-password")));
    assert_eq!(fields("password"), [pair("current_password", "current-password"), pair("password", "new-password")]);
    assert!(pages["password"].contains("autocomplete=\"username\""), "a manager knows whose password it is");
    assert_eq!(fields("forgot").last(), Some(&pair("email", "username")));
}

#[test]
fn mistakes_stand_beside_their_fields_and_a_password_is_never_sent_back() {
    let html = &gallery(Locale::En, "")["register-mistakes"];
    for field in ["name", "email", "password"] {
        let (_, input) = start_tags(html)
            .into_iter()
            .find(|(tag, attributes)| *tag == "input" && attribute(attributes, "id") == Some(field))
            .unwrap();
        assert_eq!(attribute(input, "aria-invalid"), Some("true"), "{field}");
        assert!(attribute(input, "aria-describedby").unwrap().contains(&format!("{field}-mistake")), "{field}");
        assert!(html.contains(&format!("<a href=\"#{field}\">")), "{field}");
        assert_eq!(attribute(input, "value").is_some(), field != "password", "{field}");
    }
    assert!(html.contains("role=\"alert\"") && html.contains("<title>Please correct: "));
    assert!(!gallery(Locale::En, "")["register"].contains("aria-invalid"));
}

#[test]
fn a_page_refreshes_itself_without_script_only_while_its_mail_moves() {
    let pages = gallery(Locale::En, "");
    for (status, moves) in [
        ("queued", true),
        ("sent", true),
        ("delayed-busy", true),
        ("rejected", false),
        ("unknown", false),
        // somebody is typing
        ("correct", false),
    ] {
        let html = &pages[&format!("sent-{status}")];
        assert_eq!(
            html.contains("<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>"),
            moves,
            "{status}"
        );
        let word = if status == "correct" { "sent" } else { status.split('-').next().unwrap() };
        assert!(html.contains(&format!("data-delivery=\"{word}\"")), "{status}");
    }
}

#[test]
fn a_link_that_opens_nothing_offers_no_form() {
    assert!(!gallery(Locale::En, "")["confirm-invalid"].contains("action=\"/confirm\""));
}

#[test]
fn a_status_without_words_takes_those_of_its_class() {
    for (status, like) in [(418, 400), (502, 500)] {
        let (odd, plain) = (
            ProblemPage::new(Page::new(Locale::En, ""), status, None),
            ProblemPage::new(Page::new(Locale::En, ""), like, None),
        );
        assert_eq!((odd.status, &odd.title), (status, &plain.title));
        assert!(!odd.title.starts_with("problem-"));
    }
}

#[test]
fn text_keeps_its_contrast_in_both_lights() {
    let style = fs::read_to_string("static/style.css").unwrap();
    let (light, dark) = style.split_once("@media (prefers-color-scheme: dark)").unwrap();
    let dark = dark.split("\n}\n").next().unwrap();
    let channel = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = |block: &str, name: &str| {
        let hex = block.split(&format!("--{name}: #")).nth(1).unwrap_or_else(|| panic!("--{name}")).get(..6).unwrap();
        let part = |at: usize| channel(u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    };
    // WCAG 2.2: 1.4.3 for text, 1.4.11 for the edges of fields and the focus ring
    let text = ["ink", "ink-soft", "accent", "brass-ink", "good", "bad"];
    let mut pairs: Vec<(&str, &str, f64)> =
        text.iter().flat_map(|ink| ["ground", "paper", "field"].map(|ground| (*ink, ground, 4.5))).collect();
    pairs.extend([("on-accent", "accent", 4.5), ("on-accent", "accent-hover", 4.5), ("ink", "bad-ground", 4.5)]);
    pairs.extend([("bad", "bad-ground", 4.5), ("line-strong", "paper", 3.0), ("line-strong", "field", 3.0)]);
    pairs.extend([("focus", "ground", 3.0), ("focus", "paper", 3.0)]);
    for (light_name, block) in [("light", light), ("dark", dark)] {
        for (front, back, least) in &pairs {
            let (a, b) = (luminance(block, front), luminance(block, back));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= *least, "{light_name}: {front} on {back} is {contrast:.2}");
        }
    }
}

#[test]
fn an_event_without_words_is_shown_as_it_is() {
    let t = Locale::En.text();
    assert_eq!(event(t, "user.promoted", None), "user.promoted");
    assert_eq!(event(t, "login.failed", Some("wrong_password")), "Sign-in refused: wrong password");
    assert_eq!(event(t, "login.failed", Some("something new")), "Sign-in refused");
}

#[test]
fn only_web_addresses_in_a_text_become_links() {
    let links = |text: &str| text_parts(text).into_iter().filter_map(|part| part.href).collect::<Vec<_>>();
    assert_eq!(
        links("See (https://a.example/x?y=1), then http://b.example."),
        ["https://a.example/x?y=1", "http://b.example"]
    );
    assert_eq!(links("打开 https://a.example/x。"), ["https://a.example/x"]);
    assert!(links("javascript:alert(1) data:text/html,x ftp://a.example").is_empty());
    for text in ["", "no link", "https://", "a\nhttps://x.example/\nb", "https://https://x", "é https://é.example é"]
    {
        assert_eq!(text_parts(text).into_iter().map(|part| part.text).collect::<String>(), text);
    }
}

#[test]
fn a_moment_is_written_as_its_readers_write_it() {
    let (english, chinese) = (Locale::En.text(), Locale::ZhCn.text());
    assert_eq!(
        (moment(english, at(5)), day(english, at(5))),
        ("2 Nov 2026, 09:05 UTC".into(), "2 November 2026".into())
    );
    assert_eq!(
        (moment(chinese, at(5)), day(chinese, at(5))),
        ("2026年11月2日 09:05 UTC".into(), "2026年11月2日".into())
    );
}
