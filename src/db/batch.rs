//! Small writes that come at the same time share a transaction.
//!
//! A transaction costs the same with one row as with fifty: a wait for the disk and a few changes of threads. What comes
//! while another transaction runs has to wait for it anyway, and goes into the next one.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::FutureExt as _;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::error::{Outage, outage};
use crate::clock::Clock;
use crate::failpoint;
use crate::health::Part;
use crate::tasks::watched;

/// How many writes one transaction holds at most.
const MAX_BATCH: usize = 100;

/// A write of which many may go in one transaction.
pub trait BatchWrite: Send + Sync + 'static {
    /// What is written.
    type Item: Send + Sync + 'static;
    /// The result for each.
    type Output: Send + 'static;

    /// Writes all of them in one transaction and returns a result for each, in their order. Each must be independent of
    /// the others: a transaction that fails is tried again item by item.
    fn write(&self, items: &[Self::Item]) -> impl Future<Output = anyhow::Result<Vec<Self::Output>>> + Send;
}

struct Request<W: BatchWrite> {
    item: W::Item,
    /// Until when others may join.
    until: Instant,
    reply: oneshot::Sender<anyhow::Result<W::Output>>,
}

/// A handle to the task that writes. Clones lead to the same task, which ends with the last of them.
pub struct WriteBatcher<W: BatchWrite> {
    requests: mpsc::Sender<Request<W>>,
    part: Part,
}

impl<W: BatchWrite> Clone for WriteBatcher<W> {
    fn clone(&self) -> Self {
        WriteBatcher { requests: self.requests.clone(), part: self.part.clone() }
    }
}

impl<W: BatchWrite> fmt::Debug for WriteBatcher<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBatcher").finish_non_exhaustive()
    }
}

impl<W: BatchWrite> WriteBatcher<W> {
    /// Starts the task under the name of its part; to be called inside a runtime.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the caller waits for the result, and a stop waits for the caller")]
    pub fn start(name: &str, write: W) -> Self {
        let (requests, queue) = mpsc::channel(MAX_BATCH);
        let part = Part::new(name, &Clock::default());
        let (write, queue) = (Arc::new(write), Arc::new(Mutex::new(queue)));
        let task = {
            let queue = Arc::clone(&queue);
            move || serve(Arc::clone(&write), Arc::clone(&queue))
        };
        let is_over = move || queue.try_lock().is_ok_and(|queue| queue.is_closed());
        tokio::spawn(watched(part.clone(), CancellationToken::new(), is_over, task));
        WriteBatcher { requests, part }
    }

    /// The part that the task is.
    #[must_use]
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Writes, and returns once it is committed. For up to `linger` it waits for others to share the transaction.
    /// Dropping this future does not undo the write.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn write(&self, item: W::Item, linger: Duration) -> anyhow::Result<W::Output> {
        let (reply, result) = oneshot::channel();
        let request = Request { item, until: Instant::now() + linger, reply };
        self.requests.send(request).await.ok().context("the writing task has ended")?;
        result.await.context("the write panicked")?
    }
}

/// Writes until the last handle is gone.
async fn serve<W: BatchWrite>(write: Arc<W>, queue: Arc<Mutex<mpsc::Receiver<Request<W>>>>) {
    let mut queue = queue.lock().await;
    while let Some(first) = queue.recv().await {
        let batch = collect(first, &mut queue).await;
        failpoint::reach("batch.collected");
        // a panic fails this batch alone: its callers find their reply dropped
        let _ = AssertUnwindSafe(flush(&*write, batch)).catch_unwind().await;
    }
}

/// The first request, all that wait behind it, and those that come before one of them runs out of time.
async fn collect<W: BatchWrite>(first: Request<W>, queue: &mut mpsc::Receiver<Request<W>>) -> Vec<Request<W>> {
    let mut until = first.until;
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH {
        let next = match queue.try_recv() {
            Ok(next) => next,
            // a timer is a millisecond late, even one whose time is over
            Err(_) if until <= Instant::now() => break,
            Err(_) => match timeout_at(until, queue.recv()).await {
                Ok(Some(next)) => next,
                Ok(None) | Err(_) => break,
            },
        };
        until = until.min(next.until);
        batch.push(next);
    }
    batch
}

