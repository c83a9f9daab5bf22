//! What the command line says, on both stacks: output and nothing else, for people and for programs, with its exit code.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use bellhop::clock::Clock;
use serde_json::Value;
use uuid::Uuid;

use crate::support::app::{OTHER_PASSWORD, PASSWORD};
use crate::support::poll::within;
use crate::support::ports;
use crate::support::postgres::database;
use crate::support::process::Bellhop;
use crate::support::rabbit::vhost;

macro_rules! on_both_stacks {
    ($($story:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::Bellhop::new().await).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::large().await).await; })*
        }
    };
}

on_both_stacks!(
    an_operator_says_all_that_from_the_command_line,
    commands_say_nothing_but_their_output_unless_they_are_asked,
    users_are_listed_page_by_page_and_found,
    item_56_an_operator_sees_and_ends_the_sessions_of_a_person,
);

/// On PostgreSQL and RabbitMQ.
async fn large() -> Bellhop {
    let (database, vhost) = (database().await, vhost().await);
    Bellhop::new().await.with("DATABASE_URL", &database).with("BROKER_URL", &vhost)
}

/// What it said to whom, and its exit code.
struct Said {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Said {
    fn json(&self) -> Vec<Value> {
        let array: Value = serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out));
        array.as_array().expect("an array").clone()
    }
}

