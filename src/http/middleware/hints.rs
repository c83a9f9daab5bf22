//! What requests say about settings that do not fit: for the log, once for each thing that arrived, and only so often.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::text::loggable;

/// How many different things are told: strangers send whatever they like.
const MAX_TOLD: usize = 10;

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hint {
    /// A host that is none of ours.
    Host,
    /// http where we are to be reached by https, or the other way round.
    Scheme,
}

impl Hint {
    const fn words(self) -> &'static str {
        match self {
            Hint::Host => {
                "requests for another host are refused (421); set BELLHOP_PUBLIC_URL to what browsers see, or have the \
                 proxy pass the Host header on"
            }
            Hint::Scheme => {
                "browsers come by another scheme than BELLHOP_PUBLIC_URL says, so forms may be refused (403) and cookies \
                 lost; set it to what browsers see"
            }
        }
    }
}

/// What has been told already. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints(Arc<Mutex<BTreeSet<(Hint, String)>>>);

impl Hints {
    /// Says once that this arrived and what was expected.
    pub(super) fn tell(&self, hint: Hint, arrived: &str, expected: &str) {
        let arrived = loggable(arrived);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.iter().filter(|(kind, _)| *kind == hint).count() < MAX_TOLD && told.insert((hint, arrived.clone())) {
            tracing::warn!(arrived, expected, "{}", hint.words());
        }
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<(Hint, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_only_so_many() {
        let hints = Hints::default();
        for _ in 0..3 {
            for number in 0..100 {
                hints.tell(Hint::Host, &format!("host-{number}.example"), "https://id.example.org");
            }
            hints.tell(Hint::Scheme, "https://id.example.org", "http://id.example.org");
        }
        assert_eq!(hints.told().len(), MAX_TOLD + 1, "{:?}", hints.told());
    }
}
