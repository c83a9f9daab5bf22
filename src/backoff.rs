//! Pauses that grow while something keeps failing.

use std::time::Duration;

/// Pauses that double from the first to the longest. As an iterator it gives them as they are, [`Backoff::jittered`] a
/// random part of each, so that many who lost the same server do not all come back at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// For a server that is away.
    pub const SERVER: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));

    /// What lasted this long went well.
    const HEALTHY: Duration = Duration::from_mins(1);

    /// From the first pause to the longest.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, next: first }
    }

    /// Begins again with the first pause.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause with full jitter: anything from nothing to all of it.
    pub fn jittered(&mut self) -> Duration {
        self.next().map_or(self.longest, jitter)
    }

    /// The pause after a connection that lasted `lived`; it begins again after one that went well. A refusal (wrong
    /// password, no such virtual host) is not mended by hurrying: it waits at least half of the longest pause.
    pub fn after(&mut self, lived: Duration, is_refused: bool) -> Duration {
        if lived >= Self::HEALTHY {
            self.reset();
        }
        let pause = self.jittered();
        if is_refused { self.longest / 2 + jitter(self.longest / 2) } else { pause }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        Some(pause)
    }
}

/// A random part of `span`; all of it where the system has no randomness to give.
#[must_use]
pub fn jitter(span: Duration) -> Duration {
    let nanoseconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
    getrandom::u64().map_or(span, |random| Duration::from_nanos(random % nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_never_pass_the_span_and_start_over_after_a_healthy_minute() {
        let mut backoff = Backoff::SERVER;
        for span in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000] {
            assert!(backoff.after(Duration::ZERO, false) <= Duration::from_millis(span));
        }
        assert!(backoff.after(Backoff::HEALTHY, false) <= backoff.first);
    }

    #[test]
    fn a_refusal_is_not_hurried() {
        assert!({ Backoff::SERVER }.after(Duration::ZERO, true) >= Duration::from_millis(7_500));
    }

    #[test]
    fn without_jitter_each_pause_is_twice_the_last() {
        let pauses: Vec<Duration> = Backoff::new(Duration::from_secs(1), Duration::from_secs(5)).take(4).collect();
        assert_eq!(pauses, [1, 2, 4, 5].map(Duration::from_secs));
    }
}
