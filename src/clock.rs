//! The time, to the microsecond: the one place that asks the system for it.
//!
//! Both databases keep microseconds, so a time that has been through one of them equals the time that went in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// A point in time, UTC, whole microseconds.
pub type Timestamp = DateTime<Utc>;

/// The time. Clones share one offset, which is zero outside tests.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: Arc<AtomicI64>,
    /// A point of the monotonic clock …
    origin: Instant,
    /// … and the microsecond (Unix) that it was at the latest, by whatever has been told since.
    origin_at: Arc<AtomicI64>,
}

impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "as below")]
    fn default() -> Self {
        let origin_at = AtomicI64::new(Utc::now().timestamp_micros());
        Clock { offset: Arc::default(), origin: Instant::now(), origin_at: Arc::new(origin_at) }
    }
}

impl Clock {
    /// The present, cut to microseconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place that the rule sends everybody to")]
    pub fn now(&self) -> Timestamp {
        let offset = chrono::Duration::microseconds(self.offset.load(Ordering::Relaxed));
        (Utc::now() + offset).trunc_subsecs(6)
    }

    /// The present as it would be had nobody put the system's clock back since the process began: for waits, which are to last
    /// as long as they were meant to. Never goes back; a clock that is put forward is followed.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        let now = self.now();
        let elapsed = i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX);
        let origin_at = now.timestamp_micros().saturating_sub(elapsed);
        let origin_at = self.origin_at.fetch_max(origin_at, Ordering::Relaxed).max(origin_at);
        DateTime::from_timestamp_micros(origin_at.saturating_add(elapsed)).unwrap_or(now)
    }

    /// How far the system's clock has been put back since the process began, as far as it has not caught up.
    #[must_use]
    pub fn lag(&self) -> Duration {
        (self.steady() - self.now()).to_std().unwrap_or_default()
    }

    /// Moves the clock back by `step`, for tests.
    pub fn set_back(&self, step: Duration) {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        self.offset.fetch_sub(step, Ordering::Relaxed);
    }

    /// Moves the clock forward by `step`, for tests.
    pub fn advance(&self, step: Duration) {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        self.offset.fetch_add(step, Ordering::Relaxed);
    }

    /// A new id that sorts by creation time (UUID version 7, RFC 9562 section 5.7).
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Notices that the system's clock was put back.
#[derive(Debug)]
pub struct SetBack {
    clock: Clock,
    /// None before it was asked.
    lag: Option<Duration>,
}

impl SetBack {
    /// More than clocks are adjusted by without anybody noticing.
    const TOLERANCE: Duration = Duration::from_secs(1);

    /// Of this clock.
    #[must_use]
    pub fn of(clock: &Clock) -> Self {
        SetBack { clock: clock.clone(), lag: None }
    }

    /// Whether it may have been put back since this was asked last: true the first time, as nobody knows what has been before.
    pub fn may_have_been(&mut self) -> bool {
        let lag = self.clock.lag();
        let before = self.lag.replace(lag);
        before.is_none_or(|before| lag > before + Self::TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// F60.
    #[test]
    fn waits_go_on_while_the_clock_is_put_back_and_forth() {
        let clock = Clock::default();
        let (began, mut set_back) = (clock.steady(), SetBack::of(&clock));
        assert!(set_back.may_have_been(), "before the process began");
        assert!(!set_back.may_have_been());
        clock.set_back(HOUR);
        assert!(clock.now() < began);
        assert!(clock.steady() >= began && clock.steady() < began + HOUR);
        assert!(clock.lag() > HOUR / 2);
        assert!(set_back.may_have_been());
        assert!(!set_back.may_have_been(), "once is enough");
        // and again to where it was: nothing has happened
        clock.advance(HOUR);
        assert!(clock.lag() < HOUR / 2 && !set_back.may_have_been());
        clock.advance(HOUR);
        assert!(clock.steady() >= began + HOUR, "forward it is followed");
        clock.set_back(HOUR);
        assert!(set_back.may_have_been());
    }
}
