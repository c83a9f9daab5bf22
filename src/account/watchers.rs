//! The pages that are open on this node and wait for something to happen: to a registration, a forgotten password, a user.
//!
//! The node's own queue wakes those whom an event is about, and a gap in what it hears wakes all: whoever is woken looks at the rows
//! again. So nothing of an event is kept here, and none is missed. While nothing is heard, who waits must look by themselves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

/// Who waits on this node.
#[derive(Debug, Default)]
pub struct Watchers {
    waiting: Mutex<HashMap<Uuid, Vec<Arc<Notify>>>>,
    /// Counts what was heard, so that who looked before waiting knows whether to look once more.
    heard: AtomicU64,
    hears: AtomicBool,
}

/// What [`Watchers`] had heard when somebody looked.
#[derive(Clone, Copy, Debug)]
pub struct Looked(u64);

/// One that waits; dropped, it waits no more.
#[derive(Debug)]
pub struct Watcher {
    all: Arc<Watchers>,
    about: Uuid,
    woken: Arc<Notify>,
}

impl Watchers {
    /// To be called before the look after which [`Watchers::watch`] is called.
    #[must_use]
    pub fn before_look(&self) -> Looked {
        Looked(self.heard.load(Ordering::Acquire))
    }

    /// Waits for what happens to `about`. If something was heard since the look, it is woken at once.
    #[must_use]
    pub fn watch(self: &Arc<Self>, about: Uuid, Looked(looked): Looked) -> Watcher {
        let woken = Arc::new(Notify::new());
        self.waiting().entry(about).or_default().push(Arc::clone(&woken));
        if self.heard.load(Ordering::Acquire) != looked {
            woken.notify_one();
        }
        Watcher { all: Arc::clone(self), about, woken }
    }

    /// Something happened to `about`.
    pub fn wake(&self, about: Uuid) {
        let waiting = self.waiting();
        self.heard.fetch_add(1, Ordering::AcqRel);
        waiting.get(&about).into_iter().flatten().for_each(|woken| woken.notify_one());
    }

    /// The node's queue is subscribed, in another generation than before; none while it is not.
    pub fn subscribed(&self, generation: Option<u64>) {
        let waiting = self.waiting();
        self.hears.store(generation.is_some(), Ordering::Release);
        self.heard.fetch_add(1, Ordering::AcqRel);
        waiting.values().flatten().for_each(|woken| woken.notify_one());
    }

    /// Whether who waits is told. If not, they must look by themselves.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.hears.load(Ordering::Acquire)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Notify>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Ends when it was woken since the last time.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut waiting = self.all.waiting();
        if let Some(of_one) = waiting.get_mut(&self.about) {
            of_one.retain(|one| !Arc::ptr_eq(one, &self.woken));
            if of_one.is_empty() {
                waiting.remove(&self.about);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_woken(watcher: &Watcher) -> bool {
        watcher.woken().now_or_never().is_some()
    }

    #[test]
    fn who_waits_is_woken_for_what_it_waits_for_and_by_a_gap_and_leaves_nothing() {
        let all = Arc::new(Watchers::default());
        let [one, other] = [Uuid::new_v4(), Uuid::new_v4()];
        let watch = |about| all.watch(about, all.before_look());
        let (first, second, stranger) = (watch(one), watch(one), watch(other));
        all.wake(one);
        all.wake(one);
        assert_eq!([&first, &second, &stranger].map(is_woken), [true, true, false]);
        assert_eq!([&first, &second].map(is_woken), [false, false], "once, however often");
        assert!(!all.hears());
        all.subscribed(Some(0));
        assert!(all.hears());
        assert_eq!([&first, &second, &stranger].map(is_woken), [true; 3]);
        drop((first, stranger));
        all.wake(one);
        assert!(is_woken(&second), "others of the same go on");
        drop(second);
        assert!(all.waiting().is_empty());
    }

    #[test]
    fn what_happens_between_the_look_and_the_wait_is_not_missed() {
        let all = Arc::new(Watchers::default());
        let about = Uuid::new_v4();
        let looked = all.before_look();
        all.wake(about);
        assert!(is_woken(&all.watch(about, looked)));
        assert!(!is_woken(&all.watch(about, all.before_look())));
    }
}
