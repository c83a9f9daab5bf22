//! Threads for what takes a processor and somebody waits for, behind a bounded queue that is fair
//! ([`super::fair_queue`]).
//!
//! Each thread is started when it is needed and ends after a quiet minute. Memory is bounded: who finds no place is
//! sent away, and whoever goes away takes what waits for them along.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::fair_queue::{Client, FairQueue, Ticket};
use crate::error::Overloaded;

/// How long a thread stays without work.
const KEEP_ALIVE: Duration = Duration::from_secs(55);

/// The pool; its threads end with it.
#[derive(Debug)]
pub(super) struct FairPool {
    /// Only its threads for what blocks are used.
    runtime: Option<Runtime>,
    threads: usize,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    at_rest: fn(),
}

struct State {
    queue: FairQueue<Job>,
    /// Threads that look for work.
    workers: usize,
}

type Job = Box<dyn FnOnce(AtWork) + Send>;

/// A place in the pool's queue or at a thread, until dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pool: &'a FairPool,
    ticket: Ticket,
}

/// A job at a thread, until dropped.
struct AtWork {
    shared: Arc<Shared>,
    ticket: Ticket,
}

impl FairPool {
    /// A pool of at most `threads` threads of this name, with room for `queue` to wait. A thread that finds nobody
    /// waiting calls `at_rest`.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(
        name: &'static str,
        threads: NonZeroUsize,
        queue: usize,
        at_rest: fn(),
    ) -> anyhow::Result<Self> {
        let threads = threads.get();
        let runtime = Builder::new_current_thread()
            .thread_name(name)
            .max_blocking_threads(threads)
            .thread_keep_alive(KEEP_ALIVE)
            .build()?;
        let state = State { queue: FairQueue::new(queue.saturating_add(threads)), workers: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), at_rest });
        Ok(FairPool { runtime: Some(runtime), threads, shared })
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn enter(&self, client: &Client) -> Result<Place<'_>, Overloaded> {
        // who gives way is told when the lock is free again
        let (ticket, _gave_way) = self.shared.lock().queue.enter(client)?;
        Ok(Place { pool: self, ticket })
    }

    /// How many threads there are at most.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Jobs at a thread and those that wait for one.
    pub(super) fn pending(&self) -> usize {
        let state = self.shared.lock();
        state.queue.at_work() + state.queue.waiting()
    }

    /// How many would be served before one more job of this client, beside those at work.
    pub(super) fn before(&self, client: &Client) -> usize {
        self.shared.lock().queue.before(client)
    }

    fn ask(&self, ticket: Ticket, job: Job) -> Result<(), Overloaded> {
        let mut state = self.shared.lock();
        state.queue.ask(ticket, job)?;
        if state.workers < self.threads {
            state.workers += 1;
            drop(state);
            let shared = Arc::clone(&self.shared);
            if let Some(runtime) = &self.runtime {
                runtime.spawn_blocking(move || shared.work());
            }
        }
        Ok(())
    }

    /// Runs at a thread once one has nothing else to do.
    #[cfg(test)]
    pub(super) async fn at_rest<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> T {
        self.runtime.as_ref().unwrap().spawn_blocking(look).await.unwrap()
    }
}

