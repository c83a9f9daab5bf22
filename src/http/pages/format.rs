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

/// A time of a day that needs no saying, in UTC.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.format("%H:%M UTC").to_string()
}

/// A day as people write it, in UTC.
#[must_use]
pub fn day(t: Text, at: Timestamp) -> String {
    at.format(if t.locale() == Locale::ZhCn { "%Y年%-m月%-d日" } else { "%-d %B %Y" }).to_string()
}

/// What happened, in a few words, from the type of an event in the login log and the reason it carries. A type that has no
/// words is shown as it is, and a reason that has none is left out.
#[must_use]
pub fn event(t: Text, event_type: &str, reason: Option<&str>) -> String {
    match (event_type, reason) {
        ("user.confirmed", _) => t.get("activity-user-confirmed"),
        ("password.changed", _) => t.get("activity-password-changed"),
        ("email.changed", _) => t.get("activity-email-changed"),
        ("user.deletion_scheduled", _) => t.get("activity-deletion-scheduled"),
        ("user.restored", _) => t.get("activity-restored"),
        ("login.succeeded", _) => t.get("activity-login-succeeded"),
        ("login.failed", Some("wrong_password")) => t.get("activity-login-failed-password"),
        ("login.failed", Some("disabled")) => t.get("activity-login-failed-disabled"),
        ("login.failed", _) => t.get("activity-login-failed"),
        (unnamed, _) => unnamed.to_owned(),
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
