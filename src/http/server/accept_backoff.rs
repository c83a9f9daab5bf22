//! What to do while no connection can be accepted: out of file descriptors or memory.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

/// Waits a little longer each time, up to half a second, and says so once.
#[derive(Default)]
pub(super) struct AcceptBackoff {
    since: Option<Instant>,
    pause: Duration,
}

impl AcceptBackoff {
    pub(super) fn next_pause(&mut self, error: &io::Error) -> Duration {
        if self.since.is_none() {
            tracing::error!(%error, "no connection can be accepted: waiting");
            self.since = Some(Instant::now());
        }
        self.pause = (self.pause * 2).clamp(Duration::from_millis(10), Duration::from_millis(500));
        self.pause
    }

    pub(super) fn reset(&mut self) {
        if let Some(since) = self.since.take() {
            self.pause = Duration::ZERO;
            tracing::info!(after = ?since.elapsed(), "connections are accepted again");
        }
    }
}

/// Whether accepting failed because the other side had gone before we came to it.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_a_little_longer_until_connections_come_again() {
        let error = io::Error::from_raw_os_error(24);
        assert!(!is_of_one_connection(&error));
        let mut backoff = AcceptBackoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next_pause(&error).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 500, 500]);
        backoff.reset();
        assert_eq!(backoff.next_pause(&error).as_millis(), 10);
    }
}
