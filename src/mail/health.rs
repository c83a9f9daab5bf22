//! Whether a transport works, for readiness.

use std::sync::{Mutex, PoisonError};

use super::outcome::reply_text;
use crate::clock::Timestamp;

/// The result of the last attempt. A refused recipient is not a failure of the transport; a refused sender is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing was sent yet.
    #[default]
    Untried,
    /// The last attempt reached a working server.
    Working {
        /// When that was.
        at: Timestamp,
    },
    /// Every attempt since `since` failed in a way that an operator may have to mend.
    Failing {
        /// The first failure in a row.
        since: Timestamp,
        /// Of the last one; one line for operators, with what the server said but for what it quoted.
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

    pub(super) fn worked(&self, at: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Health::Working { at };
    }

    pub(super) fn failed(&self, at: Timestamp, reason: &str) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if let Health::Failing { since, .. } = *health { since } else { at };
        *health = Health::Failing { since, reason: reply_text(reason) };
    }
}
