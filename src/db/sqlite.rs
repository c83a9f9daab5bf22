//! A pool of connections to one `SQLite` file.
//!
//! sqlx's own pool pings a connection on every acquire and release. On `SQLite` a ping is two changes of threads, as much
//! as a statement, so this pool does without.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::condition::Condition;
use super::error::outage;

/// The pause before a file that another process has locked is opened again.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// A few connections, opened on demand and kept. Clones share them.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
    pub(super) condition: Condition,
}

#[derive(Debug)]
struct Inner {
    options: SqliteConnectOptions,
    max_connections: u32,
    acquire_timeout: Duration,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Pool {
    /// At most `max_connections`; one is opened, so that what is wrong with the file is known at once.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) async fn open(
        options: SqliteConnectOptions,
        max_connections: u32,
        acquire_timeout: Duration,
        condition: Condition,
    ) -> sqlx::Result<Self> {
        let permits = Arc::new(Semaphore::new(usize::try_from(max_connections).unwrap_or(1)));
        let inner = Arc::new(Inner { options, max_connections, acquire_timeout, permits, idle: Mutex::default() });
        let pool = Pool { inner, condition };
        drop(pool.acquire().await?);
        Ok(pool)
    }

    /// Takes a connection, first come, first served. It comes back when the guard is dropped.
    ///
    /// # Errors
    /// When none is free in time, the file cannot be opened or the pool is closed.
    pub async fn acquire(&self) -> sqlx::Result<Guard> {
        let permit = Arc::clone(&self.inner.permits).acquire_owned();
        let permit = tokio::time::timeout(self.inner.acquire_timeout, permit).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.condition.note(self.inner.connect().await)?,
        };
        Ok(Guard { connection: Some(connection), poisoned: false, pool: self.clone(), _permit: permit })
    }

    pub(super) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Closes every connection, waiting for those in use.
    pub(super) async fn close(&self) {
        let all = self.inner.permits.acquire_many(self.inner.max_connections).await;
        self.inner.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "cannot close the database file properly");
            }
        }
    }
}

impl Inner {
    /// `SQLite` itself does not wait for another process that changes the journal's mode or cleans up after the last
    /// connection: of those who open a new file at once, or while another process closes it, some are told "locked".
    async fn connect(&self) -> sqlx::Result<SqliteConnection> {
        let end = Instant::now() + self.acquire_timeout;
        loop {
            match self.options.connect().await {
                Err(error) if is_locked(&error) && Instant::now() < end => tokio::time::sleep(RETRY_INTERVAL).await,
                result => return result,
            }
        }
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// A connection that is in use.
#[derive(Debug)]
pub struct Guard {
    connection: Option<SqliteConnection>,
    poisoned: bool,
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Guard {
    /// A poisoned connection may have a transaction open: it is closed instead of reused, which rolls back.
    pub(super) fn poison(&mut self, poisoned: bool) {
        self.poisoned = poisoned;
    }

    /// Passes a result on, and remembers what it says about the file. One after which a connection is not kept poisons it.
    pub(super) fn check<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        let outage = result.as_ref().err().and_then(|error| outage(error));
        self.poisoned |= outage.is_some_and(|outage| !outage.keeps_connection());
        self.pool.condition.note(result)
    }
}

impl Deref for Guard {
    type Target = SqliteConnection;
    #[expect(clippy::expect_used, reason = "only the drop takes it out")]
    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Guard {
    #[expect(clippy::expect_used, reason = "only the drop takes it out")]
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.poisoned) {
            self.pool.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
