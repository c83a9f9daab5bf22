//! A transaction on `SQLite` as a text that grows.
//!
//! sqlx runs a connection to `SQLite` on a thread of its own, so that each statement is two changes of threads, dearer than
//! most statements. What nobody waits for the answer of is therefore written down here and goes with the next statement
//! somebody does wait for, at the latest with the commit; so does the `begin`. Where nobody waits for any answer before the
//! commit, the commit is shared with others (`group`).

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, SqliteConnection};

use super::group::{self, BEGIN, Statements, Writer};
use super::sqlite::Taken;

/// What is to be run next, with the arguments of all its statements.
type Sent = (AssertSqlSafe<String>, SqliteArguments);

/// A transaction that may write.
#[derive(Debug)]
pub struct Script {
    writer: Writer,
    /// The one writing connection, from the first statement on that somebody waits for.
    connection: Option<Taken>,
    /// The statements that were not sent yet, and their arguments with those of the one that is being made.
    unsent: Statements,
}

impl Script {
    pub(in crate::db) fn new(writer: Writer) -> Self {
        Script { writer, connection: None, unsent: Statements::default() }
    }

    /// Where the next statement's arguments begin.
    pub(in crate::db) fn offset(&self) -> usize {
        self.unsent.arguments.len()
    }

    pub(in crate::db) fn arguments(&mut self) -> &mut SqliteArguments {
        &mut self.unsent.arguments
    }

    /// Writes a statement down, with its arguments from `offset` on.
    pub(in crate::db) fn put(&mut self, sql: &'static str, offset: usize) {
        // the placeholders of a text with several statements count through all of it
        let text = &mut self.unsent.text;
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('$') {
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
        text.push_str(";\n");
    }

    /// Everything written down and this statement, whose rows are the only ones, with the connection to run it on.
    pub(in crate::db) async fn send(
        &mut self,
        sql: &'static str,
        offset: usize,
    ) -> sqlx::Result<(Sent, &mut SqliteConnection)> {
        self.put(sql, offset);
        let Statements { mut text, arguments } = std::mem::take(&mut self.unsent);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                text.insert_str(0, BEGIN);
                none.insert(self.writer.connections.take().await?)
            }
        };
        // whoever is dropped in the middle of it leaves a transaction open
        connection.spoil(true);
        // made of texts of the program alone, with nothing between them but numbers
        Ok(((AssertSqlSafe(text), arguments), connection))
    }

    /// Runs everything written down and this statement, and tells how many rows this one touched.
    pub(in crate::db) async fn execute(&mut self, sql: &'static str, offset: usize) -> sqlx::Result<u64> {
        let ((AssertSqlSafe(text), arguments), connection) = self.send(sql, offset).await?;
        group::run(connection, text, arguments).await
    }

    /// Makes it so. A transaction in which nothing was asked was none; one in which nothing was asked so far may wait up to
    /// `patience` for others to share the commit.
    pub(in crate::db) async fn commit(mut self, patience: Duration) -> sqlx::Result<()> {
        if self.connection.is_none() {
            if self.unsent.text.is_empty() {
                return Ok(());
            }
            return self.writer.write(self.unsent, patience).await;
        }
        self.execute("commit", 0).await?;
        if let Some(connection) = &mut self.connection {
            connection.spoil(false);
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
    async fn those_that_wait_for_others_are_committed_together_and_one_that_is_refused_takes_nobody_with_it() {
        let (_folder, db) = open().await;
        let commits = async || {
            let (frames,): (i64,) = db.query("select count(*) from inbox").one().await.unwrap();
            frames
        };
        let patience = std::time::Duration::from_mins(10);
        let one = async |name: &'static str, patience| {
            let mut tx = db.begin().await.unwrap();
            put(&mut tx, name).await;
            put(&mut tx, &format!("{name} too")).await;
            tx.commit_with_others(patience).await
        };
        // the last is in a hurry, and takes along who waits
        let (a, b, again, c) = tokio::join!(
            one("a", patience),
            one("b", patience),
            one("a", patience),
            one("c", std::time::Duration::ZERO)
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert!(again.is_err(), "what is taken is taken");
        assert_eq!(commits().await, 6);
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
