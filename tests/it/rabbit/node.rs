//! A `RabbitMQ` node of a test's own, from Debian's package, to be killed and started again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Runs until dropped, then goes with its folder and its port mapper.
pub struct Node {
    folder: TempDir,
    process: Option<Child>,
    scripts: PathBuf,
    port: u16,
    distribution: u16,
    mapper: u16,
}

impl Node {
    /// A fresh node, ready for connections.
    pub fn start() -> Self {
        let installed =
            std::fs::read_dir("/usr/lib/rabbitmq/lib").expect("RabbitMQ is not installed: run scripts/test");
        let scripts = installed
            .map(|entry| entry.expect("readable").path().join("sbin"))
            .find(|path| path.join("rabbitmq-server").exists())
            .expect("RabbitMQ is not installed: run scripts/test");
        // held together, so that they differ
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [port, distribution, mapper] = free.each_ref().map(|port| port.local_addr().expect("bound").port());
        drop(free);
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["home", "mnesia", "log", "conf"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let settings =
            "loopback_users.guest = true\nvm_memory_high_watermark.absolute = 1GiB\ndisk_free_limit.absolute = 1MB\n";
        for (name, content) in [("rabbitmq.conf", settings), ("enabled_plugins", "[]."), ("rabbitmq-env.conf", "")] {
            std::fs::write(folder.path().join("conf").join(name), content).expect("a file");
        }
        let mut node = Self { folder, process: None, scripts, port, distribution, mapper };
        node.boot();
        node
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Starts it (again), and returns when it takes connections.
    pub fn boot(&mut self) {
        let log = std::fs::File::create(self.path("log").join("stdout")).expect("a file");
        let process = self
            .command("rabbitmq-server")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("rabbitmq-server starts"));
        // the control script waits for a pid file, but not for a node that has just begun
        for _ in 0..40 {
            if self.control(&["--timeout", "60", "await_startup"]) {
                return;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        panic!("the node did not start; see {}", self.path("log").display());
    }

    /// Runs `rabbitmqctl`; false when it failed.
    pub fn control(&self, arguments: &[&str]) -> bool {
        let quiet =
            self.command("rabbitmqctl").arg("-q").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.expect("rabbitmqctl runs").success()
    }

    /// As the power cut does it.
    pub fn kill(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(self.path("pid")) {
            let _ = Command::new("kill").args(["-9", pid.trim()]).status();
            let _ = std::fs::remove_file(self.path("pid"));
        }
        if let Some(mut script) = self.process.take() {
            let _ = script.wait();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, script: &str) -> Command {
        let path = |name: &str| self.path(name).into_os_string();
        let mut command = Command::new(self.scripts.join(script));
        command
            .env("HOME", path("home"))
            .env("RABBITMQ_NODENAME", format!("bellhop{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("RABBITMQ_CONFIG_FILE", path("conf/rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("conf/enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", path("conf/rabbitmq-env.conf"))
            .env("RABBITMQ_FEATURE_FLAGS_FILE", path("mnesia/feature_flags"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", path("conf/generated"))
            .env("RABBITMQ_SCHEMA_DIR", path("conf/schema"))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.mapper.to_string())
            .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            );
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let mapper = Path::new("/usr/bin/epmd");
        let _ = Command::new(mapper).args(["-port", &self.mapper.to_string(), "-kill"]).stdout(Stdio::null()).status();
    }
}
