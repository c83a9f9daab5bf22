//! Facts, said for people.

use crate::clock::Timestamp;
use crate::locale::{Locale, Text};

/// How much of an unknown user agent is shown, in characters.
const MAX_AGENT_CHARS: usize = 40;

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
pub fn event(t: Text, event_type: &str, reason: Option<&str>) -> String {
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
        (Some(browser), Some(system)) => t.args("device-on", &[("browser", browser), ("system", system)]),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => {
            let shown: String = user_agent.trim().chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect();
            if shown.is_empty() {
                t.get("device-unknown")
            } else if user_agent.trim().chars().count() > MAX_AGENT_CHARS {
                format!("{shown}…")
            } else {
                shown
            }
        }
    }
}
