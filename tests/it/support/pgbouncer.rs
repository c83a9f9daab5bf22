//! A `PgBouncer` of a test's own, in transaction mode, before a database of the shared server.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use url::Url;

use super::app::within;
use super::ports;

pub struct PgBouncer {
    _folder: TempDir,
    child: Child,
    pub url: String,
}

impl PgBouncer {
    /// Starts one with two connections to this database. What it knows nothing of it refuses, or ignores.
    pub async fn before(database: &str, ignores: bool) -> Self {
        let server: Url = database.parse().expect("a URL");
        let name = server.path().trim_start_matches('/').to_owned();
        let listener = ports::listen().await;
        let port = listener.local_addr().expect("it listens").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let line = if ignores { "ignore_startup_parameters = extra_float_digits, options\n" } else { "" };
        let settings = format!(
            "[databases]\n{name} = host=127.0.0.1 port={} dbname={name} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n{line}",
            server.port().expect("a port"),
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("the folder is ours");
        // it does not run as root, and whom it runs as must be able to read this
        let mode = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("ours");
        };
        mode(folder.path(), 0o755);
        mode(&file, 0o644);
        let mut command = Command::new("/usr/sbin/pgbouncer");
        if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&file).expect("ours")) == 0 {
            command.args(["-u", "postgres"]);
        }
        let child = command.arg("-q").arg(&file).stdin(Stdio::null()).spawn().expect("scripts/install brings it");
        within("PgBouncer to listen", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        PgBouncer { _folder: folder, child, url: format!("postgres://postgres@127.0.0.1:{port}/{name}") }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
