//! Transactions on `SQLite` that come at the same time share a commit.
//!
//! A commit waits for the disk, and costs the same for one transaction as for ten. A [`Script`](super::Script) of which
//! nothing was asked before its commit needs the writing connection only then, and so it can go with others: each is all or
//! nothing still, because a group that fails is taken apart and tried one by one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Either, Executor as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::is_unavailable;
use super::sqlite::Connections;

/// How many go together at most.
const MOST: usize = 64;

/// A deferred transaction that turns into a writer fails at once when another one writes.
pub(super) const BEGIN: &str = "begin immediate;\n";
const COMMIT: &str = "commit;\n";

/// The statements of a transaction, without its begin and commit, made of texts of the program alone, and their arguments.
#[derive(Clone, Debug, Default)]
pub(super) struct Statements {
    pub(super) text: String,
    pub(super) arguments: SqliteArguments,
}

/// A transaction that is to be made true, and until when others may join it.
#[derive(Debug)]
struct Asked {
    statements: Statements,
    until: Instant,
    reply: oneshot::Sender<sqlx::Result<()>>,
}

/// The writing connection of a file, with the task that commits for many. Clones are the same; the task ends with the last.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) connections: Connections,
    group: Arc<mpsc::Sender<Asked>>,
}

impl Writer {
    #[expect(clippy::disallowed_methods, reason = "whoever asks is waited for when stopping, and waits for the answer")]
    pub(super) fn new(connections: Connections) -> Self {
        let (group, mut asked) = mpsc::channel::<Asked>(MOST);
        let writing = connections.clone();
        tokio::spawn(async move {
            while let Some(first) = asked.recv().await {
                let mut until = first.until;
                let mut group = vec![first];
                while group.len() < MOST {
                    // what is there already goes along however short the patience
                    let next = match asked.try_recv() {
                        Ok(next) => next,
                        // a timer is a millisecond late, also one whose time is over
                        Err(_) if until <= Instant::now() => break,
                        Err(_) => match timeout_at(until, asked.recv()).await {
                            Ok(Some(next)) => next,
                            Ok(None) | Err(_) => break,
                        },
                    };
                    until = until.min(next.until);
                    group.push(next);
                }
                carry_out(&writing, group).await;
            }
        });
        Writer { connections, group: Arc::new(group) }
    }

    /// Makes these statements true in a transaction of their own; for up to `patience` it waits for others to share the cost.
    pub(super) async fn write(&self, statements: Statements, patience: Duration) -> sqlx::Result<()> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { statements, until: Instant::now() + patience, reply };
        self.group.send(asked).await.map_err(|_| sqlx::Error::PoolClosed)?;
        answer.await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }
}

async fn carry_out(writing: &Connections, group: Vec<Asked>) {
    let (statements, replies): (Vec<_>, Vec<_>) =
        group.into_iter().map(|asked| (asked.statements, asked.reply)).unzip();
    let done = in_one(writing, &statements).await;
    match done.map_err(anyhow::Error::from) {
        Ok(()) => replies.into_iter().for_each(|reply| drop(reply.send(Ok(())))),
        Err(error) if statements.len() > 1 && is_unavailable(&error) => {
            tracing::warn!(error = format!("{error:#}"), transactions = statements.len(), "cannot write");
            // one by one they would only wait as long again, each after the other
            for reply in replies {
                let _ = reply.send(Err(sqlx::Error::PoolTimedOut));
            }
        }
        // one of them is at fault: the others are not to suffer for it, and it gets its own error
        Err(_) => {
            for (one, reply) in statements.iter().zip(replies) {
                let _ = reply.send(in_one(writing, std::slice::from_ref(one)).await);
            }
        }
    }
}

/// All of them in one transaction.
async fn in_one(writing: &Connections, group: &[Statements]) -> sqlx::Result<()> {
    let mut connection = writing.take().await?;
    // whoever fails in the middle of it leaves a transaction open
    connection.spoil(true);
    for (at, Statements { text, arguments }) in group.iter().enumerate() {
        // each is one trip to the thread of the connection, the first with the begin and the last with the commit
        let begin = if at == 0 { BEGIN } else { "" };
        let commit = if at + 1 == group.len() { COMMIT } else { "" };
        run(&mut connection, format!("{begin}{text}{commit}"), arguments.clone()).await?;
    }
    connection.spoil(false);
    Ok(())
}

/// Runs a text of the program's own statements, and tells how many rows the last of them touched.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    text: String,
    arguments: SqliteArguments,
) -> sqlx::Result<u64> {
    let mut answers = connection.fetch_many(sqlx::query_with(AssertSqlSafe(text), arguments));
    let mut touched = 0;
    while let Some(answer) = answers.try_next().await? {
        if let Either::Left(done) = answer {
            touched = done.rows_affected();
        }
    }
    Ok(touched)
}
