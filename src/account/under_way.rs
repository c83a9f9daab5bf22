//! What is counted before it is known how it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many tries are under way in this process, by key: what has not been refused yet is counted as if it had been, so that
/// many at once are no way around a budget.
#[derive(Clone, Debug, Default)]
pub struct UnderWay(Arc<Mutex<HashMap<[u8; 32], u32>>>);

impl UnderWay {
    /// One more of this key; how many there were.
    pub(in crate::account) fn enter(&self, key: [u8; 32]) -> (u32, Entered) {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = tries.entry(key).or_default();
        let before = *here;
        *here += 1;
        (before, Entered { under_way: self.clone(), key })
    }
}

/// One of them; ends when dropped.
#[derive(Debug)]
pub(in crate::account) struct Entered {
    under_way: UnderWay,
    key: [u8; 32],
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut tries = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = tries.get_mut(&self.key) {
            *here -= 1;
            if *here == 0 {
                tries.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_is_under_way_until_it_is_dropped() {
        let under_way = UnderWay::default();
        let (before, first) = under_way.enter([1; 32]);
        let (beside, second) = under_way.enter([1; 32]);
        assert_eq!((before, beside, under_way.enter([2; 32]).0), (0, 1, 0));
        drop(first);
        assert_eq!(under_way.enter([1; 32]).0, 1);
        drop(second);
        assert!(under_way.0.lock().unwrap().is_empty(), "nothing is kept");
    }
}
