//! One SQL text over two engines.
//!
//! Reads take [`Db`], writes take [`Tx`]: a signature says what is atomic with yours. A statement is a `&'static str`
//! (so nothing typed by a person can become part of it) with `$1` placeholders, which both engines take. Where the
//! dialects truly differ, both texts stand side by side in one [`Sql`].

mod batch;
mod condition;
mod deferred;
mod error;
mod limits;
mod postgres;
mod postgres_tx;
mod probe;
pub mod purge;
mod query;
mod sqlite;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::Executor as _;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

pub use self::batch::{BatchWrite, WriteBatcher};
use self::condition::Condition;
pub use self::deferred::{DeferredTx, Writer};
pub use self::error::{Outage, is_protocol_error, is_unavailable, outage, report_failed_poll};
use self::limits::{ACQUIRE_TIMEOUT, STATEMENT_CACHE_CAPACITY};
pub use self::postgres::Server;
pub use self::postgres_tx::{Binds, PostgresTx};
pub use self::query::{Query, Row, Value, timestamp_text};
pub use self::sqlite::Pool;
use crate::health::Part;
use crate::progress::Progress;

/// How long `SQLite` waits for another process's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of a connection in KiB (negative, as `SQLite` wants it). Small, because the system caches the file as well,
/// and takes that memory back when others need it.
const WRITER_CACHE_SIZE: &str = "-1000";
const READER_CACHE_SIZE: &str = "-256";
static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// An open database. Clones share its connections.
#[derive(Clone, Debug)]
pub enum Db {
    /// A file: one connection that writes, several that read.
    Sqlite {
        /// Readers; WAL lets them see the last commit while somebody writes.
        read: Pool,
        /// The one writer, so writers queue here instead of failing with "database is locked".
        write: Writer,
        /// Where the file is.
        path: PathBuf,
    },
    /// A server.
    Postgres(Server),
}

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Location {
    /// The path of the file, made if it is missing.
    Sqlite(PathBuf),
    /// The options of a `postgres://` URL. Their `Debug` shows no password.
    Postgres(Box<PgConnectOptions>),
    /// A server behind a pooler that lends a connection for a transaction at a time.
    Pooled {
        /// The pooler.
        pooler: Box<PgConnectOptions>,
        /// The server itself, for what needs a session.
        direct: Box<PgConnectOptions>,
    },
}

/// A statement, where the dialects differ in both texts.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    /// For `SQLite`.
    pub sqlite: &'static str,
    /// For `PostgreSQL`.
    pub postgres: &'static str,
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Sql { sqlite: both, postgres: both }
    }
}

impl Db {
    /// Opens the database, with at most `connections` at once. A server that is away is an error here: what cannot be
    /// written cannot be promised.
    ///
    /// # Errors
    /// When the file cannot be opened or the server cannot be reached.
    pub async fn open(location: &Location, connections: u32) -> anyhow::Result<Self> {
        match location {
            Location::Sqlite(path) => Self::open_sqlite(path, connections).await,
            Location::Postgres(options) => {
                Ok(Db::Postgres(Server::open(options.as_ref().clone(), None, connections).await?))
            }
            Location::Pooled { pooler, direct } => {
                let direct = Some(direct.as_ref().clone());
                Ok(Db::Postgres(Server::open(pooler.as_ref().clone(), direct, connections).await?))
            }
        }
    }

