//! A transaction on `SQLite` that sends its statements late and together.
//!
//! sqlx runs a connection to `SQLite` on a thread of its own, so each round trip is two changes of threads, dearer than
//! most statements. A statement whose result nobody needs is therefore kept here and travels with the next one whose
//! result somebody waits for, at the latest with the commit; so does the `begin`. A transaction that asked for no result
//! at all needs the writing connection only for its commit, which it then shares with others. Logins per second over the
//! bare hash rate: 0.97 with both, 0.89 without (docs/performance.md).

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, SqliteConnection};

use super::batch::{BatchWrite, WriteBatcher};
use super::sqlite::{Guard, Pool};

/// `immediate`, because a transaction that becomes a writer later fails at once when another one writes.
const BEGIN: &str = "begin immediate;\n";
const COMMIT: &str = "commit;\n";

/// Statements of one transaction without its begin and commit, all of them texts of the program, and their arguments.
#[derive(Clone, Debug, Default)]
pub(super) struct Statements {
    text: String,
    arguments: SqliteArguments,
}

/// The one writing connection of a file, and the task that commits for many. Clones share them.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) pool: Pool,
    pub(super) commits: WriteBatcher<GroupCommit>,
}

impl Writer {
    /// To be called inside a runtime.
    pub(super) fn new(pool: Pool) -> Self {
        let commits = WriteBatcher::start("writes", GroupCommit(pool.clone()));
        Writer { pool, commits }
    }
}

/// Commits several transactions as one: each still is all or nothing, because a group that fails is tried one by one.
pub(super) struct GroupCommit(Pool);

impl BatchWrite for GroupCommit {
    type Item = Statements;
    type Output = ();

    async fn write(&self, group: &[Statements]) -> anyhow::Result<Vec<()>> {
        let mut connection = self.0.acquire().await?;
        // whatever fails, or is dropped, in the middle leaves a transaction open
        connection.poison(true);
        for (at, Statements { text, arguments }) in group.iter().enumerate() {
            // each is one trip to the connection's thread, the first with the begin and the last with the commit
            let begin = if at == 0 { BEGIN } else { "" };
            let commit = if at + 1 == group.len() { COMMIT } else { "" };
            let done = run(&mut connection, format!("{begin}{text}{commit}"), arguments.clone()).await;
            connection.check(done)?;
        }
        connection.poison(false);
        Ok(vec![(); group.len()])
    }
}

/// A transaction that may write.
#[derive(Debug)]
pub struct DeferredTx {
    writer: Writer,
    /// From the first statement on whose result is needed.
    connection: Option<Guard>,
    /// Not sent yet; the arguments include those of the statement that is being built.
    unsent: Statements,
}

impl DeferredTx {
    pub(super) fn new(writer: Writer) -> Self {
        DeferredTx { writer, connection: None, unsent: Statements::default() }
    }

    /// Where the next statement's arguments begin.
    pub(super) fn offset(&self) -> usize {
        self.unsent.arguments.len()
    }

    pub(super) fn arguments(&mut self) -> &mut SqliteArguments {
        &mut self.unsent.arguments
    }

    /// Keeps a statement for later, with its arguments from `offset` on.
    pub(super) fn defer(&mut self, sql: &'static str, offset: usize) {
        push_renumbered(&mut self.unsent.text, sql, offset);
        self.unsent.text.push_str(";\n");
    }

    /// Everything unsent with this statement at its end, whose rows are the only ones, and the connection to run it on.
    pub(super) async fn send(
        &mut self,
        sql: &'static str,
        offset: usize,
    ) -> sqlx::Result<(AssertSqlSafe<String>, SqliteArguments, &mut Guard)> {
        self.defer(sql, offset);
        let Statements { mut text, arguments } = std::mem::take(&mut self.unsent);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                text.insert_str(0, BEGIN);
                none.insert(self.writer.pool.acquire().await?)
            }
        };
        // a caller that is dropped in the middle leaves a transaction open
        connection.poison(true);
        // safe: texts of the program alone, with nothing added but numbers
        Ok((AssertSqlSafe(text), arguments, connection))
    }

    /// Runs everything unsent and this statement, and returns how many rows this one touched.
    pub(super) async fn execute(&mut self, sql: &'static str, offset: usize) -> sqlx::Result<u64> {
        let (AssertSqlSafe(text), arguments, connection) = self.send(sql, offset).await?;
        let done = run(connection, text, arguments).await;
        connection.check(done)
    }

    /// Commits. A transaction that asked for no result so far may wait up to `linger` for others to share the commit.
    pub(super) async fn commit(mut self, linger: Duration) -> sqlx::Result<()> {
        if self.connection.is_none() {
            if self.unsent.text.is_empty() {
                return Ok(());
            }
            let committed = self.writer.commits.write(self.unsent, linger).await;
            return committed.map_err(|error| error.downcast().unwrap_or(sqlx::Error::WorkerCrashed));
        }
        self.execute("commit", 0).await?;
        if let Some(connection) = &mut self.connection {
            connection.poison(false);
        }
        Ok(())
    }
}

