//! Waiting for a condition by looking.

use std::time::Duration;

use tokio::time::{Interval, interval};

/// When to look: often at first, then more and more seldom, for looking costs those who are waited for.
#[derive(Debug)]
pub struct Poll {
    pause: Duration,
    interval: Interval,
}

const FIRST: Duration = Duration::from_millis(4);
const LAST: Duration = Duration::from_millis(100);

impl Poll {
    pub fn new() -> Self {
        Poll { pause: FIRST, interval: interval(FIRST) }
    }

    /// Ends when it is time to look, the first time at once.
    pub async fn tick(&mut self) {
        self.interval.tick().await;
        self.interval.reset_after(self.pause);
        self.pause = (self.pause * 3 / 2).min(LAST);
    }
}

/// Waits until `condition` holds; panics after a generous limit, naming what it waited for.
pub async fn within(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut poll = Poll::new();
    let waited = tokio::time::timeout(Duration::from_mins(3), async {
        loop {
            poll.tick().await;
            if condition().await {
                return;
            }
        }
    });
    assert!(waited.await.is_ok(), "waited too long for {what}");
}
