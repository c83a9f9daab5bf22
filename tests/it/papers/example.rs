//! `examples/bind_a_queue.py` does what docs/messaging.md says.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use bellhop::db::Sql;
use bellhop::messaging::broker::Published;
use bellhop::messaging::message::Message;
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{publish, root};
use crate::support::app::{PASSWORD, Stack, TestApp, within};
use crate::support::rabbit;

/// The example at work, in a folder of its own; killed when dropped.
struct Example {
    folder: tempfile::TempDir,
    child: Child,
}

impl Example {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = File::create(folder.path().join("out")).unwrap();
        let child = Command::new("/usr/bin/python3")
            // absolute: it runs in another folder
            .arg(root().join("examples/bind_a_queue.py").canonicalize().unwrap())
            .arg(url)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .expect("python3 is not installed: run scripts/test");
        Self { folder, child }
    }

    fn lines(&self) -> Vec<String> {
        let said = fs::read_to_string(self.folder.path().join("out")).unwrap();
        // a line comes in pieces
        said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    async fn until(&self, lines: usize) -> Vec<String> {
        within(&format!("{lines} lines of the example"), async || self.lines().len() >= lines).await;
        self.lines()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the example said: {:#?}", self.lines());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_binds_a_queue_of_its_own_and_prints_each_event_once() {
    let app = TestApp::start(Stack::Large).await;
    app.signed_in_client("ann@example.org").await;
    app.settle().await;
    // the rights that the paper names
    let mut url = Url::parse(app.app.config.messaging.broker_url.as_ref().unwrap().expose_secret()).unwrap();
    let (user, vhost) = (format!("welcome-{}", Uuid::now_v7().simple()), url.path().trim_start_matches('/').to_owned());
    let file = tempfile::NamedTempFile::new().unwrap();
    let definitions = json!({
        "users": [{ "name": user, "password": "welcome", "tags": "" }],
        "permissions": [{ "user": user, "vhost": vhost, "configure": "^welcome$", "write": "^welcome$",
            "read": r"^(welcome|bellhop\.events)$" }],
    });
    fs::write(file.path(), definitions.to_string()).unwrap();
    rabbit::ctl(&["import_definitions", &file.path().to_string_lossy()]).await;
    url.set_username(&user).unwrap();
    url.set_password(Some("welcome")).unwrap();

    let example = Example::start(url.as_str(), &["welcome", "user.confirmed", "login.*"]);
    let bound = example.until(1).await;
    assert_eq!(bound, ["welcome is bound to bellhop.events for user.confirmed, login.*"]);
    let ben = app.signed_in_client("ben@example.org").await;
    let id = ben.get("/api/v1/me").await.json()["user"]["id"].as_str().unwrap().to_owned();
    let said = example.until(2).await;
    assert!(said[1].contains(" user.confirmed ") && said[1].contains(&id), "{said:?}");

    // as after a crash of the relay: the same event again
    let again: Vec<(Uuid, String)> = app
        .db()
        .query(Sql {
            sqlite: "select id, body from outbox where type = 'user.confirmed'",
            postgres: "select id, body::text from outbox where type = 'user.confirmed'",
        })
        .all()
        .await
        .unwrap();
    let (event, body) = again.into_iter().find(|(_, body)| body.contains(&id)).unwrap();
    let kind = "user.confirmed".to_owned();
    let copy = Message { id: event, kind, body: body.into_bytes(), traceparent: None, attempt: 0, failure: None };
    assert_eq!(publish(&app, "user.confirmed", copy).await, [Published::Confirmed]);
    assert_eq!(app.client().login("ben@example.org", PASSWORD).await.status, 303);
    let said = example.until(3).await;
    assert!(said[2].contains(" login.succeeded ") && said[2].contains(&id), "{said:?}");
    assert_eq!(said.len(), 3, "each event once: {said:?}");
}
