//! Databases: a fresh one on the shared server for most tests, a whole server for those that kill it.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use super::app::within;
use super::servers;

/// The URL of a fresh, empty database on the server that scripts/test started. It goes when that server goes.
pub async fn database() -> String {
    let server = servers::setting("TEST_POSTGRES_URL");
    let name = format!("t_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(&server).await.expect("the shared PostgreSQL answers");
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .expect("a superuser creates databases");
    connection.close().await.expect("the connection closes");
    let mut url = Url::parse(&server).expect("TEST_POSTGRES_URL is a URL");
    url.set_path(&name);
    url.into()
}

/// A server of one's own, fsync on; it ends with this value.
pub struct Private {
    dir: TempDir,
    url: String,
}

impl Private {
    /// Starts one on a free port.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        servers::run("postgres", "start", dir.path(), &["0"]).await;
        let url = servers::run("postgres", "url", dir.path(), &[]).await;
        Self { dir, url }
    }

    /// Another one that follows this one, in its state at this moment or later.
    pub async fn standby(&self) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let of = self.dir.path().to_str().expect("plain letters");
        servers::run("postgres", "standby", dir.path(), &[of]).await;
        let url = servers::run("postgres", "url", dir.path(), &[]).await;
        let standby = Self { dir, url };
        let mut primary = PgConnection::connect(&self.url).await.expect("it runs");
        let (here,): (String,) =
            sqlx::query_as("select pg_current_wal_lsn()::text").fetch_one(&mut primary).await.expect("a superuser");
        within("the standby to have all", async || {
            let replayed = "select coalesce(bool_or(replay_lsn >= $1::pg_lsn), false) from pg_stat_replication";
            sqlx::query_as::<_, (bool,)>(replayed).bind(&here).fetch_one(&mut primary).await.expect("a superuser").0
        })
        .await;
        standby
    }

    /// Makes a standby the primary; it takes writes on return.
    pub async fn promote(&self) {
        servers::run("postgres", "promote", self.dir.path(), &[]).await;
    }

    /// The same before and after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data and its log are.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// SIGKILL to the server and all its processes; they are gone on return.
    pub async fn kill9(&self) {
        servers::run("postgres", "kill9", self.dir.path(), &[]).await;
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        servers::run("postgres", "stop", self.dir.path(), &[]).await;
    }

    /// Starts it again on the same port and data; it answers on return.
    pub async fn start(&self) {
        servers::run("postgres", "start", self.dir.path(), &["0"]).await;
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        servers::stop_now("postgres", self.dir.path());
    }
}
