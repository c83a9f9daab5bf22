//! A statement with its arguments: bound once, run on whichever engine it is for.

use chrono::SecondsFormat;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::types::Json;
use sqlx::{Arguments as _, Encode, FromRow, Postgres, Sqlite, Type};
use uuid::Uuid;

use super::deferred::DeferredTx;
use super::postgres::Server;
use super::postgres_tx::{Binds, PostgresTx};
use super::sqlite::Pool;
use crate::clock::Timestamp;

/// What can be bound to a placeholder on both engines.
pub trait Value:
    for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> + Send
{
}
impl<T> Value for T where
    T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> + Send
{
}

/// A time as text, for statements that take their rows as JSON: as `SQLite`'s columns have it, and as `PostgreSQL` casts it.
#[must_use]
pub fn timestamp_text(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// What a row can become on both engines: `#[derive(sqlx::FromRow)]` or a tuple.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// A statement with its arguments, on its way to a pool or a transaction.
#[must_use = "a statement does nothing until it is run"]
#[derive(Debug)]
pub enum Query<'e> {
    #[doc(hidden)]
    Sqlite { sql: &'static str, arguments: SqliteArguments, on: &'e Pool, error: Option<BoxDynError> },
    #[doc(hidden)]
    Deferred { sql: &'static str, offset: usize, tx: &'e mut DeferredTx, error: Option<BoxDynError> },
    #[doc(hidden)]
    Postgres { sql: &'static str, arguments: PgArguments, on: &'e Server, error: Option<BoxDynError> },
    #[doc(hidden)]
    PostgresTx { sql: &'static str, binds: Binds, tx: &'e mut PostgresTx },
}

/// Runs `$run` of a sqlx query on whichever engine and connection it is for; what could not be bound fails here.
macro_rules! run {
    ($query:expr, $make:path, $run:ident) => {
        match $query.bound()? {
            Query::Sqlite { sql, arguments, on, .. } => {
                let mut connection = on.acquire().await?;
                let result = $make(sql, arguments).$run(&mut *connection).await;
                connection.check(result)
            }
            Query::Deferred { sql, offset, tx, .. } => {
                let (text, arguments, connection) = tx.send(sql, offset).await?;
                let result = $make(text, arguments).$run(&mut **connection).await;
                connection.check(result)
            }
            // behind a pooler, what prepares a statement and what runs it are one transaction, or they meet two servers
            Query::Postgres { sql, arguments, on, .. } if on.is_pooled() => {
                let apart = async {
                    let mut tx = on.begin().await?;
                    let result = on.condition.note($make(sql, arguments).persistent(false).$run(&mut *tx).await)?;
                    on.condition.note(tx.commit().await)?;
                    Ok(result)
                };
                Box::pin(apart).await
            }
            Query::Postgres { sql, arguments, on, .. } => {
                let mut connection = on.acquire().await?;
                on.condition.note($make(sql, arguments).$run(&mut *connection).await)
            }
            Query::PostgresTx { sql, binds, tx } => {
                let query = $make(sql, binds.into_arguments()?).persistent(tx.keeps_statements());
                let result = query.$run(tx.connection().await?).await;
                tx.condition().note(result)
            }
        }
    };
}

impl Query<'_> {
    /// Binds the next placeholder.
    pub fn bind(mut self, value: impl Value + 'static) -> Self {
        let (added, error) = match &mut self {
            Query::Sqlite { arguments, error, .. } => (arguments.add(value), error),
            Query::Deferred { tx, error, .. } => (tx.arguments().add(value), error),
            Query::Postgres { arguments, error, .. } => (arguments.add(value), error),
            // it is added when its place is known
            Query::PostgresTx { binds, .. } => {
                binds.push(value);
                return self;
            }
        };
        if let Err(wrong) = added {
            error.get_or_insert(wrong);
        }
        self
    }

    /// Binds the next placeholder to a set of ids: an array on `PostgreSQL` (`= any($1)`), a JSON array of hexadecimal
    /// strings on `SQLite` (`in (select unhex(value) from json_each($1))`).
    pub fn bind_ids(mut self, ids: &[Uuid]) -> Self {
        match &mut self {
            Query::Postgres { arguments, error, .. } => {
                if let Err(wrong) = arguments.add(ids) {
                    error.get_or_insert(wrong);
                }
                self
            }
            Query::PostgresTx { binds, .. } => {
                binds.push(ids.to_vec());
                self
            }
            Query::Sqlite { .. } | Query::Deferred { .. } => {
                let hex: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
                self.bind(Json(hex))
            }
        }
    }

    /// Itself, if everything could be bound.
    fn bound(mut self) -> sqlx::Result<Self> {
        let error = match &mut self {
            Query::Sqlite { error, .. } | Query::Deferred { error, .. } | Query::Postgres { error, .. } => error.take(),
            Query::PostgresTx { .. } => None,
        };
        error.map_or(Ok(self), |error| Err(sqlx::Error::Encode(error)))
    }

    /// Runs it in its transaction, when nobody needs its result: it travels with the next statement whose result somebody waits
    /// for, or with the commit, and its error is then that one's.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn execute_deferred(self) -> sqlx::Result<()> {
        match self.bound()? {
            Query::Deferred { sql, offset, tx, .. } => tx.defer(sql, offset),
            Query::PostgresTx { sql, binds, tx } => tx.defer(sql, binds),
            other => {
                other.execute().await?;
            }
        }
        Ok(())
    }

    /// Runs it and returns how many rows it touched.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn execute(self) -> sqlx::Result<u64> {
        let done = match self.bound()? {
            Query::Deferred { sql, offset, tx, .. } => return tx.execute(sql, offset).await,
            Query::Sqlite { sql, arguments, on, .. } => {
                let mut connection = on.acquire().await?;
                let done = sqlx::query_with(sql, arguments).execute(&mut *connection).await;
                return connection.check(done).map(|done| done.rows_affected());
            }
            Query::Postgres { sql, arguments, on, .. } => {
                let query = sqlx::query_with(sql, arguments);
                if on.is_pooled() {
                    let apart = async {
                        let mut tx = on.begin().await?;
                        let done = on.condition.note(query.persistent(false).execute(&mut *tx).await)?;
                        on.condition.note(tx.commit().await)?;
                        Ok(done)
                    };
                    Box::pin(apart).await
                } else {
                    let mut connection = on.acquire().await?;
                    on.condition.note(query.execute(&mut *connection).await)
                }
            }
            Query::PostgresTx { sql, binds, tx } => {
                let query = sqlx::query_with(sql, binds.into_arguments()?).persistent(tx.keeps_statements());
                let done = query.execute(tx.connection().await?).await;
                tx.condition().note(done)
            }
        };
        done.map(|done| done.rows_affected())
    }

    /// The row, or none.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn optional<T: Row>(self) -> sqlx::Result<Option<T>> {
        run!(self, sqlx::query_as_with, fetch_optional)
    }

    /// The row there must be.
    ///
    /// # Errors
    /// When there is none, or the database refuses or is away.
    pub async fn one<T: Row>(self) -> sqlx::Result<T> {
        run!(self, sqlx::query_as_with, fetch_one)
    }

    /// Every row.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn all<T: Row>(self) -> sqlx::Result<Vec<T>> {
        run!(self, sqlx::query_as_with, fetch_all)
    }
}