async fn flush<W: BatchWrite>(write: &W, batch: Vec<Request<W>>) {
    let (items, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|request| (request.item, request.reply)).unzip();
    match write_all(write, &items).await {
        Ok(outputs) => {
            for (reply, output) in replies.into_iter().zip(outputs) {
                let _ = reply.send(Ok(output));
            }
        }
        Err(error) => {
            let outage = outage(error.as_ref());
            // while the database is away, one by one they would only wait as long again, each after the other
            if outage.is_none() && items.len() > 1 {
                return one_by_one(write, &items, replies).await;
            }
            let text = format!("{error:#}");
            let mut first = Some(error);
            for reply in replies {
                let copy = || outage.unwrap_or(Outage::Away).copy(&text).into();
                let _ = reply.send(Err(first.take().unwrap_or_else(copy)));
            }
        }
    }
}

/// One of them is at fault: the others succeed without it, and it gets its own error.
async fn one_by_one<W: BatchWrite>(
    write: &W,
    items: &[W::Item],
    replies: Vec<oneshot::Sender<anyhow::Result<W::Output>>>,
) {
    for (item, reply) in items.iter().zip(replies) {
        let output = write_all(write, std::slice::from_ref(item)).await;
        let _ = reply.send(output.and_then(|mut outputs| outputs.pop().context("no result")));
    }
}

async fn write_all<W: BatchWrite>(write: &W, items: &[W::Item]) -> anyhow::Result<Vec<W::Output>> {
    let outputs = write.write(items).await?;
    ensure!(outputs.len() == items.len(), "{} results for {} writes", outputs.len(), items.len());
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::db::{Db, Location};

    const LINGER: Duration = Duration::ZERO;

    /// Writes inbox marks of listeners named so; refuses the one named "bad", panics at the one named "panic", and finds
    /// the database away at the one named "away".
    struct Marks {
        db: Db,
        transactions: Arc<AtomicUsize>,
    }

    impl BatchWrite for Marks {
        type Item = String;
        type Output = String;

        async fn write(&self, items: &[String]) -> anyhow::Result<Vec<String>> {
            self.transactions.fetch_add(1, Ordering::SeqCst);
            let mut tx = self.db.begin().await?;
            assert!(!items.iter().any(|item| item == "panic"), "as asked");
            if items.iter().any(|item| item == "away") {
                return Err(sqlx::Error::PoolTimedOut.into());
            }
            for item in items {
                tx.query("insert into inbox (listener, event_id, seen_at) values ($1, $2, '')")
                    .bind(item.clone())
                    .bind(uuid::Uuid::nil())
                    .execute()
                    .await?;
                ensure!(item != "bad", "refused");
            }
            tx.commit().await?;
            Ok(items.to_vec())
        }
    }

    async fn open() -> (tempfile::TempDir, Db, WriteBatcher<Marks>, Arc<AtomicUsize>) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let transactions = Arc::default();
        let batcher = WriteBatcher::start("marks", Marks { db: db.clone(), transactions: Arc::clone(&transactions) });
        (folder, db, batcher, transactions)
    }

    async fn marked(db: &Db) -> i64 {
        let (marks,): (i64,) = db.query("select count(*) from inbox").one().await.unwrap();
        marks
    }

    #[tokio::test]
    async fn what_comes_at_the_same_time_goes_in_one_transaction() {
        let (_folder, db, batcher, transactions) = open().await;
        let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        let done = join_all(names.iter().map(|name| batcher.write(name.clone(), LINGER))).await;
        let done: Vec<String> = done.into_iter().map(Result::unwrap).collect();
        assert_eq!((done, marked(&db).await), (names, 50), "each has its own answer");
        assert_eq!(transactions.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn one_that_is_refused_takes_nobody_with_it() {
        let (_folder, db, batcher, _) = open().await;
        let names = ["a", "bad", "b"].map(str::to_owned);
        let done = join_all(names.into_iter().map(|name| batcher.write(name, LINGER))).await;
        let said: Vec<String> =
            done.into_iter().map(|done| done.unwrap_or_else(|error| format!("error: {error:#}"))).collect();
        assert_eq!(said, ["a", "error: refused", "b"]);
        assert_eq!(marked(&db).await, 2);
    }

    #[tokio::test]
    async fn while_the_database_is_away_all_are_told_at_once_that_it_is() {
        let (_folder, _db, batcher, transactions) = open().await;
        let names = ["a", "away", "b"].map(str::to_owned);
        for result in join_all(names.into_iter().map(|name| batcher.write(name, LINGER))).await {
            assert_eq!(outage(result.unwrap_err().as_ref()), Some(Outage::Away));
        }
        assert_eq!(transactions.load(Ordering::SeqCst), 1, "nobody waits for it again");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_write_goes_on() {
        let (_folder, db, batcher, _) = open().await;
        assert!(batcher.write("panic".to_owned(), LINGER).await.is_err());
        assert_eq!(batcher.write("a".to_owned(), LINGER).await.unwrap(), "a");
        assert_eq!(marked(&db).await, 1);
    }
}
