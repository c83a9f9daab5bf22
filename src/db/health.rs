//! What the last errors of a database said about it, until it has shown that it is well again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::{Outage, outage};

/// How long a write that went well proves that the next one will.
const PROOF_LIFETIME: Duration = Duration::from_secs(10);

/// What is known about a database from what it answers. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    outage: Option<Outage>,
    /// When it was last seen to take a write.
    proven: Option<Instant>,
    /// Connections made before do not lead where they should.
    stale: Option<Instant>,
}

impl Health {
    /// Passes a result on, and remembers what it says about the database.
    pub(super) fn note<T>(&self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if let Some(outage) = result.as_ref().err().and_then(|error| outage(error)).filter(|outage| !outage.is_ready())
        {
            self.fell_out(outage);
        }
        result
    }

    fn fell_out(&self, outage: Outage) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.outage != Some(outage) {
            tracing::warn!("{}; looking again until it is well", outage.as_str());
        }
        state.outage = Some(outage);
        if outage == Outage::ReadOnly {
            state.stale = Some(Instant::now());
        }
    }

    /// It has just taken a write.
    pub(super) fn proven(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.proven = Some(Instant::now());
        if let Some(outage) = state.outage.take() {
            tracing::info!("the database is well again");
            if outage == Outage::ReadOnly {
                // another one may have led to the old primary meanwhile, and not have said so yet
                state.stale = Some(Instant::now());
            }
        }
    }

    /// What is wrong with it, as far as is known.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outage
    }

    /// Whether a write must show that it takes them: it has failed, or has not been seen to for a while.
    pub(super) fn wants_proof(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.outage.is_some() || state.proven.is_none_or(|at| at.elapsed() > PROOF_LIFETIME)
    }

    /// Whether a connection of this age was made after the database was last found to be read only. One that is older
    /// may lead to a server that has been the primary once.
    pub(super) fn trusts(&self, age: Duration) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.stale.is_none_or(|at| age < at.elapsed())
    }
}