impl Place<'_> {
    /// Runs `work` at a thread when it is its turn, and not at all when whoever waits for this goes away first.
    ///
    /// # Errors
    /// [`Overloaded`] when the place was given to somebody else meanwhile; when the work panics.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        let (reply, answer) = oneshot::channel();
        let job = move |at_work: AtWork| {
            if reply.is_closed() {
                return;
            }
            let done = catch_unwind(AssertUnwindSafe(work));
            // before it is told: whoever hears it may leave, and the place is free
            drop(at_work);
            let _ = reply.send(done);
        };
        self.pool.ask(self.ticket, Box::new(job))?;
        match answer.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => bail!("the work panicked"),
            // dropped without having run
            Err(_) => Err(Overloaded.into()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works as long as somebody waits.
    fn work(self: &Arc<Self>) {
        loop {
            let next = self.lock().queue.next();
            if let Some((ticket, job)) = next {
                job(AtWork { shared: Arc::clone(self), ticket });
                continue;
            }
            (self.at_rest)();
            let mut state = self.lock();
            if state.queue.waiting() == 0 {
                state.workers -= 1;
                return;
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let _waited = self.pool.shared.lock().queue.leave(self.ticket);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.shared.lock().queue.done(self.ticket);
    }
}

impl Drop for FairPool {
    fn drop(&mut self) {
        // the last handle may go where nothing may block
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    fn pool(queue: usize) -> FairPool {
        FairPool::start("test", NonZeroUsize::MIN, queue, || RESTED.set(true)).unwrap()
    }

    thread_local! {
        static RESTED: Cell<bool> = const { Cell::new(false) };
    }

    fn client(ip: &str) -> Client {
        Client::at(ip.parse::<IpAddr>().unwrap())
    }

    /// Work that says when it begins and ends when the sender is dropped.
    fn blocker() -> (mpsc::Receiver<()>, mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let ((started, began), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
        let work = move || {
            started.send(()).unwrap();
            let _ = ended.recv();
        };
        (began, end, work)
    }

    #[tokio::test]
    async fn they_are_served_in_turns_and_who_gives_way_is_told_at_once() {
        let pool = pool(4);
        let (began, end, block) = blocker();
        let first = pool.enter(&client("192.0.2.1")).unwrap();
        let mut working = Box::pin(first.run(block));
        assert!(working.as_mut().now_or_never().is_none());
        began.recv().unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let flood: Vec<Place<'_>> = (2..6).map(|nth| pool.enter(&client(&format!("192.0.2.{nth}"))).unwrap()).collect();
        let mut waiting: Vec<_> = flood
            .iter()
            .map(|place| {
                let served = Arc::clone(&served);
                Box::pin(place.run(move || served.fetch_add(1, Ordering::SeqCst)))
            })
            .collect();
        assert!(waiting.iter_mut().all(|waiting| waiting.as_mut().now_or_never().is_none()));
        assert!(pool.enter(&client("192.0.2.9")).is_err(), "it is full");
        let elsewhere = pool.enter(&client("198.51.100.1")).unwrap();
        let told = waiting.pop().unwrap().now_or_never().expect("at once");
        assert!(told.unwrap_err().is::<Overloaded>(), "the newest of the flood");
        let before = Arc::clone(&served);
        let mut asked = Box::pin(elsewhere.run(move || before.load(Ordering::SeqCst)));
        assert!(asked.as_mut().now_or_never().is_none());
        drop(end);
        assert!(asked.await.unwrap() <= 1, "no more than one turn of the flood before it");
        assert!(working.await.is_ok());
        assert!(join_all(waiting).await.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn who_goes_away_takes_along_what_waits_and_leaves_the_place() {
        let pool = pool(1);
        let (began, end, block) = blocker();
        let first = pool.enter(&Client::default()).unwrap();
        let mut working = Box::pin(first.run(block));
        assert!(working.as_mut().now_or_never().is_none());
        began.recv().unwrap();
        {
            let second = pool.enter(&Client::default()).unwrap();
            let mut waiting = Box::pin(second.run::<()>(|| panic!("nobody asks for it any more")));
            assert!(waiting.as_mut().now_or_never().is_none());
            assert!(pool.enter(&Client::default()).is_err());
        }
        let third = pool.enter(&Client::default()).expect("a place is free");
        drop(working);
        drop(first);
        assert!(pool.enter(&Client::default()).is_err(), "the work goes on, and has its place");
        drop(end);
        third.run(|| ()).await.unwrap();
        drop(third);
        assert!(pool.at_rest(|| RESTED.get()).await);
        assert_eq!(pool.pending(), 0);
        let all = [(); 2].map(|()| pool.enter(&Client::default()));
        assert!(all.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_the_thread_goes_on() {
        let pool = pool(0);
        for _ in 0..3 {
            let place = pool.enter(&Client::default()).unwrap();
            assert!(place.run::<()>(|| panic!("as asked")).await.is_err());
            assert_eq!(place.run(|| 7).await.unwrap(), 7, "one place is good for more than one");
        }
    }

    #[tokio::test]
    async fn one_after_the_other_finds_the_place_free() {
        let pool = pool(0);
        for nth in 0..2_000 {
            let place = pool.enter(&Client::default()).unwrap_or_else(|_| panic!("after {nth}"));
            place.run(|| ()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_thread_without_work_is_told_so() {
        let pool = pool(4);
        let places: Vec<_> = (0..5).map(|_| pool.enter(&Client::default()).unwrap()).collect();
        join_all(places.iter().map(|place| place.run(|| RESTED.set(false)))).await;
        assert!(pool.at_rest(|| RESTED.get()).await);
    }
}
