//! What the last errors of a database said about it, until it has shown that it is well again. It says nothing in the log:
//! whoever watches over the process does, once when it begins and once when it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::{Outage, outage};

/// How long a write that went well proves that the next one will.
const PROOF_LIFETIME: Duration = Duration::from_secs(10);
/// How long it counts as busy after it was too busy for somebody.
const BUSY_FOR: Duration = Duration::from_secs(10);

/// What is known about a database from what it answers. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    outage: Option<Outage>,
    /// When it was last too busy for somebody.
    busy: Option<Instant>,
    /// When it was last seen to take a write.
    proven: Option<Instant>,
    /// Connections made before do not lead where they should.
    stale: Option<Instant>,
    /// When a server last gave a connection.
    given: Option<Instant>,
    /// Whether it gives none: nobody waits for one then …
    unreachable: bool,
    /// … but who tries.
    tried: bool,
}

impl Condition {
    /// Passes a result on, and remembers what it says about the database.
    pub(super) fn note<T>(&self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if let Some(error) = result.as_ref().err()
            && let Some(outage) = outage(error)
        {
            // that no connection came in time does not say why
            let is_reason = !matches!(error, sqlx::Error::PoolTimedOut);
            self.fell_out(outage, is_reason);
        }
        result
    }

    /// It does not do its work for this reason, or for one that is known already.
    pub(super) fn fell_out(&self, outage: Outage, is_reason: bool) {
        let mut state = self.state();
        if outage.is_ready() {
            state.busy = Some(Instant::now());
            return;
        }
        if state.outage.is_none() || is_reason {
            state.outage = Some(outage);
        }
        if outage == Outage::ReadOnly {
            state.stale = Some(Instant::now());
        }
    }

    /// It has just taken a write.
    pub(super) fn proven(&self) {
        let mut state = self.state();
        state.proven = Some(Instant::now());
        if state.outage.take() == Some(Outage::ReadOnly) {
            // another one may have led to the old primary meanwhile, and not have said so yet
            state.stale = Some(Instant::now());
        }
    }

    /// What keeps it from its work, as far as is known.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.state().outage
    }

    /// Whether it was too busy for somebody lately.
    pub(super) fn is_busy(&self) -> bool {
        self.state().busy.is_some_and(|at| at.elapsed() < BUSY_FOR)
    }

    /// Whether a write must show that it takes them: it has failed, or has not been seen to for a while.
    pub(super) fn wants_proof(&self) -> bool {
        let state = self.state();
        state.outage.is_some() || state.proven.is_none_or(|at| at.elapsed() > PROOF_LIFETIME)
    }

    /// Whether a connection of this age was made after the database was last found to be read only. One that is older
    /// may lead to a server that has been the primary once.
    pub(super) fn trusts(&self, age: Duration) -> bool {
        self.state().stale.is_none_or(|at| age < at.elapsed())
    }

    /// A server that gives no connection is not waited for: an error at once, and whether it is the caller who has it tried.
    pub(super) fn is_reachable(&self) -> Result<(), (sqlx::Error, Option<Trial>)> {
        let mut state = self.state();
        if !state.unreachable {
            return Ok(());
        }
        let error = state.outage.unwrap_or(Outage::Away).copy("it gives no connection; somebody is trying");
        let trial = (!std::mem::replace(&mut state.tried, true)).then(|| Trial(self.clone()));
        Err((error, trial))
    }

    /// Remembers whether a server gave a connection to who has waited since then. While it gives some, one that comes too late
    /// is only late.
    pub(super) fn gave<T>(&self, since: Instant, result: &sqlx::Result<T>) {
        let mut state = self.state();
        if result.is_ok() {
            state.given = Some(Instant::now());
            state.unreachable = false;
        } else if state.given.is_none_or(|at| at < since) {
            state.unreachable = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who tries a server that gives no connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Trial(Condition);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.state().tried = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late() -> sqlx::Result<()> {
        Err(sqlx::Error::PoolTimedOut)
    }

    #[test]
    fn a_server_that_gives_nobody_a_connection_is_tried_by_one_and_waited_for_by_none() {
        let condition = Condition::default();
        let began = Instant::now();
        assert!(condition.is_reachable().is_ok());
        condition.gave(began, &condition.note(late()));
        let (error, first) = condition.is_reachable().unwrap_err();
        assert_eq!(outage(&error), Some(Outage::Away));
        assert!(first.is_some() && condition.is_reachable().unwrap_err().1.is_none());
        drop(first);
        let (_, second) = condition.is_reachable().unwrap_err();
        assert!(second.is_some(), "the first has given up");
        condition.gave(began, &Ok(()));
        assert!(condition.is_reachable().is_ok());
    }

    #[test]
    fn who_waits_too_long_while_others_are_given_connections_does_not_make_it_unreachable() {
        let condition = Condition::default();
        let began = Instant::now();
        condition.gave(began, &Ok(()));
        condition.gave(began, &late());
        assert!(condition.is_reachable().is_ok());
    }

    #[test]
    fn a_reason_that_is_known_stands_until_another_one_is() {
        let condition = Condition::default();
        let _ = condition.note(Err::<(), _>(Outage::Crowded.copy("53300")));
        let _ = condition.note(late());
        assert_eq!(condition.outage(), Some(Outage::Crowded));
        let _ = condition.note(Err::<(), _>(Outage::ReadOnly.copy("25006")));
        assert_eq!(condition.outage(), Some(Outage::ReadOnly));
        assert!(!condition.is_busy());
        let _ = condition.note(Err::<(), _>(Outage::Busy.copy("40001")));
        assert!(condition.is_busy() && condition.outage() == Some(Outage::ReadOnly));
        condition.proven();
        assert_eq!(condition.outage(), None);
    }
}
