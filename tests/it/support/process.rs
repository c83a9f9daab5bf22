//! A Bellhop of its own process, to be stopped, killed and started again: what no harness inside the test can show.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop::db::{Db, Location};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::app::{HttpClient, Letter, PASSWORD, within};
use super::poll::Poll;
use super::ports;
use super::smtp::Sink;

/// How long a start or an end may take on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_mins(1);

/// The program with its settings, running or not. Dropped, it is killed and its folder goes.
pub struct Bellhop {
    folder: TempDir,
    pub url: String,
    settings: BTreeMap<String, String>,
    arguments: Vec<String>,
    child: Option<Child>,
    sink: Option<Arc<Sink>>,
}

impl Bellhop {
    /// On a free port, in a data directory of its own, with nothing else configured but no limits on requests.
    pub async fn new() -> Self {
        let listener = ports::listen().await;
        let address = listener.local_addr().expect("it listens");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data").display().to_string();
        let settings = [("LISTEN", address.to_string()), ("DATA_DIR", data), ("LIMITS", "off".to_owned())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        Self { folder, url: format!("http://{address}"), settings, arguments: Vec::new(), child: None, sink: None }
    }

    /// On these servers.
    pub async fn on(database: &str, broker: &str, sink: Arc<Sink>) -> Self {
        let app = Self::new().await.mailing(sink);
        app.with("DATABASE_URL", database).with("BROKER_URL", broker)
    }

    /// With this mail server.
    pub fn mailing(mut self, sink: Arc<Sink>) -> Self {
        let url = sink.url();
        self.sink = Some(sink);
        self.with("SMTP_URL", &url)
    }

    /// With this setting, named without its prefix.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// From the next start on it dies at this step, `name:nth`, or at none.
    pub fn die_at(&mut self, step: Option<&str>) {
        match step {
            Some(step) => self.settings.insert("FAILPOINT".to_owned(), step.to_owned()),
            None => self.settings.remove("FAILPOINT"),
        };
    }

    /// With these arguments.
    pub fn running(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts the process and does not wait for it.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = || {
            let log = OpenOptions::new().append(true).create(true).open(self.log_file());
            log.expect("the folder is ours")
        };
        let out = File::create(self.folder.path().join("out")).expect("the folder is ours");
        self.spawn_writing(out.into(), log().into());
    }

    /// As [`Self::spawn`], with other places for what it prints and logs.
    pub fn spawn_writing(&mut self, out: Stdio, log: Stdio) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let child = self.command(&arguments).stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        self.child = Some(child.expect("the program was built with the tests"));
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self) {
        self.spawn();
        self.until_it_answers("/livez").await;
    }

    /// Waits until a GET is answered with 200; panics with the log when the process ends instead.
    pub async fn until_it_answers(&mut self, path: &str) {
        let (client, since) = (HttpClient::new(&self.url), Instant::now());
        let mut poll = Poll::new();
        loop {
            poll.tick().await;
            let answer = client.http.get(format!("{}{path}", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            let ended = self.child.as_mut().expect("it was started").try_wait().expect("a child of ours");
            assert_eq!(ended, None, "it ended: {}", self.log());
            assert!(since.elapsed() < LIMIT, "no answer from {path}: {}", self.log());
        }
    }

    /// Waits until a line of the log has this text.
    pub async fn until_it_says(&self, text: &str) {
        within(text, async || self.log().contains(text)).await;
    }

    /// SIGKILL; it is gone on return.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: it stands still until it is told to go on.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().expect("process ids fit"));
        kill(pid, signal).expect("it runs");
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        let since = Instant::now();
        let mut poll = Poll::new();
        loop {
            poll.tick().await;
            if let Some(status) = self.child.as_mut().expect("it was started").try_wait().expect("a child of ours") {
                self.child = None;
                return status;
            }
            assert!(since.elapsed() < LIMIT, "it does not end: {}", self.log());
        }
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child of ours").is_none())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Runs the program with these arguments and the same settings to its end.
    pub async fn call(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("its thread is not cancelled")
            .expect("the program was built with the tests")
    }

    /// Everything it has written to standard error, over all starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// What it has printed since its last start.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.settings["DATA_DIR"].clone().into()
    }

    /// The data directory, the log, and what it printed.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A visitor.
    pub fn client(&self) -> HttpClient {
        HttpClient::new(&self.url)
    }

    /// Every mail so far: those that the mail server took, or those in the local mailbox, which folds copies.
    pub fn letters(&self) -> Vec<Letter> {
        if let Some(sink) = &self.sink {
            return sink.mails().iter().map(Letter::from).collect();
        }
        let files = std::fs::read_dir(self.data().join("mailbox")).expect("a mailbox");
        let names = files.map(|file| file.expect("a file").file_name().into_string().expect("a name of ours"));
        // a mail that is being written has a dot before its name
        let finished = names.filter(|name| name.ends_with(".json") && !name.starts_with('.'));
        finished
            .map(|name| {
                let bytes = std::fs::read(self.data().join("mailbox").join(name)).expect("a file");
                let mail: bellhop::mail::StoredMail = serde_json::from_slice(&bytes).expect("a mail");
                Letter { to: mail.to, subject: mail.subject, text: mail.text, html: mail.html, message_id: None }
            })
            .collect()
    }

    /// The token in the mail to this address, once it is there.
    pub async fn token(&self, email: &str) -> String {
        let mut token = None;
        within(&format!("a mail to {email}"), async || {
            token = self.letters().into_iter().filter(|letter| letter.to == email).find_map(|letter| letter.token());
            token.is_some()
        })
        .await;
        token.expect("waited for")
    }

    /// Registers and confirms in one browser, which is signed in then.
    pub async fn signed_in_client(&self, email: &str) -> HttpClient {
        let client = self.client();
        let registered = client.register(email, PASSWORD, "Ann").await;
        assert_eq!(registered.status, 303, "{}", registered.body);
        let confirmed = client.post("/confirm", &[("token", &self.token(email).await)]).await;
        assert_eq!(confirmed.status, 303, "{}", confirmed.body);
        client
    }

    /// Its database, seen from outside.
    pub async fn db(&self) -> Db {
        let location = match self.settings.get("DATABASE_URL") {
            Some(url) => Location::Postgres(Box::new(url.parse().expect("a URL"))),
            None => Location::Sqlite(self.data().join("bellhop.sqlite")),
        };
        Db::open(&location, 2).await.expect("the database answers")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A shell in its folder, with its settings, in which the program is called `bellhop`.
    pub fn shell(&self, script: &str) -> Command {
        let folder = Path::new(env!("CARGO_BIN_EXE_bellhop")).parent().expect("it lies in a folder");
        let mut command = Command::new("/bin/bash");
        let settings = self.settings.iter().map(|(name, value)| (format!("BELLHOP_{name}"), value));
        command.args(["-euo", "pipefail", "-c", script]).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", folder.display())).envs(settings);
        command
    }

    /// The program in an environment with nothing of ours: a developer's own settings do not count.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellhop"));
        let settings = self.settings.iter().map(|(name, value)| (format!("BELLHOP_{name}"), value));
        command.args(arguments).current_dir(self.folder.path()).env_clear().envs(settings);
        command
    }
}

/// A field of `/proc/PID/status` in KiB, while that process runs: `VmRSS`, `VmHWM`.
pub fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Has the system forget the peak of a process, so that the next `VmHWM` is that of what follows.
pub fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a process of ours");
}

impl Drop for Bellhop {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
            eprintln!("the end of the log of {}:\n{}", self.url, &log[tail..]);
        }
    }
}
