//! `replay`: publishes again what was not recorded as done.

use std::io::Write as _;
use std::str::FromStr;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use clap::Args;
use serde::Serialize;

use super::open::with_app;
use super::output::{self, Output, with_progress};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::messaging::outbox::reconciler::Reconciler;
use crate::progress::Progress;

/// What is published again.
#[derive(Clone, Debug, Args)]
pub(super) struct Replay {
    /// 2026-01-31, 2026-01-31T08:00:00Z, or how long ago: 90s, 15m, 6h, 7d
    #[arg(long, value_name = "TIME")]
    since: Moment,
    /// only to this one [all]
    #[arg(long, value_name = "QUEUE")]
    listener: Option<String>,
    /// as a JSON array
    #[arg(long)]
    json: bool,
}

/// How many events a listener is sent again.
#[derive(Debug, Serialize)]
struct Replayed {
    listener: String,
    events: usize,
}

impl Replay {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        Box::pin(with_app(config, async |app| self.replay(app).await)).await
    }

    async fn replay(self, app: &App) -> anyhow::Result<()> {
        let since = self.since.before(app.accounts.clock.now()).context("so long ago there was no time")?;
        app.depths().await?;
        let progress = Progress::default();
        let reconciler = Reconciler { progress: progress.clone(), ..app.reconciler() };
        let work = reconciler.replay(since, self.listener.as_deref());
        let replayed = with_progress("published again:", &progress, work).await?;
        let mut out = Output::new();
        if self.json {
            output::json(&mut out, replayed.into_iter().map(|(listener, events)| Replayed { listener, events }))?;
        } else {
            for (listener, events) in replayed {
                writeln!(out, "{listener}: {events} published again")?;
            }
        }
        Ok(out.flush()?)
    }
}

/// A time, or how long ago one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    Ago(TimeDelta),
}

impl Moment {
    /// As a time, if there is one that far back.
    fn before(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Moment::At(time) => Some(time),
            Moment::Ago(span) => now.checked_sub_signed(span),
        }
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str = "it is neither a time nor how long ago: 2026-01-31T08:00:00Z, 90s, 15m, 6h, 7d";
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Moment::At(time.to_utc()));
        }
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Moment::At(day.and_time(NaiveTime::MIN).and_utc()));
        }
        let last = text.len().checked_sub(1).ok_or(FORMS)?;
        let (number, unit) = text.split_at_checked(last).ok_or(FORMS)?;
        let number: i64 = number.parse().ok().filter(|number| *number >= 0).ok_or(FORMS)?;
        let ago = match unit {
            "s" => TimeDelta::try_seconds(number),
            "m" => TimeDelta::try_minutes(number),
            "h" => TimeDelta::try_hours(number),
            "d" => TimeDelta::try_days(number),
            _ => None,
        };
        ago.map(Moment::Ago).ok_or(FORMS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_day_or_how_long_ago() {
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        for (text, meant) in [
            ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"),
            ("2026-01-31T08:00:00+02:00", "2026-01-31T06:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("90s", "2026-01-31T23:58:30Z"),
            ("15m", "2026-01-31T23:45:00Z"),
            ("6h", "2026-01-31T18:00:00Z"),
            ("7d", "2026-01-25T00:00:00Z"),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.before(now), Some(meant.parse().unwrap()), "{text}");
        }
        for text in ["", "yesterday", "-5m", "5", "m", "5w", "9223372036854775807d", "5\u{20ac}"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
        assert_eq!("99999999999d".parse::<Moment>().unwrap().before(now), None);
    }
}
