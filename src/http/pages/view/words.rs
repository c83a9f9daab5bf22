//! Facts of the log, said for people.

use super::TextPart;
use crate::clock::Timestamp;
use crate::locale::{Locale, Text};

/// How much of an unknown user agent is shown, in characters.
const MOST_OF_AN_AGENT: usize = 40;

/// A moment as people write it, to the minute, in UTC.
#[must_use]
pub fn moment(t: Text, at: Timestamp) -> String {
    format!("{} UTC", at.format(if t.locale() == Locale::ZhCn { "%Y年%-m月%-d日 %H:%M" } else { "%-d %b %Y, %H:%M" }))
}

/// A day as people write it, in UTC.
#[must_use]
pub fn day(t: Text, at: Timestamp) -> String {
    at.format(if t.locale() == Locale::ZhCn { "%Y年%-m月%-d日" } else { "%-d %B %Y" }).to_string()
}

/// What happened, in a few words, from the type of an event and the reason it carries. A type that has no words is
/// shown as it is.
#[must_use]
pub fn activity_words(t: Text, event_type: &str, reason: Option<&str>) -> String {
    match event_type {
        "user.registered" => t.get("activity-user-registered"),
        "user.confirmed" => t.get("activity-user-confirmed"),
        "user.updated" => t.get("activity-user-updated"),
        "user.deletion_scheduled" => t.get("activity-user-deletion-scheduled"),
        "user.deleted" => t.get("activity-user-deleted"),
        "login.succeeded" => t.get("activity-login-succeeded"),
        "login.failed" => refusal(t, reason.unwrap_or_default()),
        "login.new_device" => t.get("activity-login-new-device"),
        "session.revoked" => t.get("activity-session-revoked"),
        "password.changed" => t.get("activity-password-changed"),
        "password.reset_requested" => t.get("activity-password-reset-requested"),
        "email.change_requested" => t.get("activity-email-change-requested"),
        "email.changed" => t.get("activity-email-changed"),
        "mail.sent" => t.get("activity-mail-sent"),
        "mail.delayed" => t.get("activity-mail-delayed"),
        "mail.rejected" => t.get("activity-mail-rejected"),
        unnamed => unnamed.to_owned(),
    }
}

/// Why a sign-in was refused; a reason without words is left out.
fn refusal(t: Text, reason: &str) -> String {
    match reason {
        "wrong_password" | "bad_password" | "password" => t.get("activity-login-failed-password"),
        "throttled" | "rate_limited" | "locked" => t.get("activity-login-failed-throttled"),
        "unconfirmed" => t.get("activity-login-failed-unconfirmed"),
        "disabled" => t.get("activity-login-failed-disabled"),
        _ => t.get("activity-login-failed"),
    }
}

/// Marks of browsers in a user agent, and their names. The order matters: most browsers also claim to be those below.
const BROWSERS: [(&str, &str); 13] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("MicroMessenger/", "WeChat"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Marks of systems, likewise: Android says Linux too, an iPhone says Mac OS X too.
const SYSTEMS: [(&str, &str); 9] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("HarmonyOS", "HarmonyOS"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
    ("BSD", "BSD"),
];

/// A user agent in a few words ("Chrome on Linux"). One that names no browser of ours is shown itself, shortened, for a
/// program's own name says more than a guess; without one, "unknown device".
#[must_use]
pub fn device(t: Text, user_agent: &str) -> String {
    let named = |marks: &[(&'static str, &'static str)]| {
        marks.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    match (named(&BROWSERS), named(&SYSTEMS)) {
        (Some(browser), Some(system)) => t.with2("device-on", "browser", browser, "system", system),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => {
            let shown: String = user_agent.trim().chars().filter(|c| !c.is_control()).take(MOST_OF_AN_AGENT).collect();
            if shown.is_empty() {
                t.get("device-unknown")
            } else if user_agent.trim().chars().count() > MOST_OF_AN_AGENT {
                format!("{shown}…")
            } else {
                shown
            }
        }
    }
}

/// Cuts a plain text into words and links: whatever starts with `http://` or `https://` leads there, up to the next
/// blank and without the full stop or bracket after it. No other scheme becomes a link.
#[must_use]
pub fn text_parts(text: &str) -> Vec<TextPart> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = ["https://", "http://"].iter().filter_map(|scheme| rest.find(scheme)).min() {
        let (before, from_link) = rest.split_at(at);
        let end =
            from_link.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')).unwrap_or(from_link.len());
        let link = from_link.get(..end).unwrap_or(from_link).trim_end_matches(['.', ',', ';', ')', '。', '，', '）']);
        plain.push_str(before);
        rest = from_link.get(link.len()..).unwrap_or_default();
        if !plain.is_empty() {
            parts.push(TextPart { text: std::mem::take(&mut plain), href: None });
        }
        parts.push(TextPart { text: link.to_owned(), href: Some(link.to_owned()) });
    }
    if !rest.is_empty() {
        parts.push(TextPart { text: rest.to_owned(), href: None });
    }
    parts
}
