//! Connections to one `SQLite` file.
//!
//! sqlx has a pool, made for servers: it asks a connection how it is whenever it is taken and whenever it comes back. Here
//! each question is two changes of threads, as much as a statement, so this keeps the connections itself.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How soon a file that somebody else has locked is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// A few connections, opened when they are needed and kept. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: SqliteConnectOptions,
    most: u32,
    /// How long somebody waits for one to be free.
    patience: Duration,
    places: Arc<Semaphore>,
    free: Mutex<Vec<SqliteConnection>>,
}

impl Connections {
    /// At most `most` connections; one is opened, so that what is wrong with the file is known at once.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(in crate::db) async fn open(
        options: SqliteConnectOptions,
        most: u32,
        patience: Duration,
    ) -> sqlx::Result<Self> {
        let places = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1)));
        let connections = Connections(Arc::new(Inner { options, most, patience, places, free: Mutex::default() }));
        drop(connections.take().await?);
        Ok(connections)
    }

    /// Takes a connection, in the order of asking. It comes back when it is dropped.
    ///
    /// # Errors
    /// When none is free in time, the file cannot be opened or all was closed.
    pub async fn take(&self) -> sqlx::Result<Taken> {
        let place = Arc::clone(&self.0.places).acquire_owned();
        let place = tokio::time::timeout(self.0.patience, place).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match free {
            Some(connection) => connection,
            None => self.0.connect().await?,
        };
        Ok(Taken { connection: Some(connection), spoilt: false, home: Arc::clone(&self.0), _place: place })
    }

    /// Closes every connection, waiting for those in use.
    pub(in crate::db) async fn close(&self) {
        let all = self.0.places.acquire_many(self.0.most).await;
        self.0.places.close();
        drop(all);
        let free = std::mem::take(&mut *self.0.free.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in free {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "cannot close the database file properly");
            }
        }
    }
}

impl Inner {
    /// Opens a connection. `SQLite` does not wait by itself for one who changes the journal's mode or cleans up after the last
    /// connection: of those who open a new file at once, or while another process closes it, some are told "locked".
    async fn connect(&self) -> sqlx::Result<SqliteConnection> {
        let end = Instant::now() + self.patience;
        loop {
            match self.options.connect().await {
                Err(error) if is_locked(&error) && Instant::now() < end => tokio::time::sleep(AGAIN).await,
                answer => return answer,
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
pub struct Taken {
    connection: Option<SqliteConnection>,
    spoilt: bool,
    home: Arc<Inner>,
    _place: OwnedSemaphorePermit,
}

impl Taken {
    /// Whether it is fit for others: one that may still be in the middle of something is closed instead of kept, and
    /// what was not committed on it goes with it.
    pub(in crate::db) fn spoil(&mut self, spoilt: bool) {
        self.spoilt = spoilt;
    }

    /// Passes an answer on; one that says that the connection's thread is no more spoils it.
    pub(in crate::db) fn heed<T>(&mut self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        self.spoilt |= matches!(answer, Err(sqlx::Error::WorkerCrashed));
        answer
    }
}

impl Deref for Taken {
    type Target = SqliteConnection;
    #[expect(clippy::expect_used, reason = "only the drop takes it out")]
    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Taken {
    #[expect(clippy::expect_used, reason = "only the drop takes it out")]
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.spoilt) {
            self.home.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
