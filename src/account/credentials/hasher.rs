//! Argon2id on a small pool of threads: the ceiling of the whole product, and the one place that compares passwords.
//!
//! As many threads as cores, each with its own block memory that is used again; after a quiet minute both are gone. The
//! waiting room before them is bounded: past it the answer is [`Overloaded`], never more memory. No transaction is open while
//! somebody waits here.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::account::credentials::policy::Password;
use crate::error::Overloaded;

/// How long a thread keeps its block memory without work …
const KEEPS: Duration = Duration::from_secs(55);
/// … and how long it stays after that. The allocator gives freed memory back to the system a second later at the
/// earliest, and only when something is going on: the end of a thread is.
const STAYS: Duration = Duration::from_secs(5);

/// For each who waits for a thread (a hash takes several times as long) …
const PATIENCE: Duration = Duration::from_millis(3);
/// … and in all.
const MOST_PATIENCE: Duration = Duration::from_millis(40);

const SALT: usize = 16;
const OUTPUT: usize = 32;

/// What a hash costs. The memory is in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB; at least 19,456 outside tests (OWASP Password Storage).
    pub memory: u32,
    /// Passes over it; at least 2 outside tests.
    pub passes: u32,
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
    door: Arc<Door>,
    places: Arc<Semaphore>,
    cost: Cost,
    /// A hash of nothing in particular, at today's cost: what is compared when there is nothing to compare with.
    decoy: Arc<Phc>,
}

/// Held by every handle and by no thread: when the last one goes, so do the threads.
#[derive(Debug)]
struct Door(Arc<Room>);

#[derive(Debug)]
struct Room {
    waiting: Mutex<Waiting>,
    bell: Condvar,
    /// Threads at once, at most.
    most: usize,
}

/// A place in the waiting room or at a thread. Whoever has one is not sent away any more.
#[derive(Clone, Debug)]
pub struct Seat<'a> {
    hasher: &'a Hasher,
    place: Arc<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Threads there are, and those of them that wait for work.
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    password: Password,
    phc: Phc,
    /// Taken until the work is done, also when whoever asked has gone away.
    place: Arc<OwnedSemaphorePermit>,
    reply: oneshot::Sender<Option<(Password, [u8; OUTPUT])>>,
}

/// A hash in the form in which it is stored.
#[derive(Debug)]
struct Phc {
    cost: Cost,
    salt: [u8; SALT],
    hash: [u8; OUTPUT],
}

impl Hasher {
    /// A pool of at most `threads` threads, each started when it is needed, with `seats` places to wait.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn start(threads: NonZeroUsize, seats: usize, cost: Cost) -> anyhow::Result<Self> {
        let room = Arc::new(Room { waiting: Mutex::default(), bell: Condvar::new(), most: threads.get() });
        let places = Semaphore::new(seats.saturating_add(threads.get()).min(Semaphore::MAX_PERMITS));
        let decoy = Phc { cost, salt: salt()?, hash: [0; OUTPUT] };
        Ok(Hasher { door: Arc::new(Door(room)), places: Arc::new(places), cost, decoy: Arc::new(decoy) })
    }

    /// Takes a place before anything else is done for somebody, so that who is sent away is sent away at once.
    ///
    /// # Errors
    /// When the waiting room is full.
    pub fn seat(&self) -> Result<Seat<'_>, Overloaded> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Overloaded)?;
        Ok(Seat { hasher: self, place: Arc::new(place) })
    }

    /// How long what comes after a hash may take its time: nothing while a thread is free, then the longer the more wait.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let waiting = self.door.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).jobs.len();
        PATIENCE.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX)).min(MOST_PATIENCE)
    }

    /// Whether every thread is at work.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let room = &self.door.0;
        let waiting = room.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        !waiting.jobs.is_empty() || (waiting.threads == room.most && waiting.idle == 0)
    }

    /// As [`Seat::hash`], from the door.
    ///
    /// # Errors
    /// [`Overloaded`] when the waiting room is full; anything else is the system's.
    pub async fn hash(&self, password: Password) -> anyhow::Result<String> {
        self.seat()?.hash(password).await
    }

    /// As [`Seat::verify`], from the door.
    ///
    /// # Errors
    /// [`Overloaded`] when the waiting room is full; a stored hash that is none of ours; anything else is the system's.
    pub async fn verify(&self, password: Password, stored: Option<&str>) -> anyhow::Result<(Verdict, Password)> {
        self.seat()?.verify(password, stored).await
    }
}

