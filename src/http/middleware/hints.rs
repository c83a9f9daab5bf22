//! What requests say about settings that do not fit: for the log, once for each thing that arrived, and only so often.
//!
//! Strangers send whatever they like, as often as they like. So the lines of a kind have a budget, and once it is spent what
//! arrives most often comes first: what a proxy does to every request is told however many inventions come between.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::text::loggable;

/// Lines of one kind that may come at once …
const BURST: u32 = 10;
/// … and how long it takes until there may be another one.
const INTERVAL: Duration = Duration::from_mins(10);
/// Things of one kind that are told apart. One that is more than this part of all that arrives is among them (Metwally,
/// Agrawal, El Abbadi: Efficient computation of frequent and top-k elements in data streams, 2005).
const MAX_COUNTED: usize = 64;

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hint {
    /// A host that is none of ours.
    Host,
    /// http where we are to be reached by https, or the other way round.
    Scheme,
    /// An entry of `X-Forwarded-For` that is no address.
    ForwardedFor,
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
            Hint::ForwardedFor => {
                "an entry of X-Forwarded-For is no address, so such requests count for the proxy; have the proxy set the \
                 header instead of passing on what it was sent"
            }
        }
    }
}

/// What has arrived and been told. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints(Arc<Mutex<BTreeMap<Hint, Arrivals>>>);

/// What has arrived of one kind.
#[derive(Debug)]
struct Arrivals {
    counts: HashMap<String, Count>,
    budget: u32,
    /// When the budget last grew or began to be spent.
    since: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    requests: u64,
    told: bool,
}

impl Default for Arrivals {
    fn default() -> Self {
        Arrivals { counts: HashMap::new(), budget: BURST, since: Instant::now() }
    }
}

impl Hints {
    /// Counts that this arrived, and says once what did and what was expected, if there may be a line.
    pub(super) fn tell(&self, hint: Hint, arrived: &str, expected: &str) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let arrivals = kinds.entry(hint).or_default();
        arrivals.count(loggable(arrived));
        let Some((arrived, requests)) = arrivals.next_line() else { return };
        drop(kinds);
        tracing::warn!(arrived, expected, requests, "{}", hint.words());
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<(Hint, String)> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |(hint, arrivals): (&Hint, &Arrivals)| {
            let told = arrivals.counts.iter().filter(|(_, count)| count.told);
            told.map(|(arrived, _)| (*hint, arrived.clone())).collect::<Vec<_>>()
        };
        kinds.iter().flat_map(told).collect()
    }
}

impl Arrivals {
    fn count(&mut self, arrived: String) {
        if let Some(count) = self.counts.get_mut(&arrived) {
            count.requests += 1;
            return;
        }
        let mut requests = 0;
        if self.counts.len() >= MAX_COUNTED {
            // who takes the place of the rarest takes over its number: it may have come as often and been displaced
            let rarest = self.counts.iter().min_by_key(|(_, count)| count.requests);
            if let Some((rarest, count)) = rarest.map(|(arrived, count)| (arrived.clone(), *count)) {
                self.counts.remove(&rarest);
                requests = count.requests;
            }
        }
        self.counts.insert(arrived, Count { requests: requests + 1, told: false });
    }

    /// The most frequent thing that was not told, if there may be a line about it.
    fn next_line(&mut self) -> Option<(String, u64)> {
        let grown = self.since.elapsed().as_secs() / INTERVAL.as_secs();
        if self.budget >= BURST || grown > 0 {
            self.since = Instant::now();
            self.budget = self.budget.saturating_add(u32::try_from(grown).unwrap_or(BURST)).min(BURST);
        }
        let untold = self.counts.iter_mut().filter(|(_, count)| !count.told);
        let (arrived, count) = untold.max_by_key(|(_, count)| count.requests)?;
        self.budget = self.budget.checked_sub(1)?;
        count.told = true;
        Some((arrived.clone(), count.requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://id.example.org";

    #[tokio::test(start_paused = true)]
    async fn each_is_told_once_and_only_so_many() {
        let hints = Hints::default();
        for _ in 0..3 {
            for number in 0..20 {
                hints.tell(Hint::Host, &format!("host-{number}.example"), OURS);
            }
            hints.tell(Hint::Scheme, OURS, "http://id.example.org");
        }
        assert_eq!(hints.told().len(), BURST as usize + 1, "{:?}", hints.told());
    }

    /// Ten inventions silenced the one that the operator needs.
    #[tokio::test(start_paused = true)]
    async fn what_comes_most_often_is_told_however_much_a_stranger_invents() {
        let hints = Hints::default();
        let mut invented = 0..;
        let mut flood = |hints: &Hints| {
            for number in invented.by_ref().take(1_000) {
                hints.tell(Hint::Host, &format!("host-{number}.example"), OURS);
                if number % 20 == 0 {
                    hints.tell(Hint::Host, "id.example.org:8443", OURS);
                }
            }
        };
        let is_told = |hints: &Hints| hints.told().iter().any(|(_, arrived)| arrived == "id.example.org:8443");
        // all but the first: it is among what was told before anything else came
        for number in 0..BURST {
            hints.tell(Hint::Host, &format!("first-{number}.example"), OURS);
        }
        flood(&hints);
        assert!(!is_told(&hints), "the budget is spent");
        tokio::time::advance(INTERVAL).await;
        hints.tell(Hint::Host, "one-more.example", OURS);
        assert!(is_told(&hints), "{:?}", hints.told());
        assert!(hints.0.lock().unwrap()[&Hint::Host].counts.len() <= MAX_COUNTED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_an_hour_has_as_many_lines_as_the_budget_and_its_growth() {
        let (hints, mut lines) = (Hints::default(), 0);
        for number in 0..3_600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            let mut kinds = hints.0.lock().unwrap();
            let arrivals = kinds.entry(Hint::ForwardedFor).or_default();
            arrivals.count(number.to_string());
            lines += u32::from(arrivals.next_line().is_some());
        }
        assert!((BURST..=BURST + 6).contains(&lines), "{lines}");
    }
}
