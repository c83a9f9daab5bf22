//! Facts, said for people.

use crate::clock::Timestamp;
use crate::locale::{Locale, Text};

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