    async fn open_sqlite(path: &Path, connections: u32) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL may lose the last commits when the power goes
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENT_CACHE_CAPACITY)
            .pragma("cache_size", WRITER_CACHE_SIZE)
            .optimize_on_close(true, None);
        let context = || format!("cannot open the database {}", path.display());
        // SQLite would make it readable to everybody; what it puts beside it (-wal, -shm) follows this file
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).with_context(context)?;
        let write = Pool::open(options.clone(), 1, BUSY_TIMEOUT, Condition::default()).await.with_context(context)?;
        let options = options.read_only(true).create_if_missing(false).pragma("cache_size", READER_CACHE_SIZE);
        let condition = write.condition.clone();
        let read =
            Pool::open(options, connections.clamp(1, 4), ACQUIRE_TIMEOUT, condition).await.with_context(context)?;
        Ok(Db::Sqlite { read, write: Writer::new(write), path: path.to_owned() })
    }

    /// Makes the room of deleted rows free again. `SQLite` does by itself; on `PostgreSQL` it is `statement`, which is given ten
    /// seconds like any other.
    ///
    /// # Errors
    /// When the server is away or takes longer.
    pub async fn vacuum(&self, statement: &'static str) -> sqlx::Result<()> {
        if let Db::Postgres(server) = self {
            server.acquire().await?.execute(statement).await?;
        }
        Ok(())
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// When a migration fails, or the database is newer than this program.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        self.migrate_in_steps(None).await
    }

    /// As [`Db::migrate`], counting the migrations.
    ///
    /// # Errors
    /// As [`Db::migrate`].
    pub async fn migrate_with(&self, progress: &Progress) -> anyhow::Result<()> {
        self.migrate_in_steps(Some(progress)).await
    }

    /// Looks whether the schema is this program's, and changes nothing.
    ///
    /// # Errors
    /// One line that says what it is instead and what to do; or when the database is away.
    pub async fn require_schema(&self) -> anyhow::Result<()> {
        let (made,): (bool,) = self
            .query(Sql {
                sqlite: "select count(*) > 0 from sqlite_master where name = '_sqlx_migrations'",
                postgres: "select to_regclass('_sqlx_migrations') is not null",
            })
            .one()
            .await?;
        if !made {
            bail!("the {} database is empty; make its schema with: bellhop migrate", self.kind());
        }
        let done: Vec<(i64,)> = self.query("select version from _sqlx_migrations where success").all().await?;
        let migrator = match self {
            Db::Sqlite { .. } => &SQLITE_MIGRATIONS,
            Db::Postgres(_) => &POSTGRES_MIGRATIONS,
        };
        if let Some((newer,)) = done.iter().find(|(version,)| !migrator.version_exists(*version)) {
            return Err(is_newer(*newer));
        }
        if migrator.iter().any(|migration| !done.contains(&(migration.version,))) {
            bail!(
                "the schema of the {} database is older than this program; bring it up to date with: bellhop migrate",
                self.kind()
            );
        }
        Ok(())
    }

    async fn migrate_in_steps(&self, progress: Option<&Progress>) -> anyhow::Result<()> {
        let done = match self {
            Db::Sqlite { write, path, .. } => {
                // sqlx locks two migrations apart where the database can, and SQLite cannot
                let _lock = lock_migrations(path).await?;
                run(&SQLITE_MIGRATIONS, &mut *write.pool.acquire().await?, progress).await
            }
            Db::Postgres(server) => {
                // another program may be migrating, and a large table takes its time: the time limits of requests do not hold here
                run(&POSTGRES_MIGRATIONS, &mut server.connect_unlimited().await?, progress).await
            }
        };
        match done {
            Err(MigrateError::VersionMissing(version)) => Err(is_newer(version)),
            done => done.context("cannot bring the database's schema up to date"),
        }
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// When the database is away; mostly that is found by its first statement whose result is asked for, or by the commit.
    #[expect(clippy::unused_async, reason = "a database may have to be asked first")]
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        match self {
            Db::Sqlite { write, .. } => Ok(Tx::Sqlite(DeferredTx::new(write.clone()))),
            Db::Postgres(server) => Ok(Tx::Postgres(PostgresTx::new(server.clone()))),
        }
    }

    /// A read.
    pub fn query(&self, sql: impl Into<Sql>) -> Query<'_> {
        let sql = sql.into();
        match self {
            Db::Sqlite { read, .. } => {
                Query::Sqlite { sql: sql.sqlite, arguments: SqliteArguments::default(), on: read, error: None }
            }
            Db::Postgres(server) => {
                Query::Postgres { sql: sql.postgres, arguments: PgArguments::default(), on: server, error: None }
            }
        }
    }

    /// A listener for notifications of other processes; none on `SQLite`, which has no server to send them.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn listener(&self) -> sqlx::Result<Option<PgListener>> {
        match self {
            Db::Sqlite { .. } => Ok(None),
            Db::Postgres(server) => server.listener().await.map(Some),
        }
    }

    /// The task that commits for many, where there is one.
    #[must_use]
    pub fn part(&self) -> Option<&Part> {
        match self {
            Db::Sqlite { write, .. } => Some(write.commits.part()),
            Db::Postgres(_) => None,
        }
    }

    /// Notifies the processes that listen on `channel`, this one too; false on `SQLite`, which has no server to do so.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn notify(&self, channel: &'static str, payload: &str) -> sqlx::Result<bool> {
        if let Db::Sqlite { .. } = self {
            return Ok(false);
        }
        self.query("select pg_notify($1, $2)").bind(channel).bind(payload.to_owned()).execute().await?;
        Ok(true)
    }

    /// What kind of database it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Db::Sqlite { .. } => "SQLite",
            Db::Postgres(_) => "PostgreSQL",
        }
    }

    fn condition(&self) -> &Condition {
        match self {
            Db::Sqlite { read, .. } => read.condition(),
            Db::Postgres(server) => &server.condition,
        }
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        match self {
            Db::Sqlite { read, write, .. } => {
                read.close().await;
                write.pool.close().await;
            }
            Db::Postgres(server) => server.pool.close().await,
        }
    }
}

