//! The disk under SQLite fills, fails, and is well again.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::app::{PASSWORD, within};
use crate::support::postgres;
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;

/// A file system of its own; root may make one, and that is who runs the tests.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mounted(arguments: &[&str]) -> Self {
        let disk = Disk { folder: tempfile::tempdir().expect("a temporary folder") };
        disk.mount(arguments);
        disk
    }

    fn mount(&self, arguments: &[&str]) {
        run("mount", &[arguments, &[self.path().to_str().expect("a path of ours")]].concat());
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let mut ballast = File::create(self.path().join("ballast")).expect("room for a name");
        for size in [65_536, 4_096, 1] {
            while ballast.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path().join("ballast")).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(self.path()).output();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("a program of the system");
    assert!(output.status.success(), "{program} {arguments:?} (this test needs root): {output:?}");
}

/// Registers one person after the other until one is refused with 503; the addresses of those who were accepted.
async fn register_until_refused(app: &Bellhop, name: &str) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        let email = format!("{name}-{}@example.org", accepted.len());
        let answer = app.client().register(&email, PASSWORD, "Ann").await;
        if answer.status == 503 {
            assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|wait| wait >= 1), "{:?}", answer.headers);
            return accepted;
        }
        assert_eq!(answer.status, 303, "{}", answer.body);
        accepted.push(email);
        assert!(accepted.len() < 1_000, "the disk is full, and still they are accepted");
    }
}

async fn until_not_ready(app: &Bellhop, reason: &str) {
    within(reason, async || {
        let answer = app.client().get("/readyz").await;
        answer.status == 503 && answer.body.contains(reason)
    })
    .await;
}

async fn all_is_well(app: &Bellhop, accepted: &[String]) {
    within("readiness", async || app.client().get("/readyz").await.status == 200).await;
    let after = app.client().register("after@example.org", PASSWORD, "Ann").await;
    assert_eq!(after.status, 303, "{}", after.body);
    app.token("after@example.org").await;
    for email in accepted {
        app.token(email).await;
    }
}

/// F7: `/readyz` said "ready" all the while, and a page of somebody signed in was an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_must_be_written_shows_what_is_read_and_is_well_when_there_is_room() {
    let disk = Disk::mounted(&["-t", "tmpfs", "-o", "size=12m", "tmpfs"]);
    let mut app = Bellhop::new().await.with("DATA_DIR", disk.path().join("data").to_str().expect("a path of ours"));
    app.start().await;
    let ann = app.signed_in_client("ann@example.org").await;
    disk.fill();
    let accepted = register_until_refused(&app, "full").await;
    until_not_ready(&app, "the disk of the database is full").await;
    for path in ["/", "/api", "/register", "/account", "/api/v1/me", "/mailbox"] {
        let answer = ann.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 503);
    assert!(app.runs());
    disk.make_room();
    all_is_well(&app, &accepted).await;
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
}

/// F62: an error of input or output was 500 and "ready". A limit of the size of files makes a real one, and ended the
/// process (SIGXFSZ).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_is_a_503_until_it_can() {
    let mut app = Bellhop::new().await;
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    let pid = app.pid().to_string();
    run("prlimit", &["--pid", &pid, "--fsize=1024:unlimited"]);
    register_until_refused(&app, "failing").await;
    until_not_ready(&app, "the disk of the database fails").await;
    assert!(app.runs());
    let complaints = app.log().matches("cannot take messages").count();
    assert!(complaints < 200, "{complaints} complaints in a few seconds");
    run("prlimit", &["--pid", &pid, "--fsize=unlimited:unlimited"]);
    all_is_well(&app, &[]).await;
    assert_eq!(app.client().login("ann@example.org", PASSWORD).await.status, 303);
}

/// F62: the same of a device that is gone (every access is EIO), and of a file system that has become read only by itself, as it
/// does when it finds its own data damaged (EROFS).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_is_a_503_that_says_so() {
    for (errno, reason) in [("EIO", "the disk of the database fails"), ("EROFS", "the database is read only")] {
        let image = tempfile::NamedTempFile::new().expect("a temporary file");
        image.as_file().set_len(64 << 20).expect("a sparse file");
        let path = image.path().to_str().expect("a path of ours");
        run("mkfs.ext4", &["-q", "-F", path]);
        let disk = Disk::mounted(&["-o", "loop", path]);
        let mut app = Bellhop::new().await.with("DATA_DIR", disk.path().join("data").to_str().expect("a path of ours"));
        app.start().await;
        app.signed_in_client("ann@example.org").await;
        if errno == "EIO" {
            let down = "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1],0),0x8004587D,struct.pack('I',0))";
            run("python3", &["-c", down, disk.path().to_str().expect("a path of ours")]);
        } else {
            disk.mount(&["-o", "remount,abort"]);
        }
        register_until_refused(&app, "failing").await;
        until_not_ready(&app, reason).await;
        assert!(app.runs(), "{errno}");
    }
}

/// F63: each start on a full disk left an empty file behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_disk_leaves_nothing_behind() {
    let disk = Disk::mounted(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let data = disk.path().join("data");
    std::fs::create_dir(&data).expect("room for a folder");
    let app = Bellhop::new().await.with("DATA_DIR", data.to_str().expect("a path of ours"));
    let app = app.with("DATABASE_URL", &postgres::database().await).mailing(Sink::start().await.into());
    disk.fill();
    for _ in 0..2 {
        let output = app.call(&[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("secret.key"), "{said}");
        assert_eq!(std::fs::read_dir(&data).expect("it is there").count(), 0, "{said}");
    }
}
