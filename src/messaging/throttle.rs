//! What came in heaps is carried out a little at a time while people wait for the processor.
//!
//! A heap is what was kept while a server was away, or what many people do at once. Nobody waits for it, but whoever waits for
//! a password to be checked waits for the same cores. What comes in ordinary numbers is never held back.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// While people wait, carrying a heap takes one part in so many of all cores: enough for several times as many events as
/// those people cause.
const PARTS: u32 = 40;

/// The longest rest, divided by the cores: where the disk is slow, a heap must still shrink faster than people make it grow, and
/// each core checks some seventy passwords a second.
const LONGEST: Duration = Duration::from_secs(2);

/// So many at once are a heap. Resting after fewer would let one grow.
pub(super) const HEAP: usize = 100;

/// Says how long to rest. Clones ask the same people.
#[derive(Clone, Default)]
pub struct Throttle(Option<Busy>);

/// Whether people wait for the processor of this process.
type Busy = Arc<dyn Fn() -> bool + Send + Sync>;

impl Throttle {
    /// One that holds back while `busy`; the default one never does.
    pub fn new(busy: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Throttle(Some(Arc::new(busy)))
    }

    /// How long to rest after one core has worked so long at a heap.
    #[must_use]
    pub fn rest(&self, worked: Duration) -> Duration {
        match &self.0 {
            Some(busy) if busy() => rest(worked, std::thread::available_parallelism().map_or(1, NonZeroUsize::get)),
            _ => Duration::ZERO,
        }
    }
}

fn rest(worked: Duration, cores: usize) -> Duration {
    let cores = u32::try_from(cores).unwrap_or(PARTS).max(1);
    worked.saturating_mul((PARTS / cores).saturating_sub(1)).min(LONGEST / cores)
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_takes_its_part_of_all_cores_and_no_rest_where_there_are_many() {
        let worked = Duration::from_millis(10);
        for (cores, times) in [(1, 39), (2, 19), (4, 9), (16, 1), (39, 0), (40, 0), (128, 0)] {
            assert_eq!(rest(worked, cores), worked * times, "{cores} cores");
        }
        assert_eq!(rest(Duration::from_secs(10), 2), LONGEST / 2);
        assert_eq!(rest(Duration::from_secs(10), 4), LONGEST / 4);
    }

    #[test]
    fn nobody_rests_unless_people_wait() {
        let worked = Duration::from_secs(1);
        assert_eq!(Throttle::default().rest(worked), Duration::ZERO);
        assert_eq!(Throttle::new(|| false).rest(worked), Duration::ZERO);
    }
}
