//! Servers of the bench's own, from scripts/servers, on the loopback.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

/// A private `PostgreSQL` and `RabbitMQ`, stopped when dropped.
pub struct Servers {
    dir: TempDir,
}

impl Servers {
    /// Starts those that are named: `postgres`, `rabbitmq`.
    pub fn start(named: &[&str]) -> anyhow::Result<Self> {
        let servers = Servers { dir: tempfile::tempdir()? };
        for server in named {
            servers.run(server, "start", &["0"])?;
        }
        Ok(servers)
    }

    fn run(&self, server: &str, verb: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let script = Path::new("scripts/servers").join(server);
        let done = Command::new(&script)
            .arg(verb)
            .arg(self.dir.path().join(server))
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        ensure!(done.status.success(), "{server} {verb}: {}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(String::from_utf8(done.stdout)?.trim().to_owned())
    }

    /// Makes a database and returns its URL.
    pub async fn database(&self, name: &str) -> anyhow::Result<String> {
        let url = self.run("postgres", "url", &[])?;
        let mut connection = PgConnection::connect(&url).await?;
        // the names are the bench's own
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        connection.close().await?;
        let (server, _) = url.rsplit_once('/').context("the URL names no database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Makes a virtual host and returns its URL.
    pub fn vhost(&self, name: &str) -> anyhow::Result<String> {
        self.run("rabbitmq", "ctl", &["add_vhost", name])?;
        self.run("rabbitmq", "ctl", &["set_permissions", "-p", name, "guest", ".*", ".*", ".*"])?;
        let url = self.run("rabbitmq", "url", &[])?;
        let (server, _) = url.rsplit_once('/').context("the URL names no vhost")?;
        Ok(format!("{server}/{name}"))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in ["rabbitmq", "postgres"] {
            let _ = self.run(server, "stop", &[]);
        }
    }
}