impl Seat<'_> {
    /// The hash of a new password, as a PHC string with its parameters.
    ///
    /// # Errors
    /// The system's.
    pub async fn hash(&self, password: Password) -> anyhow::Result<String> {
        let cost = self.hasher.cost;
        let phc = Phc { cost, salt: salt()?, hash: [0; OUTPUT] };
        let salt = phc.salt;
        let (_, hash) = self.run(password, phc).await?;
        Ok(Phc { cost, salt, hash }.to_string())
    }

    /// Compares a password with a stored hash, or with a decoy of today's cost when there is none: an address that
    /// nobody has takes as long as one that somebody has. Gives the password back for [`Seat::hash`].
    ///
    /// # Errors
    /// A stored hash that is none of ours; anything else is the system's.
    pub async fn verify(&self, password: Password, stored: Option<&str>) -> anyhow::Result<(Verdict, Password)> {
        let Hasher { cost: today, decoy, .. } = self.hasher;
        let (phc, real) = match stored {
            Some(stored) => (Phc::parse(stored).ok_or_else(|| anyhow::anyhow!("a stored hash cannot be read"))?, true),
            None => (Phc { cost: *today, salt: decoy.salt, hash: decoy.hash }, false),
        };
        let (expected, cost) = (phc.hash, phc.cost);
        let (password, hash) = self.run(password, phc).await?;
        let same: bool = hash.ct_eq(&expected).into();
        let outdated = cost.memory < today.memory || cost.passes < today.passes;
        Ok((Verdict { right: same && real, outdated: real && outdated }, password))
    }

    async fn run(&self, password: Password, phc: Phc) -> anyhow::Result<(Password, [u8; OUTPUT])> {
        let room = &self.hasher.door.0;
        let (reply, answer) = oneshot::channel();
        room.take(Job { password, phc, place: Arc::clone(&self.place), reply })?;
        answer.await.ok().flatten().ok_or_else(|| anyhow::anyhow!("the hash threads cannot work with these parameters"))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.bell.notify_all();
    }
}

impl Room {
    /// Queues a job, with one more thread if all are busy and there may be more.
    fn take(self: &Arc<Self>, job: Job) -> std::io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.jobs.len() >= waiting.idle && waiting.threads < self.most {
            let room = Arc::clone(self);
            let started = std::thread::Builder::new().name("hash".to_owned()).spawn(move || room.work());
            match started {
                Ok(_) => waiting.threads += 1,
                // those that are there will come to it
                Err(_) if waiting.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        waiting.jobs.push_back(job);
        self.bell.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut blocks = Vec::new();
        while let Some(job) = self.next(&mut blocks) {
            // whoever asked has gone away: spare the work
            if job.reply.is_closed() {
                continue;
            }
            let hash = kernel(job.password.expose().as_bytes(), &job.phc.salt, job.phc.cost, &mut blocks);
            let Job { password, place, reply, .. } = job;
            // still kept by who waits for the answer, unless nobody does
            drop(place);
            let _ = reply.send(hash.map(|hash| (password, hash)));
        }
    }

    /// The next job, or none when this thread is to end.
    fn next(&self, blocks: &mut Vec<Block>) -> Option<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            let mut ends = waiting.closed;
            if !ends {
                let patience = if blocks.is_empty() { STAYS } else { KEEPS };
                waiting.idle += 1;
                let limit;
                (waiting, limit) = self.bell.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
                waiting.idle -= 1;
                if limit.timed_out() && waiting.jobs.is_empty() {
                    ends = blocks.is_empty();
                    *blocks = Vec::new();
                }
            }
            if ends {
                waiting.threads -= 1;
                return None;
            }
        }
    }
}

/// The hash itself (RFC 9106): everything else in Bellhop waits for this function, so a faster one goes here.
fn kernel(password: &[u8], salt: &[u8; SALT], cost: Cost, blocks: &mut Vec<Block>) -> Option<[u8; OUTPUT]> {
    let params = argon2::Params::new(cost.memory, cost.passes, 1, Some(OUTPUT)).ok()?;
    if blocks.len() < params.block_count() {
        blocks.resize(params.block_count(), Block::default());
    }
    let mut hash = [0; OUTPUT];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, &mut hash, blocks.as_mut_slice())
        .ok()?;
    Some(hash)
}

fn salt() -> anyhow::Result<[u8; SALT]> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(salt)
}

impl std::fmt::Display for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cost { memory, passes } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(self.salt), STANDARD_NO_PAD.encode(self.hash));
        write!(f, "$argon2id$v=19$m={memory},t={passes},p=1${salt}${hash}")
    }
}