async fn say(app: &Bellhop, arguments: &[&str]) -> Said {
    let output = app.call(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

async fn an_operator_says_all_that_from_the_command_line(mut app: Bellhop) {
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    let users = say(&app, &["users", "list"]).await;
    assert!(
        users.code == Some(0) && users.out.contains("ann@example.org") && users.out.contains("  no "),
        "{}",
        users.out
    );
    let promoted = say(&app, &["users", "promote", "ANN@example.org"]).await;
    assert!(promoted.code == Some(0) && promoted.out.contains("since 2"), "{}", promoted.out);
    let client = app.client();
    client.login("ann@example.org", PASSWORD).await;
    assert_eq!(client.get("/api/v1/admin/queues").await.status, 200);
    assert_eq!(client.login("ann@example.org", OTHER_PASSWORD).await.status, 422);
    let demoted = say(&app, &["users", "demote", "ann@example.org"]).await;
    assert_eq!((demoted.code, client.get("/api/v1/admin/queues").await.status), (Some(0), 404));
    for verb in ["show", "promote", "demote"] {
        let nobody = say(&app, &["users", verb, "bob@example.org"]).await;
        assert!(nobody.code == Some(1) && nobody.error.contains("nobody has the address"), "{verb}: {}", nobody.error);
    }

    let queues = say(&app, &["queues"]).await;
    assert!(queues.code == Some(0) && queues.out.starts_with("queue"), "{}", queues.out);
    assert!(queues.out.lines().any(|line| line.starts_with("confirmation ")), "{}", queues.out);
    let names: Vec<Value> = say(&app, &["queues", "--json"]).await.json().iter().map(|q| q["queue"].clone()).collect();
    assert!(names.contains(&"login-log".into()) && names.contains(&"confirmation".into()), "{names:?}");
    let none = say(&app, &["dead-letters", "list"]).await;
    assert_eq!((none.code, none.out.lines().count()), (Some(0), 1), "{}", none.out);
    assert_eq!(say(&app, &["dead-letters", "list", "--json"]).await.json(), Vec::<Value>::new());
    for verb in ["redrive", "discard"] {
        assert_eq!(say(&app, &["dead-letters", verb, "--all", "--json"]).await.json(), Vec::<Value>::new());
        let id = Uuid::nil().to_string();
        let none = say(&app, &["dead-letters", verb, "--id", &id]).await;
        assert!(none.code == Some(1) && none.error.contains("no such dead letter"), "{}", none.error);
    }
    let wrong = say(&app, &["dead-letters", "list", "--queue", "kitchen"]).await;
    assert!(wrong.code == Some(1) && wrong.error.contains("there is no queue \"kitchen\""), "{}", wrong.error);
    let replayed = say(&app, &["replay", "--since", "1h"]).await;
    assert!(replayed.code == Some(0) && replayed.out.contains("login-log: 0 published again"), "{}", replayed.out);
    let replayed = say(&app, &["replay", "--since", "1h", "--listener", "login-log", "--json"]).await.json();
    assert_eq!(replayed, [serde_json::json!({"listener": "login-log", "events": 0})]);
}

async fn item_56_an_operator_sees_and_ends_the_sessions_of_a_person(mut app: Bellhop) {
    app.start().await;
    let (ann, ben) = (app.signed_in_client("ann@example.org").await, app.signed_in_client("ben@example.org").await);
    let phone = app.client();
    assert_eq!(phone.login("ann@example.org", PASSWORD).await.status, 303);
    let list = async || say(&app, &["users", "sessions", "Ann@example.org"]).await;
    let two = list().await;
    assert!(two.code == Some(0) && two.out.matches("Bellhop-Test/1").count() == 2, "{}", two.out);
    assert!(two.out.contains("127.0.0.1"), "{}", two.out);
    let ended = say(&app, &["users", "sessions", "ann@example.org", "--end"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "ended 2\n"), "{}", ended.error);
    for client in [&ann, &phone] {
        within("the process to know it", async || client.get("/api/v1/me").await.status == 401).await;
    }
    assert_eq!(ben.get("/api/v1/me").await.status, 200, "nobody else is signed out");
    assert_eq!(list().await.out.lines().count(), 1, "the names of the columns");
    for arguments in [&["users", "sessions", "eve@example.org"][..], &["users", "sessions", "eve@example.org", "--end"]]
    {
        let nobody = say(&app, arguments).await;
        assert!(nobody.code == Some(1) && nobody.error.contains("nobody has the address"), "{}", nobody.error);
    }
}

async fn commands_say_nothing_but_their_output_unless_they_are_asked(app: Bellhop) {
    let migrated = say(&app, &["migrate"]).await;
    assert!(migrated.code == Some(0) && migrated.out.contains("up to date"), "{}", migrated.out);
    assert_eq!(migrated.error, "");
    for arguments in [
        &["queues"][..],
        &["dead-letters", "list"],
        &["dead-letters", "redrive", "--all"],
        &["replay", "--since", "7d"],
        &["users", "list"],
    ] {
        let said = say(&app, arguments).await;
        assert_eq!((said.code, said.error.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(said.out.ends_with('\n'), "{arguments:?}: {}", said.out);
    }
    let loud = app.with("LOG", "debug");
    assert_ne!(say(&loud, &["users", "list"]).await.error, "", "the setting is heeded");
}

/// Puts this many users into the database, administrators every hundredth, and returns their addresses in order.
async fn fill(app: &Bellhop, users: usize) -> Vec<String> {
    let (db, clock) = (app.db().await, Clock::default());
    let mut tx = db.begin().await.unwrap();
    let mut emails = Vec::new();
    for n in 0..users {
        let email = format!("user{n}@example.org");
        let name = if n == 1_700 { "Zo\u{eb} \u{1b}[31m\u{202e}".to_owned() } else { format!("User {n}") };
        tx.query(
            "insert into users (id, email, email_canonical, name, password_hash, locale, created_at, admin_since)
             values ($1, $2, $3, $4, '', 'en', $5, $6)",
        )
        .bind(clock.new_id())
        .bind(email.clone())
        .bind(email.to_lowercase())
        .bind(name)
        .bind(clock.now())
        .bind(n.is_multiple_of(100).then(|| clock.now()))
        .execute()
        .await
        .unwrap();
        emails.push(email);
    }
    tx.commit().await.unwrap();
    db.close().await;
    emails
}

async fn users_are_listed_page_by_page_and_found(app: Bellhop) {
    assert_eq!(say(&app, &["migrate"]).await.code, Some(0));
    let none = say(&app, &["users", "list"]).await;
    assert_eq!((none.code, none.out.lines().count()), (Some(0), 1), "{}", none.out);
    assert_eq!(say(&app, &["users", "list", "--json"]).await.json(), Vec::<Value>::new());

    let all = fill(&app, 2_500).await;
    let list = async |arguments: &[&str]| {
        let said = say(&app, &[&["users", "list"], arguments].concat()).await;
        assert_eq!((said.code, said.error.as_str()), (Some(0), ""), "{arguments:?}");
        said
    };
    let lines = list(&[]).await.out;
    let listed: Vec<&str> = lines.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(listed.len(), all.len());
    assert!(listed == all, "everybody once, the newest last: {lines}");
    assert!(lines.contains(r"Zoë \u{1b}[31m\u{202e}") && !lines.contains('\u{1b}'), "nothing that a terminal obeys");
    let emails = async |arguments: &[&str]| {
        let users = list(&[&["--json"], arguments].concat()).await.json();
        users.iter().map(|user| user["email"].as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    assert!(emails(&[]).await == all);
    assert_eq!(emails(&["--limit", "1001"]).await, all[..1_001]);
    assert_eq!(emails(&["--limit", "0"]).await, Vec::<String>::new());
    assert_eq!(emails(&["--search", "ZOË"]).await, [all[1_700].clone()]);
    assert_eq!(emails(&["--search", "user249"]).await, [&all[249..250], &all[2_490..2_500]].concat());
    let admins: Vec<String> = all.iter().step_by(100).cloned().collect();
    assert_eq!(emails(&["--admin"]).await, admins);
    assert_eq!(emails(&["--admin", "--search", "00@", "--limit", "2"]).await, admins[1..3]);
    let first = &list(&["--limit", "1", "--json"]).await.json()[0];
    let fields: BTreeSet<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["id", "email", "name", "created_at", "admin_since"]));

    // whoever has seen enough goes, and that is no failure
    let mut child = app.command(&["users", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("email"), "{first}");
    let gone = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((gone.status.code(), String::from_utf8_lossy(&gone.stderr).as_ref()), (Some(0), ""));
}

#[tokio::test]
async fn a_wrong_command_line_has_a_code_of_its_own() {
    let app = Bellhop::new().await;
    for (arguments, named) in [
        (&["kitchen"][..], "kitchen"),
        (&["users"], "Usage"),
        (&["users", "list", "--limit", "some"], "--limit"),
        (&["--only", "web", "users", "list"], "--only"),
        (&["users", "list", "--only", "web"], "--only"),
        (&["dead-letters", "redrive"], "--id"),
        (&["dead-letters", "show", "--id", "seven"], "seven"),
        (&["replay"], "--since"),
        (&["replay", "--since", "yesterday"], "neither a time"),
        (&["completions", "cmd"], "bash"),
    ] {
        let said = say(&app, arguments).await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}: {}", said.error);
        assert!(said.error.contains(named), "{arguments:?}: {}", said.error);
    }
    assert!(!app.data().exists(), "nothing was begun");
}

#[tokio::test]
async fn completions_and_the_manual_need_no_settings() {
    let app = Bellhop::new().await.with("LISTEN", "nowhere");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = say(&app, &["completions", shell]).await;
        assert_eq!((said.code, said.error.as_str()), (Some(0), ""), "{shell}");
        for word in ["dead-letters", "redrive", "promote", "hash-memory"] {
            assert!(said.out.contains(word), "{shell} does not know {word}");
        }
        let script = app.folder().join(shell);
        std::fs::write(&script, said.out).unwrap();
        // those that are here say whether it is a script of theirs
        if matches!(shell, "bash" | "zsh" | "fish")
            && let Ok(checked) = Command::new(shell).arg("-n").arg(&script).output()
        {
            assert!(checked.status.success(), "{shell}: {}", String::from_utf8_lossy(&checked.stderr));
        }
    }
    let page = say(&app, &["man"]).await;
    assert!(page.code == Some(0) && page.out.contains("\n.TH bellhop 1"), "{}", page.out);
    let folder = app.folder().join("man1");
    assert_eq!(say(&app, &["man", folder.to_str().unwrap()]).await.code, Some(0));
    let list = std::fs::read_to_string(folder.join("bellhop-users-list.1")).unwrap();
    assert!(list.contains("\\-\\-search"), "{list}");
    let settings = say(&app, &["help", "settings"]).await;
    assert_eq!((settings.code, settings.out.trim_end()), (Some(0), say(&app, &["settings"]).await.out.trim_end()));
    assert!(settings.out.contains("  BELLHOP_LISTEN [127.0.0.1:8080]\n      where HTTP listens\n"), "{}", settings.out);
}

#[tokio::test]
async fn who_waits_at_a_terminal_sees_how_far_it_has_come() {
    let app = Bellhop::new().await;
    for (arguments, shown) in [("migrate", "migrating"), ("replay --since 1h", "published again:")] {
        let program = app.command(&[]);
        let path = program.get_program().to_str().unwrap();
        // script gives it a terminal, which shows both of its outputs
        let mut on_terminal = Command::new("script");
        on_terminal.args(["--quiet", "--return", "--command", &format!("{path} {arguments}"), "/dev/null"]);
        on_terminal.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        on_terminal.env("TERM", "xterm").stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || on_terminal.output()).await.unwrap().unwrap();
        let terminal = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && terminal.contains(shown), "{arguments}: {terminal:?}");
        let piped = say(&app, &arguments.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((piped.code, piped.error.as_str()), (Some(0), ""), "{arguments}");
    }
}

/// F24, F27: what waits is told while the broker is away, and why in one line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_told_while_the_broker_is_away() {
    let away = ports::listen().await;
    let address = away.local_addr().unwrap();
    drop(away);
    let mut app = Bellhop::new().await.with("BROKER_URL", &format!("amqp://guest:guest@{address}"));
    app.start().await;
    for name in ["ann", "bob"] {
        assert_eq!(app.client().register(&format!("{name}@example.org"), PASSWORD, "Ann").await.status, 303);
    }
    let said = say(&app, &["queues", "--json"]).await;
    assert_eq!(said.code, Some(1));
    let rows = said.json();
    let outbox = rows.iter().find(|row| row["queue"] == "outbox").expect("the outbox");
    assert!(outbox["waiting"] == 2 && outbox["oldest"].is_string() && outbox["later"] == 0, "{outbox}");
    let mails = rows.iter().find(|row| row["queue"] == "confirmation").expect("a queue");
    assert_eq!((&mails["depth"], &mails["waiting"]), (&Value::Null, &0.into()), "{mails}");
    let table = say(&app, &["queues"]).await;
    assert!(table.out.lines().any(|line| line.starts_with("outbox  ") && line.contains(" 2 ")), "{}", table.out);
    assert!(
        table.error.starts_with("bellhop: the broker is away") && table.error.lines().count() == 1,
        "{}",
        table.error
    );
}

/// F27: a command that fails closes what it opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_fails_says_why_and_nothing_of_the_threads_below_it() {
    let app = large().await;
    assert_eq!(say(&app, &["migrate"]).await.code, Some(0));
    for _ in 0..10 {
        let said = say(&app, &["dead-letters", "show", "--id", &Uuid::nil().to_string()]).await;
        assert_eq!(said.error, "bellhop: there is no such dead letter\n");
    }
}

