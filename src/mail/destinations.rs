//! No destination takes up every way out: a domain whose mails hang leaves one to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long mails to one domain may be under way before the next one to it is put off instead of waiting for them.
const PATIENCE: Duration = Duration::from_secs(1);

/// The mails that are under way, by domain.
#[derive(Debug)]
pub(super) struct Destinations {
    most: usize,
    under_way: Arc<Mutex<HashMap<String, Vec<Instant>>>>,
    left: Arc<Notify>,
}

/// A mail that is under way; it has arrived or failed when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    domain: String,
    since: Instant,
    all: Arc<Mutex<HashMap<String, Vec<Instant>>>>,
    left: Arc<Notify>,
}

impl Destinations {
    /// At most so many mails to one domain at a time, and at least one.
    pub(super) fn new(most: usize) -> Self {
        Destinations { most: most.max(1), under_way: Arc::default(), left: Arc::default() }
    }

    /// Sets out for the domain of an address; none when too many are under way there and do not arrive.
    pub(super) async fn set_out(&self, address: &str) -> Option<UnderWay> {
        let domain = address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        loop {
            // listen before looking: who leaves meanwhile is not missed
            let left = self.left.notified();
            let oldest = {
                let mut all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
                let there = all.entry(domain.clone()).or_default();
                if there.len() < self.most {
                    let since = Instant::now();
                    there.push(since);
                    let (all, left) = (Arc::clone(&self.under_way), Arc::clone(&self.left));
                    return Some(UnderWay { domain, since, all, left });
                }
                there.iter().min().copied()?
            };
            // in time somebody has left and it is looked at again, or those that are there hang
            let _ = timeout_at(oldest + PATIENCE, left).await;
            if oldest.elapsed() >= PATIENCE {
                return None;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = all.get_mut(&self.domain) {
            if let Some(at) = there.iter().position(|since| *since == self.since) {
                there.swap_remove(at);
            }
            if there.is_empty() {
                all.remove(&self.domain);
            }
        }
        drop(all);
        self.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_a_domain_full_waits_a_moment_and_is_put_off_when_nothing_moves() {
        let destinations = Destinations::new(2);
        let first = destinations.set_out("ann@slow.example").await.unwrap();
        let _second = destinations.set_out("bob@SLOW.example").await.unwrap();
        let began = Instant::now();
        assert!(destinations.set_out("eve@slow.example").await.is_none());
        assert_eq!(began.elapsed(), PATIENCE);
        assert!(destinations.set_out("eve@slow.example").await.is_none(), "at once from then on");
        assert_eq!(began.elapsed(), PATIENCE);
        let _elsewhere = destinations.set_out("ann@quick.example").await.expect("others have their way");
        drop(first);
        let _third = destinations.set_out("eve@slow.example").await.expect("there is room");
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn where_mails_arrive_the_next_one_waits_its_turn_and_nothing_is_kept() {
        let destinations = Destinations::new(1);
        for _ in 0..3 {
            let first = destinations.set_out("ann@quick.example").await.unwrap();
            let (second, ()) = tokio::join!(destinations.set_out("bob@quick.example"), async {
                tokio::time::sleep(PATIENCE / 2).await;
                drop(first);
            });
            drop(second.expect("its turn"));
        }
        assert!(destinations.under_way.lock().unwrap().is_empty());
    }
}
