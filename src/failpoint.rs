//! Named steps at which a test aborts the process, as if its machine had lost power: between a commit and its response,
//! between a mail and its record. And places where it panics, which the process must outlive.
//!
//! In a release build a step is an empty function, and `BELLHOP_FAILPOINT` is no setting.

/// Every step, in the order in which an event passes them. The tests kill at each of them.
pub const STEPS: &[&str] = &[
    "request.before_commit",
    "request.committed",
    // into the queues in the same database
    "handover.before_commit",
    "handover.committed",
    // to a broker: sent is before the confirms are looked at, confirmed before the mark
    "relay.claimed",
    "relay.published",
    "relay.confirmed",
    "relay.marked",
    "consumer.taken",
    "lease.taken",
    "mail.before_data",
    "mail.before_message",
    // after the 250, and after the registration says so
    "mail.accepted",
    "delivery.recorded",
    "inbox.marked",
    "log.before_commit",
    "log.committed",
    // the copy that waits is safe, the original not yet acknowledged
    "parked.published",
    "consumer.before_ack",
    "consumer.acked",
];

/// Every place that panics instead: once in the life of each task, and around a request.
pub const PANICS: &[&str] = &[
    "request.traced",
    "web.turn",
    "health.turn",
    "notifications.turn",
    "relay.turn",
    "reconciler.turn",
    "maintenance.turn",
    "queues.turn",
    "consumer.turn",
    "node.turn",
    "batch.collected",
    "broker.connected",
    "subscription.turn",
];

/// Passes a step.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn reach(_step: &'static str) {}

#[cfg(debug_assertions)]
pub use self::armed::{arm, reach};

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::{PANICS, STEPS};

    static ARMED: OnceLock<Mutex<Armed>> = OnceLock::new();

    struct Armed {
        at: BTreeMap<&'static str, u32>,
        passed: BTreeMap<&'static str, u32>,
    }

    /// Has the process abort at a step, `name` or `name:nth`, when it is passed for the first or the nth time, or panic at a
    /// place of [`PANICS`]. Several are separated by commas.
    ///
    /// # Errors
    /// There is no such step, or some are armed already.
    pub fn arm(text: &str) -> Result<(), String> {
        let mut at = BTreeMap::new();
        for text in text.split(',') {
            let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
            let step = STEPS.iter().chain(PANICS).find(|step| **step == name);
            let step = step.ok_or_else(|| format!("{name:?} is no step"))?;
            at.insert(*step, nth.parse().map_err(|error| format!("{nth:?}: {error}"))?);
        }
        let armed = Armed { at, passed: BTreeMap::new() };
        ARMED.set(Mutex::new(armed)).map_err(|_| "some are armed already".to_owned())
    }

    /// Passes a step. If it is one that is armed, it prints how often each was passed and aborts, or it panics.
    ///
    /// # Panics
    /// At the places of [`PANICS`], when a test asks for it.
    #[expect(clippy::print_stderr, reason = "the process aborts before a log would be written")]
    #[expect(clippy::panic, reason = "that is what it is for")]
    pub fn reach(step: &'static str) {
        let Some(armed) = ARMED.get() else { return };
        // held to the end, so that what is printed is exact
        let mut armed = armed.lock().unwrap_or_else(PoisonError::into_inner);
        *armed.passed.entry(step).or_default() += 1;
        if armed.at.get(step).is_none_or(|nth| armed.passed.get(step) != Some(nth)) {
            return;
        }
        if PANICS.contains(&step) {
            drop(armed);
            panic!("failpoint {step}");
        }
        let passed: Vec<String> = armed.passed.iter().map(|(step, times)| format!("{step}={times}")).collect();
        eprintln!("failpoint {step} {}", passed.join(" "));
        std::process::abort();
    }
}
