//! Limits the mails in flight to each domain, so that one whose server hangs leaves connections to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Once the oldest mail to a full domain is this old, the next one fails instead of waiting.
const MAX_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct DomainLimiter {
    max_per_domain: usize,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each mail in flight began, by domain.
    in_flight: Mutex<HashMap<String, Vec<Instant>>>,
    released: Notify,
}

/// The permit of one mail: dropped when it has been sent or has failed.
#[derive(Debug)]
pub(super) struct InFlight {
    domain: String,
    since: Instant,
    state: Arc<State>,
}

impl DomainLimiter {
    /// At least one mail at a time to each domain.
    pub(super) fn new(max_per_domain: usize) -> Self {
        DomainLimiter { max_per_domain: max_per_domain.max(1), state: Arc::default() }
    }

    /// A permit for the domain of an address; none when it is full and its mails do not get through.
    pub(super) async fn acquire(&self, address: &str) -> Option<InFlight> {
        let domain = address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        loop {
            // registered before looking, so that no release is missed
            let released = self.state.released.notified();
            let oldest = {
                let mut in_flight = self.state.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
                let mails = in_flight.entry(domain.clone()).or_default();
                if mails.len() < self.max_per_domain {
                    let since = Instant::now();
                    mails.push(since);
                    return Some(InFlight { domain, since, state: Arc::clone(&self.state) });
                }
                mails.iter().min().copied()?
            };
            let _ = timeout_at(oldest + MAX_WAIT, released).await;
            if oldest.elapsed() >= MAX_WAIT {
                return None;
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut in_flight = self.state.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mails) = in_flight.get_mut(&self.domain) {
            if let Some(at) = mails.iter().position(|since| *since == self.since) {
                mails.swap_remove(at);
            }
            if mails.is_empty() {
                in_flight.remove(&self.domain);
            }
        }
        drop(in_flight);
        self.state.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_domain_is_waited_for_a_moment_and_refused_when_nothing_moves() {
        let limiter = DomainLimiter::new(2);
        let first = limiter.acquire("ann@slow.example").await.unwrap();
        let _second = limiter.acquire("bob@SLOW.example").await.unwrap();
        let began = Instant::now();
        assert!(limiter.acquire("eve@slow.example").await.is_none());
        assert_eq!(began.elapsed(), MAX_WAIT);
        assert!(limiter.acquire("eve@slow.example").await.is_none(), "at once from then on");
        assert_eq!(began.elapsed(), MAX_WAIT);
        let _elsewhere = limiter.acquire("ann@quick.example").await.expect("other domains are free");
        drop(first);
        let _third = limiter.acquire("eve@slow.example").await.expect("a permit is free");
        assert_eq!(began.elapsed(), MAX_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn where_mails_get_through_the_next_one_waits_its_turn_and_nothing_is_kept() {
        let limiter = DomainLimiter::new(1);
        for _ in 0..3 {
            let first = limiter.acquire("ann@quick.example").await.unwrap();
            let (second, ()) = tokio::join!(limiter.acquire("bob@quick.example"), async {
                tokio::time::sleep(MAX_WAIT / 2).await;
                drop(first);
            });
            drop(second.expect("its turn"));
        }
        assert!(limiter.state.in_flight.lock().unwrap().is_empty());
    }
}