impl Phc {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("$argon2id$v=19$m=")?.split('$');
        let (memory, rest) = fields.next()?.split_once(",t=")?;
        let passes = rest.strip_suffix(",p=1")?;
        let salt = STANDARD_NO_PAD.decode(fields.next()?).ok()?.try_into().ok()?;
        let hash = STANDARD_NO_PAD.decode(fields.next()?).ok()?.try_into().ok()?;
        fields.next().is_none().then_some(())?;
        Some(Phc { cost: Cost { memory: memory.parse().ok()?, passes: passes.parse().ok()? }, salt, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory: 64, passes: 2 };

    fn hasher(seats: usize, cost: Cost) -> Hasher {
        Hasher::start(NonZeroUsize::MIN, seats, cost).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::normalise(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_right_wrong_or_compared_with_a_decoy() {
        let hasher = hasher(4, CHEAP);
        let stored = hasher.hash(password("correct horse battery")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{stored}");
        let right = hasher.verify(password("correct horse battery"), Some(&stored)).await.unwrap().0;
        assert_eq!(right, Verdict { right: true, outdated: false });
        assert!(!hasher.verify(password("correct horse batterz"), Some(&stored)).await.unwrap().0.right);
        assert!(!hasher.verify(password("correct horse battery"), None).await.unwrap().0.right);
        assert_ne!(stored, hasher.hash(password("correct horse battery")).await.unwrap(), "salts differ");
    }

    #[tokio::test]
    async fn a_cheaper_hash_is_outdated_and_a_dearer_one_is_not() {
        let (cheap, dear) = (hasher(4, CHEAP), hasher(4, Cost { passes: 3, ..CHEAP }));
        let old = cheap.hash(password("correct horse battery")).await.unwrap();
        assert_eq!(
            dear.verify(password("correct horse battery"), Some(&old)).await.unwrap().0,
            Verdict { right: true, outdated: true }
        );
        let new = dear.hash(password("correct horse battery")).await.unwrap();
        assert!(!cheap.verify(password("correct horse battery"), Some(&new)).await.unwrap().0.outdated);
    }

    #[tokio::test]
    async fn past_the_waiting_room_the_answer_is_busy() {
        let hasher = hasher(1, Cost { memory: 65_536, passes: 10 });
        let asked: Vec<_> = (0..8).map(|_| hasher.verify(password("correct horse battery"), None)).collect();
        let answers = futures_util::future::join_all(asked).await;
        let busy = answers.iter().filter(|answer| answer.as_ref().is_err_and(anyhow::Error::is::<Overloaded>)).count();
        // one at work at the most and one in the room: at least six were sent away
        assert!((6..8).contains(&busy), "{busy} of 8 were sent away");
    }

    #[tokio::test]
    async fn it_is_busy_while_every_thread_is_at_work() {
        use futures_util::FutureExt as _;
        let hasher = hasher(1, Cost { memory: 65_536, passes: 10 });
        assert!(!hasher.is_busy(), "nobody has come");
        let mut asked = std::pin::pin!(hasher.verify(password("correct horse battery"), None));
        assert!(asked.as_mut().now_or_never().is_none(), "it takes its time");
        assert!(hasher.is_busy());
        asked.await.unwrap();
        while hasher.is_busy() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn the_kernel_agrees_with_the_reference_program() {
        // echo -n password | argon2 0123456789abcdef -id -t 2 -k 256 -p 1 -l 32 -r
        let expected = "af68303f330618efe38c8691de4066aff59f8e075c48609c0df5f257419e0809";
        let mut blocks = Vec::new();
        for _ in 0..2 {
            // the second time in memory that was used before
            let hash = kernel(b"password", b"0123456789abcdef", Cost { memory: 256, passes: 2 }, &mut blocks).unwrap();
            assert_eq!(hash.map(|byte| format!("{byte:02x}")).concat(), expected);
        }
    }

    #[test]
    fn a_text_that_is_no_hash_of_ours_is_none() {
        let good = Phc { cost: CHEAP, salt: [1; SALT], hash: [2; OUTPUT] }.to_string();
        assert!(Phc::parse(&good).is_some());
        for wrong in [
            "",
            "$2b$12$abc",
            &good.replace("argon2id", "argon2i"),
            &good.replace("p=1", "p=2"),
            &good[..good.len() - 1],
            &format!("{good}$x"),
        ] {
            assert!(Phc::parse(wrong).is_none(), "{wrong}");
        }
    }
}
