//! Argon2id on a small pool of threads: the ceiling of the whole product, and the one place that compares passwords.
//!
//! As many threads as cores, each with memory of its own that is used again; after a quiet minute both are gone. The
//! queue before them is bounded and fair ([`super::fair_queue`]): who finds no place is told [`Overloaded`]. No
//! transaction is open while somebody waits here.

mod argon2id;
mod phc_string;

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use subtle::ConstantTimeEq as _;

use self::argon2id::{Argon2id, Choice, Memory};
pub use self::phc_string::Cost;
use self::phc_string::{OUTPUT, PhcString, SALT};
use crate::account::credentials::fair_pool::{FairPool, Place};
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::policy::Password;
use crate::config::HashKernel;
use crate::error::Overloaded;

/// What a commit may wait for others for each who is served first (a hash takes several times as long) …
const COMMIT_DELAY: Duration = Duration::from_micros(1_500);
/// … and in all.
const MAX_COMMIT_DELAY: Duration = Duration::from_millis(20);

thread_local! {
    /// What a thread of a pool hashes in.
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// What comparing a password with a stored hash said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is the password.
    pub right: bool,
    /// The hash costs less than it would today; hash the password anew while it is at hand.
    pub outdated: bool,
}

/// The pool. Clones are the same pool; its threads end with the last one.
#[derive(Clone, Debug)]
pub struct Hasher {
    pool: Arc<FairPool>,
    duration: Arc<UsualDuration>,
    argon2id: Argon2id,
    choice: Arc<Choice>,
    cost: Cost,
    /// A hash of nothing in particular, at today's cost: what is compared when there is nothing to compare with.
    dummy_hash: Arc<PhcString>,
}

/// How long it takes to compare at today's cost here, as a rule: half of them take longer. In nanoseconds; 0 before the
/// first.
#[derive(Debug, Default)]
struct UsualDuration(AtomicU64);

impl UsualDuration {
    fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |usual| {
            // a step towards each is as many steps up as down at the median
            Some(match usual {
                0 => took,
                _ if took > usual => usual + usual / 32,
                _ => usual - usual / 32,
            })
        });
    }

    fn usual(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::Relaxed)).filter(|usual| *usual > 0).map(Duration::from_nanos)
    }
}

/// A place in the queue or at a thread. It may have to give way to somebody else while no hash is at work for it.
#[derive(Debug)]
pub struct Permit<'a> {
    hasher: &'a Hasher,
    place: Place<'a>,
}

impl Hasher {
    /// A pool of at most `threads` threads, each started when it is needed, with room for `queue` to wait. Tries the
    /// fast kernel first unless the setting forbids it; the log says how long that took.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn start(threads: NonZeroUsize, queue: usize, cost: Cost, kernel: HashKernel) -> anyhow::Result<Self> {
        let (argon2id, choice) = Argon2id::choose(kernel, cost, random()?);
        // the next hash overwrites what this one left; where none comes, it is wiped before the thread rests
        let pool = FairPool::start("hash", threads, queue, || MEMORY.with_borrow_mut(Memory::wipe))?;
        let dummy_hash = Arc::new(PhcString { cost, salt: random()?, hash: [0; OUTPUT] });
        Ok(Hasher {
            pool: Arc::new(pool),
            duration: Arc::default(),
            argon2id,
            choice: Arc::new(choice),
            cost,
            dummy_hash,
        })
    }

    /// A hash that no password has, at today's cost.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn of_nothing(&self) -> anyhow::Result<String> {
        Ok(PhcString { cost: self.cost, salt: random()?, hash: random()? }.to_string())
    }

    /// Says in one line of the log which kernel serves, and why.
    pub fn log_kernel(&self) {
        self.choice.log();
    }

    /// Takes a permit before anything else is done for somebody, so that who is sent away is sent away at once.
    ///
    /// # Errors
    /// When there is no place for this client.
    pub fn acquire(&self, client: &Client) -> Result<Permit<'_>, Overloaded> {
        Ok(Permit { hasher: self, place: self.pool.enter(client)? })
    }

    /// How long the commit of what comes after a hash may wait for others: not at all while nobody waits for a thread,
    /// then the longer the more of those who wait would be served before another of this client; where it is nobody's,
    /// all of them.
    #[must_use]
    pub fn commit_delay(&self, client: Option<&Client>) -> Duration {
        let waiting = match client {
            Some(client) => self.pool.before(client),
            None => self.pool.pending().saturating_sub(self.pool.threads()),
        };
        COMMIT_DELAY.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX)).min(MAX_COMMIT_DELAY)
    }

    /// Whether every thread is at work.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.pool.pending() >= self.pool.threads()
    }

    /// As [`Permit::hash`], with a permit of its own.
    ///
    /// # Errors
    /// [`Overloaded`] when there is no place for this client; anything else is the system's.
    pub async fn hash(&self, client: &Client, password: Password) -> anyhow::Result<String> {
        self.acquire(client)?.hash(password).await
    }

    /// As [`Permit::verify`], with a permit of its own.
    ///
    /// # Errors
    /// [`Overloaded`] when there is no place for this client; a stored hash that is none of ours; anything else is the
    /// system's.
    pub async fn verify(
        &self,
        client: &Client,
        password: Password,
        stored: Option<&str>,
    ) -> anyhow::Result<(Verdict, Password)> {
        self.acquire(client)?.verify(password, stored).await
    }
}

