//! Databases: a fresh one on the shared server for most tests, a whole server for those that kill it.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

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
