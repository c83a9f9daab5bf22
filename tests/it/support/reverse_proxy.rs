//! A real nginx or Caddy of a test's own, with the configuration that a paper shows.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::app::within;
use super::ports;

/// Running; dropped, it is killed and its folder goes.
pub struct ReverseProxy {
    // before the folder goes
    child: Child,
    folder: TempDir,
    /// Where it takes HTTPS.
    pub port: u16,
}

/// The certificate and its key, as files; nobody knows the issuer.
fn certificate(folder: &Path, names: &[&str]) -> [String; 2] {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let signed = rcgen::generate_simple_self_signed(names).expect("names");
    [("cert.pem", signed.cert.pem()), ("key.pem", signed.signing_key.serialize_pem())].map(|(name, pem)| {
        let path = folder.join(name);
        std::fs::write(&path, pem).expect("the folder is ours");
        path.display().to_string()
    })
}

/// Each occurrence of the first is there, and becomes the second.
fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replace(from, to)
    })
}

impl ReverseProxy {
    /// nginx with these blocks, but for its port, its certificate, and the addresses of `moved`, each from where it stands in them.
    pub async fn nginx(blocks: &str, names: &[&str], moved: &[(&str, &str)]) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), free_port().await);
        let [cert, key] = certificate(folder.path(), names);
        let blocks = replaced(blocks, moved);
        let blocks = replaced(&blocks, &[("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"))]);
        let blocks = blocks.lines().map(|line| match line.trim().split_once(' ') {
            Some(("ssl_certificate", _)) => format!("ssl_certificate {cert};\n"),
            Some(("ssl_certificate_key", _)) => format!("ssl_certificate_key {key};\n"),
            _ => format!("{line}\n"),
        });
        let at = folder.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        // its workers write into the folder
        let user = if nix::unistd::geteuid().is_root() { "user root;\n" } else { "" };
        let settings = format!(
            "{user}daemon off;\npid {at}/pid;\nerror_log {at}/log;\nworker_processes 1;\nevents {{ worker_connections 256; }}\n\
             http {{\naccess_log off;\n{temporary}{}}}\n",
            blocks.collect::<String>()
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, settings).expect("the folder is ours");
        // by its path: it is an administrator's command
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).arg("-e").arg(folder.path().join("log"));
        Self::start(command, folder, port).await
    }

    /// Caddy with these sites, but for its port and the addresses of `moved`.
    pub async fn caddy(sites: &str, moved: &[(&str, &str)]) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), free_port().await);
        // certificates of its own, which it asks nobody for
        let settings = format!(
            "{{\nadmin off\nlocal_certs\nskip_install_trust\nauto_https disable_redirects\ndefault_bind 127.0.0.1\n\
             https_port {port}\n}}\n{}",
            replaced(sites, moved)
        );
        let file = folder.path().join("Caddyfile");
        std::fs::write(&file, settings).expect("the folder is ours");
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
        command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
        Self::start(command, folder, port).await
    }

    async fn start(mut command: Command, folder: TempDir, port: u16) -> Self {
        let log = std::fs::File::create(folder.path().join("output")).expect("the folder is ours");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let child = command.spawn().expect("scripts/install brings it");
        let mut proxy = ReverseProxy { child, folder, port };
        within("the proxy to listen", async || {
            let ended = proxy.child.try_wait().expect("a child of ours");
            let said = || std::fs::read_to_string(proxy.folder.path().join("output")).unwrap_or_default();
            assert_eq!(ended, None, "{}", said());
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        proxy
    }
}

async fn free_port() -> u16 {
    ports::listen().await.local_addr().expect("it listens").port()
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // nginx ends its workers when it is asked to end, and leaves them when it is killed
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().expect("process ids fit"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