/// Appends a statement with its placeholders counted on from `offset`: they are numbered through a whole text. What
/// stands between quotes is no placeholder.
pub(super) fn push_renumbered(text: &mut String, sql: &'static str, offset: usize) {
    for (at, part) in sql.split('\'').enumerate() {
        if at > 0 {
            text.push('\'');
        }
        let (quoted, mut rest) = (at % 2 == 1, part);
        while let Some((before, after)) = rest.split_once('$').filter(|_| !quoted) {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = after.split_at(digits);
            text.push_str(before);
            let _ = match number.parse::<usize>() {
                Ok(number) => write!(text, "${}", number + offset),
                Err(_) => write!(text, "${number}"),
            };
            rest = after;
        }
        text.push_str(rest);
    }
}

/// Runs a text of the program's own statements, and returns how many rows the last of them touched.
async fn run(connection: &mut SqliteConnection, text: String, arguments: SqliteArguments) -> sqlx::Result<u64> {
    let mut results = connection.fetch_many(sqlx::query_with(AssertSqlSafe(text), arguments));
    let mut touched = 0;
    while let Some(result) = results.try_next().await? {
        if let Either::Left(done) = result {
            touched = done.rows_affected();
        }
    }
    Ok(touched)
}

#[cfg(test)]
mod tests {
    use crate::db::{Db, Location, Tx};

    async fn open() -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        (folder, db)
    }

    const MARK: &str = "insert into inbox (listener, event_id, seen_at) values ($1, $2, $1 || ' at $1''s')";

    async fn defer(tx: &mut Tx, listener: &str) {
        tx.query(MARK).bind(listener.to_owned()).bind(uuid::Uuid::nil()).execute_deferred().await.unwrap();
    }

    async fn marks(db: &Db) -> Vec<(String, String)> {
        db.query("select listener, seen_at from inbox order by listener").all().await.unwrap()
    }

    fn mark(listener: &str) -> (String, String) {
        (listener.to_owned(), format!("{listener} at $1's"))
    }

    #[tokio::test]
    async fn what_is_deferred_is_seen_by_the_next_statement_and_counts_only_itself() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        defer(&mut tx, "a").await;
        defer(&mut tx, "b").await;
        let touched = tx
            .query("update inbox set seen_at = 'changed' where listener = $1")
            .bind("b".to_owned())
            .execute()
            .await
            .unwrap();
        assert_eq!(touched, 1);
        defer(&mut tx, "c").await;
        let (last,): (String,) =
            tx.query("select max(listener) from inbox where listener <> $1").bind("x".to_owned()).one().await.unwrap();
        assert_eq!(last, "c");
        let none = tx.query("delete from inbox where listener = $1").bind("x".to_owned()).execute().await.unwrap();
        assert_eq!(none, 0, "not what an earlier one touched");
        defer(&mut tx, "d").await;
        tx.commit().await.unwrap();
        assert_eq!(marks(&db).await, [mark("a"), ("b".to_owned(), "changed".to_owned()), mark("c"), mark("d")]);
    }

    #[tokio::test]
    async fn one_that_is_refused_takes_all_with_it() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        defer(&mut tx, "a").await;
        defer(&mut tx, "a").await;
        defer(&mut tx, "b").await;
        assert!(tx.commit().await.is_err());
        let mut tx = db.begin().await.unwrap();
        defer(&mut tx, "a").await;
        tx.commit().await.unwrap();
        assert_eq!(marks(&db).await, [mark("a")]);
    }

    #[tokio::test]
    async fn one_that_is_built_and_not_run_changes_nothing_for_the_others() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        defer(&mut tx, "a").await;
        drop(tx.query(MARK).bind("x".to_owned()));
        defer(&mut tx, "b").await;
        tx.commit().await.unwrap();
        assert_eq!(marks(&db).await, [mark("a"), mark("b")]);
    }

    #[tokio::test]
    async fn those_that_wait_for_others_are_committed_together_and_one_that_is_refused_takes_nobody_with_it() {
        let (_folder, db) = open().await;
        let commits = async || {
            let (frames,): (i64,) = db.query("select count(*) from inbox").one().await.unwrap();
            frames
        };
        let linger = std::time::Duration::from_mins(10);
        let one = async |name: &'static str, linger| {
            let mut tx = db.begin().await.unwrap();
            defer(&mut tx, name).await;
            defer(&mut tx, &format!("{name} too")).await;
            tx.commit_grouped(linger).await
        };
        // the last is in a hurry, and takes along who waits
        let (a, b, again, c) =
            tokio::join!(one("a", linger), one("b", linger), one("a", linger), one("c", std::time::Duration::ZERO));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert!(again.is_err(), "what is taken is taken");
        assert_eq!(commits().await, 6);
    }

    #[tokio::test]
    async fn dropped_it_was_nothing() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        defer(&mut tx, "a").await;
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        defer(&mut tx, "b").await;
        assert_eq!(tx.query("select listener from inbox").all::<(String,)>().await.unwrap().len(), 1);
        drop(tx);
        db.begin().await.unwrap().commit().await.unwrap();
        assert!(marks(&db).await.is_empty());
    }
}
