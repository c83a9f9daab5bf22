//! The rules of the house, read from its own files: who may use whom, who settles, who compares passwords, what a
//! statement is made of, and that both databases have the same tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bellhop::db::{Db, Location, Sql};

use crate::support::postgres;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of ours below `folder` with this ending, and its text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder} has files");
    let name = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The part of a file that is the program, without its tests.
fn program(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// The room of a file: the first name below `src`.
fn room(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

const LEVELS: [(u8, &[&str]); 5] = [
    (4, &["main", "lib", "app", "cli"]),
    (3, &["http", "listeners"]),
    (2, &["account", "event"]),
    (1, &["messaging", "mail"]),
    (0, &["db", "clock", "config", "error", "failpoint", "locale", "net", "progress", "telemetry", "text"]),
];

fn level(room: &str) -> u8 {
    let found = LEVELS.iter().find(|(_, rooms)| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("{room} has no level: add it to LEVELS")).0
}

/// Every room of ours that a text names: `crate::room` outside comments.
fn named(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut rooms = Vec::new();
    for part in code.split("crate::").skip(1) {
        // `use crate::{a, b}` would hide rooms from this test
        assert!(!part.starts_with('{'), "one room a line: {}", &part[..part.len().min(60)]);
        let end = part.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(part.len());
        rooms.push(part[..end].to_owned());
    }
    rooms
}

/// What is wrong with who uses whom.
fn upward(files: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in files {
        let here = room(file);
        for there in named(program(text)) {
            let above = level(&there) > level(here);
            let doors = level(here) == 3 && level(&there) == 3 && here != there;
            let sideways = (here == "mail" && there == "messaging") || (here == "messaging" && there == "mail");
            if above || doors || sideways {
                wrong.push(format!("{file} uses {there}"));
            }
        }
    }
    wrong
}

#[test]
fn dependencies_point_downward_only() {
    assert_eq!(upward(&files("src", ".rs")), Vec::<String>::new());
    let seeded = [
        ("src/messaging/outbox/relay.rs".to_owned(), "use crate::account::Accounts;".to_owned()),
        ("src/http/pages/login.rs".to_owned(), "fn f() { crate::listeners::all() }".to_owned()),
    ];
    assert_eq!(upward(&seeded).len(), 2, "the rule sees what breaks it");
}

/// The lines of the program that hold `needle`, outside comments, as `file: line`.
fn lines_with(needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in files("src", ".rs") {
        if file.ends_with("/tests.rs") {
            continue;
        }
        let code = program(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
        found.extend(code.filter(|line| line.contains(needle)).map(|line| format!("{file}: {}", line.trim())));
    }
    found
}

#[test]
fn only_one_place_settles() {
    let mut callers: Vec<String> = [".ack()", "delivery.release()", "basic_ack", "basic_nack", "basic_reject"]
        .into_iter()
        .flat_map(lines_with)
        .map(|line| line.split(": ").next().unwrap().to_owned())
        .collect();
    callers.dedup();
    let brokers = [
        "src/messaging/broker/mod.rs",
        "src/messaging/consumer/mod.rs",
        "src/messaging/broker/embedded/delivery.rs",
        // a node's own queue, where nothing is tried again
        "src/messaging/consumer/ephemeral.rs",
        // dead letters, which no listener works at
        "src/messaging/operator.rs",
    ];
    let strangers: Vec<&String> = callers
        .iter()
        .filter(|file| !brokers.contains(&file.as_str()) && !file.starts_with("src/messaging/broker/rabbit/"))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    assert!(callers.iter().any(|file| file == "src/messaging/consumer/mod.rs"), "{callers:?}");
}

#[test]
fn every_step_that_can_fail_is_in_the_list_and_in_the_program() {
    let mut reached: Vec<String> = lines_with("failpoint::reach(")
        .into_iter()
        .map(|line| {
            line.split("failpoint::reach(\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
        })
        .collect();
    reached.sort();
    reached.dedup();
    let mut listed = bellhop::failpoint::STEPS.to_vec();
    listed.sort_unstable();
    assert_eq!(reached, listed);
}

#[test]
fn only_login_and_confirm_compare_passwords() {
    let mut callers = lines_with("hasher.verify(");
    callers.extend(lines_with("permit.verify("));
    let files: Vec<&str> = callers.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(files, ["src/account/confirm.rs", "src/account/login.rs"], "every path goes through these: {callers:?}");
}

#[test]
fn a_statement_is_a_constant_and_a_page_escapes() {
    // what is put together there is made of constants, which the types of its functions see to
    let made: Vec<String> =
        lines_with("AssertSqlSafe").into_iter().filter(|line| !line.starts_with("src/db/")).collect();
    assert_eq!(made, Vec::<String>::new());
    for forbidden in ["PreEscaped", "MarkupDisplay", "query(&format!", "query(format!"] {
        assert_eq!(lines_with(forbidden), Vec::<String>::new());
    }
    for (file, text) in files("templates", ".html") {
        assert!(!text.contains("|safe") && !text.contains("| safe"), "{file}");
    }
    for (file, text) in files("src/http", ".rs") {
        assert!(!program(&text).contains("sqlx::") && !program(&text).contains("db.query("), "no SQL in {file}");
    }
}

#[test]
fn secrets_compare_in_constant_time_because_they_compare_in_no_other_way() {
    for (file, kind) in [
        ("src/account/credentials/token.rs", "pub struct Token("),
        ("src/account/credentials/policy.rs", "pub struct Password("),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let before = text.split(kind).next().unwrap_or_else(|| panic!("{kind} is in {file}"));
        let derive = before.rfind("#[derive").map_or("", |at| &before[at..]);
        let derive = derive.lines().next().unwrap_or_default();
        assert!(!derive.contains("PartialEq"), "{file}: {derive}");
    }
}

#[test]
fn no_key_and_no_machine_is_in_the_tree() {
    let folders = [("src", ".rs"), ("tests", ".rs"), ("migrations", ".sql"), ("templates", ".html")];
    for (folder, ending) in folders {
        for (file, text) in files(folder, ending) {
            let marker = ["-----BEGIN", " "].concat();
            assert!(!text.contains(&marker), "a key block in {file}");
        }
    }
}

#[test]
fn migrations_have_the_same_names_on_both_databases() {
    let names = |kind: &str| -> Vec<String> {
        files(&format!("migrations/{kind}"), ".sql")
            .into_iter()
            .map(|(file, _)| file.rsplit('/').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
    let postgres = Location::Postgres(Box::new(postgres::database().await.parse().unwrap()));
    let postgres = Db::open(&postgres, 2).await.unwrap();
    let columns = Sql {
        sqlite: "select m.name || '.' || c.name, c.\"notnull\" = 1 or c.pk > 0
                 from sqlite_master m join pragma_table_info(m.name) c
                 where m.type = 'table' and m.name not like 'sqlite_%' and m.name <> '_sqlx_migrations'",
        postgres: "select table_name || '.' || column_name, is_nullable = 'NO'
                   from information_schema.columns
                   where table_schema = 'public' and table_name <> '_sqlx_migrations'",
    };
    let indexes = Sql {
        sqlite: "select name, 1 = 1 from sqlite_master where type = 'index' and name not like 'sqlite_%'",
        postgres: "select indexname::text, true from pg_indexes
                   where schemaname = 'public' and indexname not like '%_pkey' and indexname not like '%_key'",
    };
    let mut seen = Vec::new();
    for db in [&sqlite, &postgres] {
        db.migrate().await.unwrap();
        db.migrate().await.expect("migrating twice changes nothing");
        let mut all = BTreeMap::new();
        for sql in [columns, indexes] {
            let rows: Vec<(String, bool)> = db.query(sql).all().await.unwrap();
            all.extend(rows);
        }
        seen.push(all);
    }
    assert!(seen[0].len() > 50, "{:?}", seen[0]);
    assert_eq!(seen[0], seen[1]);
}
