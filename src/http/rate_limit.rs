//! How often a network may ask for something costly. In memory and per process; what an account may suffer is counted
//! in the database, not here.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;

use crate::http::problem::Problem;

/// Networks that are told apart. Past that, new ones share [`SHARED_BUDGETS`] budgets, so that a stranger with endless addresses
/// fills neither our memory nor everybody's budget.
const MAX_NETWORKS: usize = 50_000;

/// The budgets that are shared by the networks there is no room for.
const SHARED_BUDGETS: u64 = 1_024;

/// Mails a minute that are counted on where no setting says less: four senders and a server that takes a second for each.
const MAX_MAILS: u32 = 240;

/// A budget per network: `burst` at once, refilled at an even rate (GCRA).
#[derive(Debug)]
pub struct Limiter {
    budgets: Option<Budgets>,
}

#[derive(Debug)]
struct Budgets {
    networks: RateLimiter<IpNet, HashMapStateStore<IpNet>, DefaultClock>,
    shared: RateLimiter<u64, HashMapStateStore<u64>, DefaultClock>,
    hasher: RandomState,
    max_networks: usize,
    start: Instant,
    // Seconds since the start, plus one, of the last sweep: a full table is swept once a second, not once a request.
    swept: AtomicU64,
}

/// Over budget; the next try will be let through after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl From<RetryAfter> for Problem {
    fn from(RetryAfter(wait): RetryAfter) -> Self {
        Self::too_many_requests(wait)
    }
}

/// How often a network may ask for what is costly or can be guessed at.
#[derive(Debug)]
pub struct RateLimits {
    /// Registrations.
    pub register: Limiter,
    /// Logins.
    pub login: Limiter,
    /// Confirmations.
    pub confirm: Limiter,
}

impl RateLimits {
    /// One a second with some to spare, or none at all. A registration causes a mail, and mails go one after the other: of
    /// `mails` a minute a network may cause a quarter, and no more at once than are sent in some seconds, so that nobody's
    /// mail waits long behind those of another network.
    #[must_use]
    pub fn new(on: bool, mails: Option<NonZeroU32>) -> Self {
        let limiter = |per_minute, burst| if on { Limiter::new(per_minute, burst) } else { Limiter::off() };
        let mails = mails.map_or(MAX_MAILS, |mails| mails.get().min(MAX_MAILS));
        let register = limiter(mails / 4, mails / 12);
        RateLimits { register, login: limiter(60, 60), confirm: limiter(60, 60) }
    }
}

impl Limiter {
    /// A budget of `burst` requests that refills at `per_minute`. Zero counts as one.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self::with_max_networks(per_minute, burst, MAX_NETWORKS)
    }

    /// Lets everything through (`BELLHOP_LIMITS=off`).
    #[must_use]
    pub fn off() -> Self {
        Self { budgets: None }
    }

    fn with_max_networks(per_minute: u32, burst: u32, max_networks: usize) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(per_minute)).allow_burst(at_least_one(burst));
        Self {
            budgets: Some(Budgets {
                networks: RateLimiter::hashmap(quota),
                shared: RateLimiter::hashmap(quota),
                hasher: RandomState::new(),
                max_networks,
                start: Instant::now(),
                swept: AtomicU64::new(0),
            }),
        }
    }

    /// Counts one request of `network`.
    ///
    /// # Errors
    /// When its budget is used up.
    pub fn check(&self, network: IpNet) -> Result<(), RetryAfter> {
        let Some(budgets) = &self.budgets else { return Ok(()) };
        let verdict = if budgets.has_room() {
            budgets.networks.check_key(&network)
        } else {
            budgets.shared.check_key(&(budgets.hasher.hash_one(network) % SHARED_BUDGETS))
        };
        verdict.map_err(|not_until| RetryAfter(not_until.wait_time_from(DefaultClock::default().now())))
    }
}

impl Budgets {
    /// Whether another network may be remembered; forgets those whose budget is full again.
    fn has_room(&self) -> bool {
        if self.networks.len() < self.max_networks {
            return true;
        }
        let second = self.start.elapsed().as_secs() + 1;
        if self.swept.swap(second, Ordering::Relaxed) != second {
            self.networks.retain_recent();
        }
        self.networks.len() < self.max_networks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u32) -> IpNet {
        IpNet::from(std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn past_its_burst_a_network_waits_and_others_do_not() {
        let limiter = Limiter::new(1, 3);
        for _ in 0..3 {
            assert_eq!(limiter.check(network(1)), Ok(()));
        }
        let RetryAfter(wait) = limiter.check(network(1)).unwrap_err();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_mins(1), "{wait:?}");
        assert_eq!(limiter.check(network(2)), Ok(()));
    }

    #[test]
    fn a_limiter_that_is_off_counts_nothing() {
        let limiter = Limiter::off();
        assert!((0..10_000).all(|_| limiter.check(network(1)).is_ok()));
    }

    #[test]
    fn memory_is_bounded_however_many_networks_come() {
        let limiter = Limiter::with_max_networks(1, 1, 100);
        for n in 0..20_000 {
            let _ = limiter.check(network(n));
        }
        let budgets = limiter.budgets.unwrap();
        assert!(budgets.networks.len() <= 100);
        assert!(budgets.shared.len() <= 1_024);
    }

    #[test]
    fn what_found_no_room_is_still_limited() {
        let limiter = Limiter::with_max_networks(1, 5, 1);
        assert_eq!(limiter.check(network(1)), Ok(()));
        let passed = (0..100).filter(|_| limiter.check(network(2)).is_ok()).count();
        assert_eq!(passed, 5);
    }

    #[test]
    fn two_hundred_at_once_share_one_budget() {
        let limiter = Limiter::new(1, 5);
        let passed = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..200).map(|_| scope.spawn(|| limiter.check(network(1)).is_ok())).collect();
            tries.into_iter().map(|one| one.join().unwrap()).filter(|passed| *passed).count()
        });
        assert_eq!(passed, 5);
    }
}