fn is_newer(version: i64) -> anyhow::Error {
    anyhow::anyhow!("the database is newer than this program: it has migration {version}; bring the program up to date")
}

/// Runs what was not run yet: all at once, or one by one if somebody wants to know how far it has come.
async fn run<C: Migrate>(
    migrator: &Migrator,
    connection: &mut C,
    progress: Option<&Progress>,
) -> Result<(), MigrateError> {
    let Some(progress) = progress else { return migrator.run_direct(None, connection, false).await };
    progress.expect(u64::try_from(migrator.iter().len()).unwrap_or_default());
    for migration in migrator.iter() {
        migrator.run_direct(Some(migration.version), connection, false).await?;
        progress.advance(1);
    }
    Ok(())
}

/// Waits for other processes that migrate this file, and locks them out until the result is dropped, also by the end of
/// the process. The lock is a file of its own: a second handle on the database would, when it is closed, release the locks
/// that `SQLite` has on it.
async fn lock_migrations(database: &Path) -> anyhow::Result<std::fs::File> {
    let path = database.with_added_extension("migrate");
    let lock = tokio::task::spawn_blocking(move || {
        let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.lock()?;
        std::io::Result::Ok(file)
    });
    lock.await?.context("cannot lock the database's schema")
}

/// A transaction that may write. Dropped without [`Tx::commit`] it is rolled back.
#[derive(Debug)]
pub enum Tx {
    /// On the one writing connection, at the latest when it commits.
    Sqlite(DeferredTx),
    /// On a connection of the pool, at the latest when it commits.
    Postgres(PostgresTx),
}

impl Tx {
    /// A statement in this transaction.
    pub fn query(&mut self, sql: impl Into<Sql>) -> Query<'_> {
        let sql = sql.into();
        match self {
            Tx::Sqlite(tx) => Query::Deferred { sql: sql.sqlite, offset: tx.offset(), tx, error: None },
            Tx::Postgres(tx) => Query::PostgresTx { sql: sql.postgres, binds: Binds::default(), tx },
        }
    }

    /// Has this transaction read rows in the order of an index instead of sorting them; nothing on `SQLite`, which does so
    /// anyway. For the head of a queue: of a table that was never analysed, `PostgreSQL` may read and sort all that waits,
    /// for each batch.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn in_index_order(&mut self) -> sqlx::Result<()> {
        if let Tx::Postgres(tx) = self {
            tx.connection().await?.execute("set local enable_sort = off").await?;
        }
        Ok(())
    }

    /// Commits.
    ///
    /// # Errors
    /// When the database is away or refuses; whether it was written is then not known.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.commit_grouped(Duration::ZERO).await
    }

    /// As [`Tx::commit`], but it may wait up to `linger` for other transactions to share the commit. Only on `SQLite`, and
    /// only when no statement's result was asked for; a server groups commits by itself.
    ///
    /// # Errors
    /// As [`Tx::commit`].
    pub async fn commit_grouped(self, linger: Duration) -> sqlx::Result<()> {
        match self {
            Tx::Sqlite(tx) => tx.commit(linger).await,
            Tx::Postgres(tx) => tx.commit().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_new_database_file_is_closed_to_others_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has {mode:o}", file.path().display());
        }
        db.close().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_who_open_and_close_a_file_at_once_wait_for_each_other() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let location = Location::Sqlite(folder.path().join("a.sqlite"));
            let open_and_close = async || {
                for _ in 0..3 {
                    let db = Db::open(&location, 1).await.unwrap();
                    db.migrate().await.unwrap();
                    db.close().await;
                }
            };
            futures_util::future::join_all((0..6).map(|_| open_and_close())).await;
        }
    }
}