/// F26, F67: whose a dead letter is and which mail; nothing of it is obeyed by a terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_says_whose_it_is_and_is_obeyed_by_no_terminal() {
    use lapin::options::BasicPublishOptions;
    use lapin::{BasicProperties, Connection, ConnectionProperties};

    let broker = vhost().await;
    let mut app = Bellhop::new().await.with("DATABASE_URL", &database().await).with("BROKER_URL", &broker);
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    let db = app.db().await;
    let sql = "select id, body from outbox where type = 'user.registered'";
    let (id, body): (Uuid, String) = db.query(sql).one().await.unwrap();
    let connection = Connection::connect(&broker, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let properties = BasicProperties::default()
        .with_message_id(id.to_string().as_str().into())
        .with_type("user\u{1b}[31m.registered\u{7}\u{202e}".into());
    let (exchange, queue) = ("".into(), "bellhop.confirmation.dead".into());
    let published = channel.basic_publish(exchange, queue, BasicPublishOptions::default(), body.as_bytes(), properties);
    published.await.unwrap().await.unwrap();
    let id = id.to_string();
    let mut shown = say(&app, &["dead-letters", "show", "--id", &id]).await;
    for _ in 0..50 {
        if shown.code == Some(0) {
            break;
        }
        shown = say(&app, &["dead-letters", "show", "--id", &id]).await;
    }
    assert!(
        shown.out.lines().any(|line| line.starts_with("whose ") && line.ends_with(" ann@example.org")),
        "{}",
        shown.out
    );
    assert!(shown.out.contains("the mail that confirms an address"), "{}", shown.out);
    let done = shown.out.lines().find(|line| line.starts_with("done since")).expect("a line");
    assert!(done.contains(" 20"), "the mail went out: {done}");
    let listed = say(&app, &["dead-letters", "list"]).await;
    let cleared = say(&app, &["dead-letters", "discard", "--done"]).await;
    assert!(cleared.out.contains("1 discarded"), "{}", cleared.out);
    for said in [&shown, &listed, &cleared] {
        let lines = said.out.lines().chain(said.error.lines());
        assert!(
            said.out.contains("user\\u{1b}[31m")
                && lines.flat_map(str::chars).all(|c| !c.is_control() && c != '\u{202e}')
        );
    }
    db.close().await;
}
