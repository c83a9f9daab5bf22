//! A backlog is drained a little at a time while people wait for the processor.
//!
//! A backlog is what was kept while a server was away, or what many people do at once. Nobody waits for it, but whoever waits
//! for a password to be checked waits for the same cores. What comes in ordinary numbers is never held back.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// While people wait, draining a backlog takes one part in so many of all cores: enough for several times as many events as
/// those people cause.
const BACKLOG_SHARE: u32 = 40;

/// The longest pause, divided by the cores: where the disk is slow, a backlog must still shrink faster than people make it
/// grow, and each core checks some seventy passwords a second.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// So many at once are a backlog. Pausing after fewer would let one grow.
pub(super) const BACKLOG: usize = 100;

/// Says how long to yield the cores. Clones ask the same people.
#[derive(Clone, Default)]
pub struct Backpressure(Option<IsBusy>);

/// Whether people wait for the processor of this process.
type IsBusy = Arc<dyn Fn() -> bool + Send + Sync>;

impl Backpressure {
    /// One that holds back while `is_busy`; the default one never does.
    pub fn new(is_busy: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Backpressure(Some(Arc::new(is_busy)))
    }

    /// How long to yield after one core has worked so long at a backlog.
    #[must_use]
    pub fn pause(&self, worked: Duration) -> Duration {
        match &self.0 {
            Some(is_busy) if is_busy() => {
                pause(worked, std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
            }
            _ => Duration::ZERO,
        }
    }
}

fn pause(worked: Duration, cores: usize) -> Duration {
    let cores = u32::try_from(cores).unwrap_or(BACKLOG_SHARE).max(1);
    worked.saturating_mul((BACKLOG_SHARE / cores).saturating_sub(1)).min(MAX_PAUSE / cores)
}

impl fmt::Debug for Backpressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backpressure").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_takes_its_share_of_all_cores_and_there_is_no_pause_where_there_are_many() {
        let worked = Duration::from_millis(10);
        for (cores, times) in [(1, 39), (2, 19), (4, 9), (16, 1), (39, 0), (40, 0), (128, 0)] {
            assert_eq!(pause(worked, cores), worked * times, "{cores} cores");
        }
        assert_eq!(pause(Duration::from_secs(10), 2), MAX_PAUSE / 2);
        assert_eq!(pause(Duration::from_secs(10), 4), MAX_PAUSE / 4);
    }

    #[test]
    fn nobody_pauses_unless_people_wait() {
        let worked = Duration::from_secs(1);
        assert_eq!(Backpressure::default().pause(worked), Duration::ZERO);
        assert_eq!(Backpressure::new(|| false).pause(worked), Duration::ZERO);
    }
}
