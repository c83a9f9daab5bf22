//! The time, to the microsecond: the one place that asks the system for it.
//!
//! Both databases keep microseconds, so a time that has been through one of them equals the time that went in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// A point in time, UTC, whole microseconds.
pub type Timestamp = DateTime<Utc>;

/// The time. Clones share one offset, which is zero outside tests.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// The present, cut to microseconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place that the rule sends everybody to")]
    pub fn now(&self) -> Timestamp {
        let offset = chrono::Duration::microseconds(self.offset.load(Ordering::Relaxed));
        (Utc::now() + offset).trunc_subsecs(6)
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
