//! The connections to a server.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, Row as _};

use super::error::{Outage, outage};
use super::health::Health;
use super::limits::{ACQUIRE_TIMEOUT, STATEMENT_CACHE_CAPACITY};

/// How long a server that gave no connection is asked why.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool of connections to a server, and what they say about it. Clones share them.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) pool: PgPool,
    pub(super) health: Health,
}

impl Server {
    pub(super) async fn open(options: PgConnectOptions, connections: u32) -> anyhow::Result<Self> {
        let options = options.statement_cache_capacity(STATEMENT_CACHE_CAPACITY).options([
            ("statement_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "10s"),
        ]);
        let health = Health::default();
        let trusted = health.clone();
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
            .await
            .context("cannot connect to PostgreSQL")?;
        let server = Server { pool, health };
        server.require_utf8().await?;
        Ok(server)
    }

    /// A name that the database cannot hold would be an error for whoever has it.
    async fn require_utf8(&self) -> anyhow::Result<()> {
        let encoding = self.pool.fetch_one("select current_setting('server_encoding')").await?;
        let encoding: String = encoding.try_get(0)?;
        ensure!(
            encoding == "UTF8",
            "the encoding of the PostgreSQL database is {encoding}, and UTF8 is needed: create database … \
             encoding 'UTF8' template template0"
        );
        Ok(())
    }

    /// A connection of its own, without the time limits of requests.
    pub(super) async fn connect_unlimited(&self) -> anyhow::Result<PgConnection> {
        let options = (*self.pool.connect_options()).clone().options([
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
        ]);
        PgConnection::connect_with(&options).await.context("cannot connect to PostgreSQL")
    }

    pub(super) async fn listener(&self) -> sqlx::Result<PgListener> {
        // of its own: it is never given back
        let options = (*self.pool.connect_options()).clone();
        let connection = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        PgListener::connect_with(&connection).await
    }

    /// Whether a connection answers.
    pub(super) async fn ping(&self) -> sqlx::Result<()> {
        self.health.note(self.pool.acquire().await)?.ping().await
    }

    /// Why no connection was to be had: the pool waits for one without telling what it waited for.
    pub(super) async fn diagnose(&self) -> Option<Outage> {
        let options = self.pool.connect_options();
        let attempt = tokio::time::timeout(DIAGNOSIS_TIMEOUT, PgConnection::connect_with(&options)).await;
        match attempt {
            Ok(Ok(connection)) => {
                let _ = connection.close().await;
                None
            }
            Ok(Err(error)) => outage(&error),
            Err(_) => None,
        }
    }
}
