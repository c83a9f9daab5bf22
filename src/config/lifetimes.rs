//! How long things last: links, sessions, and what waits for a person to do something.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::{Readable, Values};

pub(super) const SECTION: Section = Section {
    title: "Lifetimes (90s, 15m, 24h, 7d)",
    settings: &[
        Setting::new("CONFIRM_LIFETIME", Fallback::Value("24h"), "how long the link that confirms an address works"),
        Setting::new("RESET_LIFETIME", Fallback::Value("30m"), "how long the link that sets a new password works"),
        Setting::new(
            "EMAIL_UNDO",
            Fallback::Value("3d"),
            "how long the former address can undo that an account moved to another",
        ),
        Setting::new(
            "REMINDER_AFTER",
            Fallback::Value("24h"),
            "when somebody who has not confirmed is reminded, once; after the first mail was sent",
        ),
        Setting::new("PURGE_AFTER", Fallback::Value("7d"), "when a registration that nobody confirmed is deleted"),
        Setting::new(
            "DELETION_GRACE",
            Fallback::Value("14d"),
            "how long the deletion of an account can be called off before it happens",
        ),
        Setting::new(
            "SESSION_IDLE",
            Fallback::Value("12h"),
            "when a session that nobody uses ends, unless it is kept on its device",
        ),
        Setting::new("SESSION_LIFETIME", Fallback::Value("30d"), "when a session ends in any case"),
        Setting::new(
            "FRESH_FOR",
            Fallback::Value("10m"),
            "how long a password counts as just shown; what needs one asks again after that",
        ),
        Setting::new("LOG_RETENTION", Fallback::Value("400d"), "when a row of the login log is deleted"),
    ],
};

/// Nothing of ours has a use for less …
const SHORTEST: Duration = Duration::from_secs(1);
/// … or for more.
const LONGEST: Duration = Duration::from_hours(3_660 * 24);

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifetimeConfig {
    /// `BELLHOP_CONFIRM_LIFETIME`, from when the mail is sent.
    pub confirm: Duration,
    /// `BELLHOP_RESET_LIFETIME`, likewise.
    pub reset: Duration,
    /// `BELLHOP_EMAIL_UNDO`, from the change.
    pub email_undo: Duration,
    /// `BELLHOP_REMINDER_AFTER`
    pub reminder_after: Duration,
    /// `BELLHOP_PURGE_AFTER`
    pub purge_after: Duration,
    /// `BELLHOP_DELETION_GRACE`
    pub deletion_grace: Duration,
    /// `BELLHOP_SESSION_IDLE` (OWASP ASVS 7.3.1)
    pub session_idle: Duration,
    /// `BELLHOP_SESSION_LIFETIME` (OWASP ASVS 7.3.2)
    pub session: Duration,
    /// `BELLHOP_FRESH_FOR`
    pub fresh_for: Duration,
    /// `BELLHOP_LOG_RETENTION`
    pub log_retention: Duration,
}

impl LifetimeConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        let mut take = |name| Ok(values.take_in::<Span>(name, Span(SHORTEST)..=Span(LONGEST), "")?.0);
        let lifetimes = LifetimeConfig {
            confirm: take("CONFIRM_LIFETIME")?,
            reset: take("RESET_LIFETIME")?,
            email_undo: take("EMAIL_UNDO")?,
            reminder_after: take("REMINDER_AFTER")?,
            purge_after: take("PURGE_AFTER")?,
            deletion_grace: take("DELETION_GRACE")?,
            session_idle: take("SESSION_IDLE")?,
            session: take("SESSION_LIFETIME")?,
            fresh_for: take("FRESH_FOR")?,
            log_retention: take("LOG_RETENTION")?,
        };
        if lifetimes.reminder_after >= lifetimes.purge_after {
            return Err(ConfigError::value("REMINDER_AFTER", "is not shorter than BELLHOP_PURGE_AFTER"));
        }
        Ok(lifetimes)
    }
}

/// A span as settings write it: `90s`, `15m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub(super) Duration);

/// A text that is no span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSpan;

impl Readable for Span {
    const FORM: &str = "a number of seconds, minutes, hours or days (90s, 15m, 24h, 7d)";
}

const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        let (unit, seconds) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit)).ok_or(NoSpan)?;
        let number = text.strip_suffix(unit).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u64 = number.ok_or(NoSpan)?.parse().map_err(|_| NoSpan)?;
        Ok(Span(Duration::from_secs(number.checked_mul(seconds).ok_or(NoSpan)?)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let whole = UNITS.into_iter().rev().find(|(_, unit)| seconds.is_multiple_of(*unit));
        let (unit, each) = whole.unwrap_or(('s', 1));
        write!(f, "{}{unit}", seconds / each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        for text in
            ["", "s", "24", "1.5h", "-1s", "+1s", "1 h", "1w", "h1", "99999999999999999999s", "9999999999999999d"]
        {
            assert_eq!(text.parse::<Span>(), Err(NoSpan), "{text}");
        }
        for (seconds, text) in [(90, "90s"), (900, "15m"), (86_400, "1d"), (129_600, "36h")] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
