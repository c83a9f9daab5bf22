//! Brokers: a fresh vhost on the shared one for most tests, a whole broker for those that kill it.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

use super::servers;

/// The AMQP URL of a fresh, empty vhost on the broker that scripts/test started. It goes when that broker goes.
pub async fn vhost() -> String {
    // One call of rabbitmqctl costs as much as eight vhosts.
    static SPARE: Mutex<Vec<String>> = Mutex::const_new(Vec::new());
    let mut spare = SPARE.lock().await;
    if spare.is_empty() {
        spare.extend((0..8).map(|_| format!("t-{}", Uuid::now_v7().simple())));
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let permission =
            |name: &String| json!({"user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"});
        let definitions = json!({
            "vhosts": spare.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "permissions": spare.iter().map(permission).collect::<Vec<_>>(),
        });
        std::fs::write(file.path(), definitions.to_string()).expect("the temporary file is ours");
        ctl(&["import_definitions", &file.path().to_string_lossy()]).await;
    }
    let name = spare.pop().expect("it was filled above");
    let mut url = Url::parse(&servers::setting("TEST_BROKER_URL")).expect("TEST_BROKER_URL is a URL");
    url.set_path(&name);
    url.into()
}

/// `rabbitmqctl` on the shared broker: what it printed.
pub async fn ctl(args: &[&str]) -> String {
    let dir = PathBuf::from(servers::setting("TEST_BROKER_DIR"));
    servers::run("rabbitmq", "ctl", &dir, args).await
}

/// A broker of one's own; it ends with this value.
pub struct Private {
    dir: TempDir,
    url: String,
}

impl Private {
    /// Starts one on a free port; takes 5 to 10 seconds.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        servers::run("rabbitmq", "start", dir.path(), &["0"]).await;
        let url = servers::run("rabbitmq", "url", dir.path(), &[]).await;
        Self { dir, url }
    }

    /// The default vhost; the same before and after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data and its log are.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// SIGKILL to the broker and all its processes; they are gone on return.
    pub async fn kill9(&self) {
        servers::run("rabbitmq", "kill9", self.dir.path(), &[]).await;
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        servers::run("rabbitmq", "stop", self.dir.path(), &[]).await;
    }

    /// Starts it again on the same port and data; it answers on return.
    pub async fn start(&self) {
        servers::run("rabbitmq", "start", self.dir.path(), &["0"]).await;
    }

    /// Has it write down which queues there are. It does so by itself some seconds after they were made, and a quorum
    /// queue that it had not written down comes back from a kill without messages and without a leader
    /// (rabbitmq-server#15725): a test about our messages first lets the topology settle.
    pub async fn settle_topology(&self) {
        self.ctl(&["eval", "ok = dets:sync(ra_directory_reverse), ok = dets:sync(ra_log_meta)."]).await;
    }

    /// `rabbitmqctl` on this broker: what it printed.
    pub async fn ctl(&self, args: &[&str]) -> String {
        servers::run("rabbitmq", "ctl", self.dir.path(), args).await
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        servers::stop_now("rabbitmq", self.dir.path());
    }
}
