//! Small writes that come at the same time share a transaction.
//!
//! A transaction costs the same with one row as with fifty: a wait for the disk and a handful of changes of threads. What
//! is written while another transaction is under way waits for it anyway, and goes with the next one.

use std::fmt;
use std::panic::AssertUnwindSafe;

use anyhow::{Context as _, anyhow, ensure};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use super::{Db, Tx, is_unavailable};

/// How many writes one transaction carries at most.
const MOST: usize = 100;

/// A write of which many may go in one transaction.
pub trait Write: Send + Sync + 'static {
    /// What is written.
    type Item: Send + Sync + 'static;
    /// What is to be said about each.
    type Done: Send + 'static;

    /// Writes them all, and answers for each in its order. Each must be a matter of its own: a transaction that fails is
    /// tried again item by item.
    fn write(&self, tx: &mut Tx, items: &[Self::Item]) -> impl Future<Output = anyhow::Result<Vec<Self::Done>>> + Send;
}

type Asked<W> = (<W as Write>::Item, oneshot::Sender<anyhow::Result<<W as Write>::Done>>);

/// The way to a task that writes. Clones lead to the same one; it ends with the last of them.
pub struct Together<W: Write> {
    task: mpsc::Sender<Asked<W>>,
}

impl<W: Write> Clone for Together<W> {
    fn clone(&self) -> Self {
        Together { task: self.task.clone() }
    }
}

impl<W: Write> fmt::Debug for Together<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

impl<W: Write> Together<W> {
    /// Starts the task; to be called inside a runtime.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "whoever asks is waited for when stopping, and waits for the answer")]
    pub fn start(db: Db, write: W) -> Self {
        let (task, mut asked) = mpsc::channel(MOST);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while asked.recv_many(&mut batch, MOST).await > 0 {
                // a panic is an error of this batch alone: those who asked find nobody to answer
                let _ = AssertUnwindSafe(carry_out(&db, &write, std::mem::take(&mut batch))).catch_unwind().await;
            }
        });
        Together { task }
    }

    /// Writes, and returns once it is committed. Dropping this future does not undo the write.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn write(&self, item: W::Item) -> anyhow::Result<W::Done> {
        let (reply, answer) = oneshot::channel();
        self.task.send((item, reply)).await.ok().context("nobody writes any more")?;
        answer.await.context("the write came to nothing")?
    }
}

async fn carry_out<W: Write>(db: &Db, write: &W, batch: Vec<Asked<W>>) {
    let (items, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    match in_one(db, write, &items).await {
        Ok(done) => {
            for (reply, done) in replies.into_iter().zip(done) {
                let _ = reply.send(Ok(done));
            }
        }
        Err(error) if items.len() > 1 && !is_unavailable(&error) => {
            // one of them may be at fault; the others are not to suffer for it
            for (item, reply) in items.into_iter().zip(replies) {
                let done = in_one(db, write, &[item]).await;
                let _ = reply.send(done.and_then(|done| done.into_iter().next().context("no answer")));
            }
        }
        Err(error) => {
            let text = format!("{error:#}");
            let mut first = Some(error);
            for reply in replies {
                let _ = reply.send(Err(first.take().unwrap_or_else(|| anyhow!("{text}"))));
            }
        }
    }
}

async fn in_one<W: Write>(db: &Db, write: &W, items: &[W::Item]) -> anyhow::Result<Vec<W::Done>> {
    let mut tx = db.begin().await?;
    let done = write.write(&mut tx, items).await?;
    ensure!(done.len() == items.len(), "{} answers for {} writes", done.len(), items.len());
    tx.commit().await?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::db::Location;

    /// Writes inbox marks of listeners named so; refuses the one named "bad", panics at the one named "panic".
    struct Marks(Arc<AtomicUsize>);

    impl Write for Marks {
        type Item = String;
        type Done = String;

        async fn write(&self, tx: &mut Tx, items: &[String]) -> anyhow::Result<Vec<String>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!items.iter().any(|item| item == "panic"), "as asked");
            for item in items {
                tx.query("insert into inbox (listener, event_id, seen_at) values ($1, $2, '')")
                    .bind(item.clone())
                    .bind(uuid::Uuid::nil())
                    .execute()
                    .await?;
                ensure!(item != "bad", "refused");
            }
            Ok(items.to_vec())
        }
    }

    async fn open() -> (tempfile::TempDir, Db, Together<Marks>, Arc<AtomicUsize>) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let transactions = Arc::default();
        let together = Together::start(db.clone(), Marks(Arc::clone(&transactions)));
        (folder, db, together, transactions)
    }

    async fn marked(db: &Db) -> i64 {
        let (marks,): (i64,) = db.query("select count(*) from inbox").one().await.unwrap();
        marks
    }

    #[tokio::test]
    async fn what_comes_at_the_same_time_goes_in_one_transaction() {
        let (_folder, db, together, transactions) = open().await;
        let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        let done = join_all(names.iter().map(|name| together.write(name.clone()))).await;
        let done: Vec<String> = done.into_iter().map(Result::unwrap).collect();
        assert_eq!((done, marked(&db).await), (names, 50), "each has its own answer");
        assert_eq!(transactions.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn one_that_is_refused_takes_nobody_with_it() {
        let (_folder, db, together, _) = open().await;
        let names = ["a", "bad", "b"].map(str::to_owned);
        let done = join_all(names.into_iter().map(|name| together.write(name))).await;
        let said: Vec<String> =
            done.into_iter().map(|done| done.unwrap_or_else(|error| format!("error: {error:#}"))).collect();
        assert_eq!(said, ["a", "error: refused", "b"]);
        assert_eq!(marked(&db).await, 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_write_goes_on() {
        let (_folder, db, together, _) = open().await;
        assert!(together.write("panic".to_owned()).await.is_err());
        assert_eq!(together.write("a".to_owned()).await.unwrap(), "a");
        assert_eq!(marked(&db).await, 1);
    }
}