impl Permit<'_> {
    /// The hash of a new password, as a PHC string with its parameters.
    ///
    /// # Errors
    /// [`Overloaded`] when the place was given to somebody else; anything else is the system's.
    pub async fn hash(&self, password: Password) -> anyhow::Result<String> {
        let (cost, salt) = (self.hasher.cost, random()?);
        let (_, hash) = self.run(password, salt, cost, false).await?;
        Ok(PhcString { cost, salt, hash }.to_string())
    }

    /// Compares a password with a stored hash, or with a dummy of today's cost when there is none: an address that
    /// nobody has takes as long as one that somebody has. One of an older cost takes as long, for the same reason.
    /// Gives the password back for [`Permit::hash`].
    ///
    /// # Errors
    /// [`Overloaded`] when the place was given to somebody else; a stored hash that is none of ours; anything else is
    /// the system's.
    pub async fn verify(&self, password: Password, stored: Option<&str>) -> anyhow::Result<(Verdict, Password)> {
        let today = self.hasher.cost;
        let parsed = stored.map(PhcString::parse);
        let stored = match &parsed {
            Some(parsed) => parsed.as_ref().ok_or_else(|| anyhow::anyhow!("a stored hash cannot be read"))?,
            None => &self.hasher.dummy_hash,
        };
        let (password, hash) = self.run(password, stored.salt, stored.cost, true).await?;
        let same: bool = hash.ct_eq(&stored.hash).into();
        let outdated = stored.cost.memory < today.memory || stored.cost.passes < today.passes;
        let real = parsed.is_some();
        Ok((Verdict { right: same && real, outdated: real && outdated }, password))
    }

    /// Hashes; to compare, it takes no less time than that takes at today's cost.
    async fn run(
        &self,
        password: Password,
        salt: [u8; SALT],
        cost: Cost,
        compares: bool,
    ) -> anyhow::Result<(Password, [u8; OUTPUT])> {
        let (argon2id, today, duration) = (self.hasher.argon2id, self.hasher.cost, Arc::clone(&self.hasher.duration));
        let work = move || {
            MEMORY.with_borrow_mut(|memory| {
                let mut hash_at = |cost| argon2id.hash(password.expose().as_bytes(), &salt, cost, memory);
                let began = Instant::now();
                let hash = hash_at(cost);
                if compares && cost == today {
                    duration.note(began.elapsed());
                } else if compares {
                    if duration.usual().is_none() {
                        let began = Instant::now();
                        hash_at(today);
                        duration.note(began.elapsed());
                    }
                    let is_short = || duration.usual().is_some_and(|usual| began.elapsed() < usual);
                    // by parts: how long a smaller hash takes beside a larger one is not to be calculated
                    let part = Cost { memory: (today.memory / 16).max(8), passes: 1 };
                    while is_short() && hash_at(part).is_some() {}
                }
                hash.map(|hash| (password, hash))
            })
        };
        self.place.run(work).await?.context("the hash threads cannot work with these parameters")
    }
}

