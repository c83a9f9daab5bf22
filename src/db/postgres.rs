//! The connections to a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, Postgres, Row as _, Transaction};

use super::condition::Condition;
use super::error::{Outage, outage};
use super::limits::{ACQUIRE_TIMEOUT, STATEMENT_CACHE_CAPACITY};

/// How long a server that gave no connection is asked why.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool of connections to a server, and what they say about it. Clones share them.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) pool: PgPool,
    pub(super) condition: Condition,
    /// The server itself, where the pool's connections lead to a pooler that lends one for a transaction at a time: nothing
    /// of a session holds there, no prepared statement, no time limit, no LISTEN and no lock.
    direct: Option<Arc<PgConnectOptions>>,
}

/// The time limits of requests, as a connection is asked for them …
const TIME_LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "10s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "10s")];
/// … and for one transaction.
const BEGIN_LIMITED: &str = "begin; set local statement_timeout = '10s'; set local lock_timeout = '5s'; \
                             set local idle_in_transaction_session_timeout = '10s'";
/// What `PgBouncer` says of what it does not know of a session.
const UNSUPPORTED: &str = "unsupported startup parameter";
const POOLED: &str = "BELLHOP_DATABASE_URL leads to a pooler such as PgBouncer, where nothing of a session holds: set \
                      BELLHOP_DATABASE_DIRECT_URL to PostgreSQL itself, for migrations and LISTEN, and both can be used";

impl Server {
    pub(super) async fn open(
        options: PgConnectOptions,
        direct: Option<PgConnectOptions>,
        connections: u32,
    ) -> anyhow::Result<Self> {
        let options = match direct {
            None => options.statement_cache_capacity(STATEMENT_CACHE_CAPACITY).options(TIME_LIMITS),
            // floats are of no table of ours
            Some(_) => options.statement_cache_capacity(0).extra_float_digits(None),
        };
        let condition = Condition::default();
        let (trusted, once) = (condition.clone(), options.clone());
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .max_lifetime(Duration::from_mins(10))
            // a connection of before a fail-over may be to what is a standby now: it is closed, and the next one finds the primary
            .before_acquire(move |_, connection| {
                let trusted = trusted.trusts(connection.age);
                Box::pin(async move { Ok(trusted) })
            })
            .connect_with(options)
            .await;
        let pool = match pool {
            Err(error) if error.to_string().contains(UNSUPPORTED) => bail!(POOLED),
            Ok(pool) => pool,
            // the pool says only that it has waited
            Err(waited) => {
                let cause = refusal(&once).await.unwrap_or(waited);
                return Err(cause).context("cannot connect to PostgreSQL");
            }
        };
        let server = Server { pool, condition, direct: direct.map(Arc::new) };
        server.check_settings().await?;
        Ok(server)
    }

    pub(super) fn is_pooled(&self) -> bool {
        self.direct.is_some()
    }

    /// Whether the database can hold every name, and whether a connection has the time limits that it asked for: a pooler
    /// may have been told to ignore them.
    async fn check_settings(&self) -> anyhow::Result<()> {
        let row = self
            .pool
            .fetch_one("select current_setting('server_encoding'), current_setting('statement_timeout')")
            .await?;
        let (encoding, limit): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        ensure!(
            encoding == "UTF8",
            "the encoding of the PostgreSQL database is {encoding}, and UTF8 is needed: create database … \
             encoding 'UTF8' template template0"
        );
        ensure!(self.is_pooled() || limit == "10s", POOLED);
        Ok(())
    }

    /// A transaction. On a task of its own: when the future of sqlx's `begin` is dropped in the middle, the connection goes back
    /// to the pool inside an open transaction, and what is written on it afterwards is seen by nobody (sqlx 0.9).
    #[expect(clippy::disallowed_methods, reason = "it ends with the statement that it sends")]
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.require_reachable()?;
        let (pool, pooled, since) = (self.pool.clone(), self.is_pooled(), Instant::now());
        let opening = async move { if pooled { pool.begin_with(BEGIN_LIMITED).await } else { pool.begin().await } };
        let begun = tokio::spawn(opening).await.map_err(|_| sqlx::Error::WorkerCrashed)?;
        self.condition.gave(since, &begun);
        self.condition.note(begun)
    }

    /// A connection of the pool.
    pub(super) async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.require_reachable()?;
        let since = Instant::now();
        let given = self.pool.acquire().await;
        self.condition.gave(since, &given);
        self.condition.note(given)
    }

    /// While the server gives no connection, nobody waits for one in vain: an error at once, and one task that tries.
    #[expect(clippy::disallowed_methods, reason = "it ends with the pool's time limit")]
    fn require_reachable(&self) -> sqlx::Result<()> {
        let Err((error, trial)) = self.condition.is_reachable() else { return Ok(()) };
        if let Some(trial) = trial {
            let (pool, condition, since) = (self.pool.clone(), self.condition.clone(), Instant::now());
            tokio::spawn(async move {
                condition.gave(since, &condition.note(pool.acquire().await));
                drop(trial);
            });
        }
        Err(error)
    }

    fn session_options(&self) -> PgConnectOptions {
        (*self.direct.clone().unwrap_or_else(|| self.pool.connect_options())).clone()
    }

    /// A connection of its own, without the time limits of requests.
    pub(super) async fn connect_unlimited(&self) -> anyhow::Result<PgConnection> {
        let options = self.session_options().options([
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
        ]);
        PgConnection::connect_with(&options).await.context("cannot connect to PostgreSQL")
    }

    pub(super) async fn listener(&self) -> sqlx::Result<PgListener> {
        // of its own: it is never given back
        let options = self.session_options();
        let connection = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        PgListener::connect_with(&connection).await
    }

    /// Whether a connection answers.
    pub(super) async fn ping(&self) -> sqlx::Result<()> {
        self.acquire().await?.ping().await
    }

    /// Why no connection was to be had: the pool waits for one without telling what it waited for.
    pub(super) async fn diagnose(&self) -> Option<Outage> {
        outage(&refusal(&self.pool.connect_options()).await?)
    }
}

/// What the server says to a new connection, where it says no in time.
async fn refusal(options: &PgConnectOptions) -> Option<sqlx::Error> {
    match tokio::time::timeout(DIAGNOSIS_TIMEOUT, PgConnection::connect_with(options)).await.ok()? {
        Ok(connection) => {
            let _ = connection.close().await;
            None
        }
        Err(error) => Some(error),
    }
}
