//! F32: the examples of README.md do what it says, in the order in which it gives them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::Arc;

use bellhop::clock::Clock;
use serde_json::Value;
use uuid::Uuid;

use super::{paper, root};
use crate::support::app::{PASSWORD, within};
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

/// What parts have in common that share no data directory.
const KEY: &str = "a key of the tests' own, 4f1d9ab2c7e85630";

/// The shell's blocks, in order.
fn blocks() -> Vec<String> {
    let readme = paper("README.md");
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// The one that begins so.
fn block(beginning: &str) -> String {
    let mut found = blocks().into_iter().filter(|block| block.starts_with(beginning));
    match (found.next(), found.next()) {
        (Some(block), None) => block,
        _ => panic!("one block of README.md begins with {beginning}"),
    }
}

#[test]
fn every_block_of_the_readme_is_tried_somewhere() {
    let beginnings = [
        // here
        "cargo run --release",
        "export BELLHOP_DATABASE_URL=",
        "bellhop serve --only web",
        // scripts/container
        "printf 'POSTGRES_PASSWORD=",
        "bellhop queues",
        "URL=",
        // papers::deploying
        "sqlite3 data/bellhop.sqlite",
    ];
    let blocks = blocks();
    assert_eq!(blocks.len(), beginnings.len(), "a block more is a block more to try");
    for (block, beginning) in blocks.iter().zip(beginnings) {
        assert!(block.starts_with(beginning), "{beginning}: {block}");
    }
    // `cargo run` starts the one program that there is, and the other one is there to be run
    assert!(paper("Cargo.toml").contains("default-run = \"bellhop\""));
    let words = block("cargo run").lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(words, ["cargo", "scripts/test"]);
    assert!(root().join("scripts/test").metadata().unwrap().permissions().mode() & 0o111 != 0);
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// What a script prints, on standard output and on the other.
async fn printed(app: &Bellhop, script: &str) -> (String, String) {
    let Output { status, stdout, stderr } = run(app.shell(script)).await;
    let [out, error] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(status.code(), Some(0), "{script}\n{out}\n{error}");
    (out, error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_minute_the_operators_commands_and_the_api_work_one_after_the_other() {
    // an address of its own is all that is not as in the paper
    let mut app = Bellhop::new().await.with("LIMITS", "on");
    app.start().await;
    first_minute(&app).await;
    operating(&app).await;
    programs(&app).await;
    // and again, as somebody does who reads on
    programs(&app).await;
}

/// "The first minute", with the address that it names.
async fn first_minute(app: &Bellhop) {
    let client = app.client();
    assert!(paper("README.md").contains("such as `ada@example.org`"));
    assert_eq!(client.get("/register").await.status, 200);
    assert_eq!(client.register("ada@example.org", PASSWORD, "Ada").await.header("location"), "/register/sent");
    assert_eq!(client.get("/register/sent").await.status, 200);
    let token = app.token("ada@example.org").await;
    assert!(client.get("/mailbox").await.body.contains("ada@example.org"));
    // another browser is asked for the password too
    assert!(app.client().get(&format!("/confirm?token={token}")).await.body.contains("type=\"password\""));
    let page = client.get(&format!("/confirm?token={token}")).await;
    assert!(page.body.contains("<button") && !page.body.contains("type=\"password\""), "{}", page.body);
    assert_eq!(client.post("/confirm", &[("token", &token)]).await.header("location"), "/account");
    assert_eq!(client.post("/logout", &[]).await.status, 303);
    assert_eq!(client.login("ada@example.org", "a wrong password between them").await.status, 422);
    assert_eq!(client.login("ada@example.org", PASSWORD).await.status, 303);
    within("both sign-ins and what failed between them", async || {
        let page = client.get("/account").await.body;
        page.split("<tbody").nth(1).is_some_and(|rows| rows.matches("<tr").count() == 3)
    })
    .await;
}

/// "For operators": each line, in order.
async fn operating(app: &Bellhop) {
    // something to look at: an event that no listener can read
    let (db, clock, id) = (app.db().await, Clock::default(), Uuid::now_v7());
    let mut tx = db.begin().await.unwrap();
    let row = "insert into outbox (id, type, body, created_at, due_at, attempts) values ($1, 'user.registered', '{}', $2, $2, 0)";
    tx.query(row).bind(id).bind(clock.now()).execute().await.unwrap();
    tx.commit().await.unwrap();
    let dead = async || {
        let letters: Value = serde_json::from_str(&printed(app, "bellhop dead-letters list --json").await.0).unwrap();
        letters.as_array().unwrap().iter().any(|letter| letter["id"] == id.to_string())
    };
    let mut tried = Vec::new();
    for line in block("bellhop queues").lines() {
        let command = line.split("  #").next().unwrap();
        let words: Vec<&str> = command.split_whitespace().skip(1).take_while(|word| !word.starts_with("--")).collect();
        if words[0] == "dead-letters" {
            within("the event to be given up", dead).await;
        }
        let (out, error) = printed(app, &line.replace("--id ID", &format!("--id {id}"))).await;
        assert_eq!(error, "", "{line}");
        let id = id.to_string();
        let promised: &[&str] = match words[..] {
            ["queues"] => &["confirmation", "login-log", "outbox"],
            ["queues", "retry-now"] => &["confirmation", "login-log"],
            ["dead-letters", "discard"] => &[],
            ["dead-letters", _] => &[&id],
            ["replay"] => &["login-log: 0 published again"],
            ["users", "sessions", _] => &["last used", "127.0.0.1"],
            ["users", _] | ["users", "promote", _] => &["ada@example.org"],
            _ => panic!("what does it promise? {line}"),
        };
        for text in promised {
            assert!(out.contains(text), "{line}: {out}");
        }
        tried.push(words.join(" "));
    }
    assert_eq!(tried.len(), 10, "{tried:?}");
    assert!(!dead().await, "it was discarded");
    // "Administrators have the same"
    let ada = app.client();
    assert_eq!(ada.login("ada@example.org", PASSWORD).await.status, 303);
    for call in ["/api/v1/admin/queues", "/api/v1/admin/dead-letters"] {
        assert_eq!(ada.get(call).await.status, 200, "{call}");
    }
}

/// "For programs".
async fn programs(app: &Bellhop) {
    let script = block("URL=").replace("http://127.0.0.1:8080", &app.url);
    assert!(script.contains(&app.url));
    // says on the other output what was answered
    let telling = "curl() { command curl -sS -w '%{stderr}%{http_code} %{url}\\n' \"$@\"; }\n";
    let (out, told) = printed(app, &format!("{telling}{script}")).await;
    let answers: Vec<(&str, &str)> = told.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let (mails, calls): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, url)| url.contains("/mailbox.json"));
    assert!(!mails.is_empty() && mails.iter().all(|(status, _)| *status == "200"), "{told}");
    let calls: Vec<(&str, &str)> =
        calls.into_iter().map(|(status, url)| (status, url.strip_prefix(&app.url).unwrap())).collect();
    let expected =
        [("202", "/api/v1/register"), ("204", "/api/v1/confirm"), ("200", "/api/v1/me"), ("204", "/api/v1/logout")];
    assert_eq!(calls, expected, "{told}");
    assert!(out.contains("confirmation_pending") && out.contains("\"name\":\"Grace\""), "{out}");
}

/// "With PostgreSQL, RabbitMQ and SMTP": the settings with servers that are there, then in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_settings_lead_to_servers_and_each_part_runs_by_itself() {
    let (database, vhost) = tokio::join!(postgres::database(), rabbit::vhost());
    let sink = Arc::new(Sink::start().await);
    let exported = block("export BELLHOP_DATABASE_URL=");
    // read by the shell, as it would be typed
    let names = exported.lines().filter_map(|line| line.strip_prefix("export ")?.split('=').next().map(str::to_owned));
    let names: Vec<String> = names.collect();
    assert_eq!(exported.lines().last(), Some("bellhop"));
    let script = exported.trim_end().strip_suffix("bellhop").unwrap().to_owned();
    let show: String = names.iter().map(|name| format!("printf '%s\\n' \"${name}\"\n")).collect();
    let (values, _) = printed(&Bellhop::new().await, &(script + &show)).await;
    let mut settings: BTreeMap<&str, &str> =
        names.iter().map(|name| name.strip_prefix("BELLHOP_").unwrap()).zip(values.lines()).collect();
    let mail = sink.url();
    for (name, there) in
        [("DATABASE_URL", database.as_str()), ("BROKER_URL", vhost.as_str()), ("SMTP_URL", mail.as_str())]
    {
        let example = settings.insert(name, there).expect(name);
        assert_eq!(example.split(':').next(), there.split(':').next(), "{name}");
    }
    assert_eq!(settings.len(), 5);
    let configured = async || {
        let app = Bellhop::new().await.mailing(Arc::clone(&sink)).with("SECRET_KEY", KEY);
        settings.iter().fold(app, |app, (name, value)| app.with(name, value))
    };
    let mut whole = configured().await;
    whole.start().await;
    let said = whole.printed();
    assert!(said.contains("PostgreSQL") && said.contains("RabbitMQ") && said.contains("id.example.org"), "{said}");
    whole.terminate();
    assert_eq!(whole.end().await.code(), Some(0), "{}", whole.log());

    let mut parts = Vec::new();
    for line in block("bellhop serve --only web").lines() {
        let arguments: Vec<&str> = line.split(" #").next().unwrap().split_whitespace().skip(1).collect();
        parts.push(configured().await.running(&arguments));
    }
    let [web, relay, listeners, confirmation] = &mut parts[..] else { panic!("four parts") };
    web.start().await;
    let registered = web.client().register("ada@example.org", PASSWORD, "Ada").await;
    assert_eq!(registered.status, 303, "{}", registered.body);
    relay.spawn();
    // either of them alone is enough
    for (listener, email) in [(listeners, "ada@example.org"), (confirmation, "grace@example.org")] {
        listener.spawn();
        web.client().register(email, PASSWORD, "Grace").await;
        let token = listener.token(email).await;
        let mail = listener.letters().into_iter().find(|letter| letter.token().as_ref() == Some(&token)).unwrap();
        assert!(mail.text.contains("https://id.example.org/confirm?token="), "{}", mail.text);
        listener.terminate();
        assert_eq!(listener.end().await.code(), Some(0), "{}", listener.log());
    }
}
