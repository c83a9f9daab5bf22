//! The one way in which something runs beside the requests: watched. A task that ends by itself, by a panic or because it returned,
//! is started again after a pause, and its part is degraded until it has run for a while.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::health::{Health, Part};
use crate::text::one_line;

/// How long a task that was started again runs before it passes for well.
const PROBATION: Duration = Duration::from_secs(10);

/// The longest reason, in characters.
const MAX_REASON_CHARS: usize = 300;

/// Where tasks are started.
#[derive(Clone, Debug)]
pub struct Tasks {
    /// Waits for them.
    pub tracker: TaskTracker,
    /// Told, they are to end.
    pub stop: CancellationToken,
    /// Where their parts are counted.
    pub health: Health,
    /// Since when they run.
    pub clock: Clock,
}

impl Tasks {
    /// Starts a task under the name of its part, and again whenever it ends before it was told to stop.
    pub fn spawn<A>(&self, name: &str, task: impl FnMut() -> A + Send + 'static)
    where
        A: Future<Output = ()> + Send + 'static,
    {
        let part = Part::new(name, &self.clock);
        self.health.add(&part);
        let stop = self.stop.clone();
        let is_over = {
            let stop = stop.clone();
            move || stop.is_cancelled()
        };
        self.tracker.spawn(watched(part, stop, is_over, task));
    }
}

/// Runs a task until it ends when it may: when `is_over`. `stop` cuts the pauses short.
pub async fn watched<A: Future<Output = ()>>(
    part: Part,
    stop: CancellationToken,
    is_over: impl Fn() -> bool,
    mut task: impl FnMut() -> A,
) {
    let mut backoff = Backoff::SERVER;
    loop {
        let began = Instant::now();
        let ended = {
            // the call itself too: it may panic before its future exists
            let mut running = std::pin::pin!(AssertUnwindSafe(async { task().await }).catch_unwind());
            tokio::select! {
                ended = &mut running => ended,
                () = sleep(PROBATION), if part.is_degraded() => {
                    part.recover();
                    running.await
                }
            }
        };
        if is_over() {
            return;
        }
        match ended {
            Ok(()) => part.restart("it returned"),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                part.restart(&one_line(&format!("it panicked: {}", text.unwrap_or("no message")), MAX_REASON_CHARS));
            }
        }
        stop.run_until_cancelled(sleep(backoff.after(began.elapsed(), false))).await;
        if is_over() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_by_itself_runs_again_and_is_degraded_until_it_has_for_a_while() {
        let (stop, runs) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let health = Health::default();
        let tasks =
            Tasks { tracker: TaskTracker::new(), stop: stop.clone(), health: health.clone(), clock: Clock::default() };
        let (counted, told) = (Arc::clone(&runs), stop.clone());
        tasks.spawn("relay", move || {
            let (run, told) = (counted.fetch_add(1, Ordering::SeqCst), told.clone());
            // before its future exists
            assert_ne!(run, 0, "as asked");
            async move {
                assert_ne!(run, 1, "as asked");
                if run > 2 {
                    told.cancelled().await;
                }
            }
        });
        while runs.load(Ordering::SeqCst) < 4 {
            sleep(Duration::from_millis(10)).await;
        }
        let state = health.parts().remove(0);
        assert_eq!((state.degraded, state.restarts, state.part.as_str()), (true, 3, "relay"));
        sleep(PROBATION + Duration::from_millis(1)).await;
        assert!(!health.parts()[0].degraded);
        stop.cancel();
        tasks.tracker.close();
        tasks.tracker.wait().await;
        assert_eq!(runs.load(Ordering::SeqCst), 4, "told to stop, it stays away");
    }
}
