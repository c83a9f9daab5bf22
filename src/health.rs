//! How each part of this process fares, and since when it is so. A part that begins to fail says so in one line of the log, and in
//! another one when it is well again; never each time that somebody looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::clock::{Clock, Timestamp};

/// Something that this process does, or needs from outside. Clones are the same part.
#[derive(Clone, Debug)]
pub struct Part(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct State {
    since: Timestamp,
    trouble: Option<String>,
    restarts: u64,
}

/// How a part fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartState {
    /// Its name: `relay`, `listener:confirmation`, `broker`.
    pub part: String,
    /// Whether it does not work as it should.
    pub degraded: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// How often it ended by itself and was started again.
    pub restarts: u64,
    /// Why it is degraded; may name hosts and users, so it is for operators alone.
    #[serde(skip)]
    pub trouble: Option<String>,
}

impl Part {
    /// One that is well.
    #[must_use]
    pub fn new(name: &str, clock: &Clock) -> Self {
        let state = State { since: clock.now(), trouble: None, restarts: 0 };
        Part(Arc::new(Inner { name: name.to_owned(), clock: clock.clone(), state: Mutex::new(state) }))
    }

    /// It does not work as it should, for this reason.
    pub fn degrade(&self, reason: &str) {
        let mut state = self.state();
        if state.trouble.replace(reason.to_owned()).is_none() {
            state.since = self.0.clock.now();
            drop(state);
            tracing::warn!(part = self.0.name, reason, "degraded");
        }
    }

    /// It works.
    pub fn recover(&self) {
        let mut state = self.state();
        if state.trouble.take().is_some() {
            let now = self.0.clock.now();
            let lasted = now - std::mem::replace(&mut state.since, now);
            drop(state);
            tracing::info!(part = self.0.name, after_seconds = lasted.num_seconds(), "well again");
        }
    }

    /// It has ended by itself, for this reason, and is started again.
    pub(crate) fn restart(&self, reason: &str) {
        let mut state = self.state();
        state.restarts += 1;
        if state.trouble.replace(reason.to_owned()).is_none() {
            state.since = self.0.clock.now();
        }
        let restarts = state.restarts;
        drop(state);
        tracing::error!(part = self.0.name, reason, restarts, "ended by itself; starting it again");
    }

    /// Whether it does not work as it should.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.state().trouble.is_some()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of a process. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Vec<Part>>>);

impl Health {
    /// Counts a part among them.
    pub fn add(&self, part: &Part) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(part.clone());
    }

    /// Each part by name. Of several with one name, one that is degraded speaks for them.
    #[must_use]
    pub fn parts(&self) -> Vec<PartState> {
        let mut states: BTreeMap<String, PartState> = BTreeMap::new();
        for part in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let State { since, trouble, restarts } = part.state().clone();
            let state = PartState { part: part.0.name.clone(), degraded: trouble.is_some(), since, restarts, trouble };
            states
                .entry(state.part.clone())
                .and_modify(|known| {
                    let restarts = known.restarts + state.restarts;
                    let speaks = (state.degraded, std::cmp::Reverse(state.since))
                        > (known.degraded, std::cmp::Reverse(known.since));
                    if speaks {
                        *known = state.clone();
                    }
                    known.restarts = restarts;
                })
                .or_insert(state);
        }
        states.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_several_with_one_name_one_that_is_degraded_speaks_and_since_is_when_it_began() {
        let (clock, health) = (Clock::default(), Health::default());
        let parts = ["relay", "listener", "listener"].map(|name| Part::new(name, &clock));
        for part in &parts {
            health.add(part);
        }
        clock.advance(Duration::from_mins(1));
        parts[2].degrade("away");
        let began = health.parts()[0].since;
        clock.advance(Duration::from_mins(1));
        parts[2].degrade("still away");
        parts[1].restart("panicked");
        let states = health.parts();
        let told: Vec<_> = states.iter().map(|state| (state.part.as_str(), state.degraded, state.restarts)).collect();
        assert_eq!(told, [("listener", true, 1), ("relay", false, 0)]);
        assert_eq!((states[0].since, states[0].trouble.as_deref()), (began, Some("still away")));
        parts[2].recover();
        assert!(health.parts()[0].degraded);
        parts[1].recover();
        assert!(!health.parts()[0].degraded && health.parts()[0].since > began);
    }
}
