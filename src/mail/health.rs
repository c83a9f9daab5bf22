//! Whether a transport works, for readiness.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::outcome::reply_text;
use crate::clock::Timestamp;

/// The result of the last attempt. A refused recipient is not a failure of the transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing was sent yet.
    #[default]
    Untried,
    /// The last attempt reached a working server.
    Working {
        /// When that was.
        at: Timestamp,
        /// How long it took.
        took: Duration,
    },
    /// Every attempt since `since` failed.
    Failing {
        /// The first failure in a row.
        since: Timestamp,
        /// Of the last one; one line, no secret.
        reason: String,
    },
}

/// A [`Health`] that attempts write to.
#[derive(Debug, Default)]
pub(super) struct HealthRecord(Mutex<Health>);

impl HealthRecord {
    pub(super) fn get(&self) -> Health {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn worked(&self, at: Timestamp, took: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Health::Working { at, took };
    }

    pub(super) fn failed(&self, at: Timestamp, reason: &str) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if let Health::Failing { since, .. } = *health { since } else { at };
        *health = Health::Failing { since, reason: reply_text(reason) };
    }
}