fn random<const LEN: usize>() -> anyhow::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static NOBODY: LazyLock<Client> = LazyLock::new(Client::default);

    const CHEAP: Cost = Cost { memory: 64, passes: 2 };

    fn hasher(queue: usize, cost: Cost) -> Hasher {
        Hasher::start(NonZeroUsize::MIN, queue, cost, HashKernel::Auto).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::normalise(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_right_wrong_or_compared_with_a_dummy_hash() {
        let hasher = hasher(4, CHEAP);
        let stored = hasher.hash(&NOBODY, password("correct horse battery")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{stored}");
        let right = hasher.verify(&NOBODY, password("correct horse battery"), Some(&stored)).await.unwrap().0;
        assert_eq!(right, Verdict { right: true, outdated: false });
        assert!(!hasher.verify(&NOBODY, password("correct horse batterz"), Some(&stored)).await.unwrap().0.right);
        assert!(!hasher.verify(&NOBODY, password("correct horse battery"), None).await.unwrap().0.right);
        assert_ne!(stored, hasher.hash(&NOBODY, password("correct horse battery")).await.unwrap(), "salts differ");
    }

    #[tokio::test]
    async fn a_cheaper_hash_is_outdated_and_a_dearer_one_is_not() {
        let (cheap, dear) = (hasher(4, CHEAP), hasher(4, Cost { passes: 3, ..CHEAP }));
        let old = cheap.hash(&NOBODY, password("correct horse battery")).await.unwrap();
        assert_eq!(
            dear.verify(&NOBODY, password("correct horse battery"), Some(&old)).await.unwrap().0,
            Verdict { right: true, outdated: true }
        );
        let new = dear.hash(&NOBODY, password("correct horse battery")).await.unwrap();
        assert!(!cheap.verify(&NOBODY, password("correct horse battery"), Some(&new)).await.unwrap().0.outdated);
    }

    /// F43.
    #[tokio::test]
    async fn a_cheaper_hash_costs_what_todays_costs() {
        let today = Cost { memory: 8_192, passes: 4 };
        let (old, new) = (hasher(4, CHEAP), hasher(4, today));
        let stored = old.hash(&NOBODY, password("correct horse battery")).await.unwrap();
        let quickest = async |stored: Option<&str>| {
            let mut quickest = Duration::MAX;
            for _ in 0..7 {
                let since = Instant::now();
                new.verify(&NOBODY, password("incorrect horse battery"), stored).await.unwrap();
                quickest = quickest.min(since.elapsed());
            }
            quickest
        };
        let (known, unknown) = (quickest(Some(&stored)).await, quickest(None).await);
        // without the difference it is a hundredth
        assert!(known > unknown / 2, "{known:?} for a row of old, {unknown:?} for none");
    }

    #[tokio::test]
    async fn past_the_queue_the_answer_is_overloaded() {
        let hasher = hasher(1, Cost { memory: 65_536, passes: 10 });
        let asked: Vec<_> = (0..8).map(|_| hasher.verify(&NOBODY, password("correct horse battery"), None)).collect();
        let answers = futures_util::future::join_all(asked).await;
        let overloaded =
            answers.iter().filter(|answer| answer.as_ref().is_err_and(anyhow::Error::is::<Overloaded>)).count();
        // one at work at the most and one in the queue: at least six were sent away
        assert!((6..8).contains(&overloaded), "{overloaded} of 8 were sent away");
    }

    #[tokio::test]
    async fn a_thread_that_nobody_waits_for_rests_with_wiped_memory() {
        let hasher = hasher(4, CHEAP);
        let asked: Vec<_> = (0..5).map(|_| hasher.verify(&NOBODY, password("correct horse battery"), None)).collect();
        assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_ok));
        // the one thread comes to this when it is done with the last of them
        assert!(hasher.pool.at_rest(|| MEMORY.with_borrow(Memory::is_wiped)).await);
    }

    #[tokio::test]
    async fn it_is_busy_while_every_thread_is_at_work() {
        use futures_util::FutureExt as _;
        let hasher = hasher(1, Cost { memory: 65_536, passes: 10 });
        assert!(!hasher.is_busy(), "nobody has come");
        let mut asked = std::pin::pin!(hasher.verify(&NOBODY, password("correct horse battery"), None));
        assert!(asked.as_mut().now_or_never().is_none(), "it takes its time");
        assert!(hasher.is_busy());
        asked.await.unwrap();
        while hasher.is_busy() {
            tokio::task::yield_now().await;
        }
    }
}
