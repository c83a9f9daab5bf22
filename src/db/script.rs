//! A transaction on `SQLite` as a text that grows.
//!
//! sqlx runs a connection to `SQLite` on a thread of its own, so that each statement is two changes of threads, dearer than
//! most statements. What nobody waits for the answer of is therefore written down here and goes with the next statement
//! somebody does wait for, at the latest with the commit; so does the `begin`.

use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, SqliteConnection};

use super::file::Taken;

/// A deferred transaction that turns into a writer fails at once when another one writes.
const BEGIN: &str = "begin immediate;\n";

/// What is to be run next, with the arguments of all its statements.
type Sent = (AssertSqlSafe<String>, SqliteArguments);

/// A transaction that may write, on the one writing connection.
#[derive(Debug)]
pub struct Script {
    connection: Taken,
    /// The statements that were not sent yet.
    text: String,
    /// Theirs, and those of the one that is being made.
    arguments: SqliteArguments,
}

impl Script {
    pub(super) fn new(connection: Taken) -> Self {
        Script { connection, text: BEGIN.to_owned(), arguments: SqliteArguments::default() }
    }

    /// Where the next statement's arguments begin.
    pub(super) fn offset(&self) -> usize {
        self.arguments.len()
    }

    pub(super) fn arguments(&mut self) -> &mut SqliteArguments {
        &mut self.arguments
    }

    /// Writes a statement down, with its arguments from `offset` on.
    pub(super) fn put(&mut self, sql: &'static str, offset: usize) {
        // the placeholders of a text with several statements count through all of it
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('$') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = after.split_at(digits);
            self.text.push_str(before);
            let _ = match number.parse::<usize>() {
                Ok(number) => write!(self.text, "${}", number + offset),
                Err(_) => write!(self.text, "${number}"),
            };
            rest = after;
        }
        self.text.push_str(rest);
        self.text.push_str(";\n");
    }

    /// Everything written down and this statement, whose rows are the only ones, with the connection to run it on.
    pub(super) fn send(&mut self, sql: &'static str, offset: usize) -> (Sent, &mut SqliteConnection) {
        self.put(sql, offset);
        // whoever is dropped in the middle of it leaves a transaction open
        self.connection.spoil(true);
        // made of texts of the program alone, with nothing between them but numbers
        let text = AssertSqlSafe(std::mem::take(&mut self.text));
        ((text, std::mem::take(&mut self.arguments)), &mut self.connection)
    }

    /// Runs everything written down and this statement, and tells how many rows this one touched.
    pub(super) async fn execute(&mut self, sql: &'static str, offset: usize) -> sqlx::Result<u64> {
        let ((text, arguments), connection) = self.send(sql, offset);
        let mut answers = connection.fetch_many(sqlx::query_with(text, arguments));
        let mut touched = 0;
        while let Some(answer) = answers.try_next().await? {
            if let Either::Left(done) = answer {
                touched = done.rows_affected();
            }
        }
        Ok(touched)
    }

    /// Makes it so. A transaction in which nothing was asked was none.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        if self.text != BEGIN {
            self.execute("commit", 0).await?;
            self.connection.spoil(false);
        }
        Ok(())
    }
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

    const MARK: &str = "insert into inbox (listener, event_id, seen_at) values ($1, $2, $1 || ' at $')";

    async fn put(tx: &mut Tx, listener: &str) {
        tx.query(MARK).bind(listener.to_owned()).bind(uuid::Uuid::nil()).put().await.unwrap();
    }

    async fn marks(db: &Db) -> Vec<(String, String)> {
        db.query("select listener, seen_at from inbox order by listener").all().await.unwrap()
    }

    fn mark(listener: &str) -> (String, String) {
        (listener.to_owned(), format!("{listener} at $"))
    }

    #[tokio::test]
    async fn what_is_put_is_there_for_the_next_statement_and_counts_only_itself() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await;
        put(&mut tx, "b").await;
        let touched = tx
            .query("update inbox set seen_at = 'changed' where listener = $1")
            .bind("b".to_owned())
            .execute()
            .await
            .unwrap();
        assert_eq!(touched, 1);
        put(&mut tx, "c").await;
        let (last,): (String,) =
            tx.query("select max(listener) from inbox where listener <> $1").bind("x".to_owned()).one().await.unwrap();
        assert_eq!(last, "c");
        let none = tx.query("delete from inbox where listener = $1").bind("x".to_owned()).execute().await.unwrap();
        assert_eq!(none, 0, "not what an earlier one touched");
        put(&mut tx, "d").await;
        tx.commit().await.unwrap();
        assert_eq!(marks(&db).await, [mark("a"), ("b".to_owned(), "changed".to_owned()), mark("c"), mark("d")]);
    }

    #[tokio::test]
    async fn one_that_is_refused_takes_all_with_it() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await;
        put(&mut tx, "a").await;
        put(&mut tx, "b").await;
        assert!(tx.commit().await.is_err());
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await;
        tx.commit().await.unwrap();
        assert_eq!(marks(&db).await, [mark("a")]);
    }

    #[tokio::test]
    async fn one_that_is_made_and_not_run_changes_nothing_for_the_others() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await;
        drop(tx.query(MARK).bind("x".to_owned()));
        put(&mut tx, "b").await;
        tx.commit().await.unwrap();
        assert_eq!(marks(&db).await, [mark("a"), mark("b")]);
    }

    #[tokio::test]
    async fn dropped_it_was_nothing() {
        let (_folder, db) = open().await;
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "a").await;
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        put(&mut tx, "b").await;
        assert_eq!(tx.query("select listener from inbox").all::<(String,)>().await.unwrap().len(), 1);
        drop(tx);
        db.begin().await.unwrap().commit().await.unwrap();
        assert!(marks(&db).await.is_empty());
    }
}
