//! The rules of the house, read from its own files: who may use whom, who settles, who compares passwords, what a
//! statement is made of, and that both databases have the same tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bellhop::db::{Db, Location, Sql};

use crate::support::postgres;

mod items;

/// Cargo runs tests here. A path that is compiled in would be that of the checkout whose build this is.
fn root() -> PathBuf {
    PathBuf::from(".")
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
    (
        0,
        &[
            "backoff",
            "clock",
            "config",
            "db",
            "device",
            "error",
            "failpoint",
            "health",
            "links",
            "locale",
            "net",
            "processes",
            "progress",
            "tasks",
            "telemetry",
            "text",
        ],
    ),
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

/// Where no import circle may be, neither between files nor between the files and folders of a folder.
const WITHOUT_CIRCLES: &str = "src/";

/// Which files of ours each file uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Its module as path segments: `src/http/mod.rs` is `http`.
fn module_of(file: &str) -> Vec<&str> {
    let path = file.strip_prefix("src/").unwrap().trim_end_matches(".rs");
    let mut segments: Vec<&str> = path.split('/').collect();
    if matches!(segments.last(), Some(&("mod" | "lib" | "main"))) {
        segments.pop();
    }
    segments
}

/// Every path in `code` that begins with `crate::`, `self::` or `super::`, or with a module that it declares, from the root of
/// the crate on; lists in braces are unfolded, however they nest.
fn paths_in(module: &[&str], code: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let module: Vec<String> = module.iter().map(|&segment| segment.to_owned()).collect();
    let mut starts = vec![("crate".to_owned(), Vec::new()), ("self".to_owned(), module.clone())];
    starts.push(("super".to_owned(), module[..module.len().saturating_sub(1)].to_vec()));
    let declared = code.lines().filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod "));
    for (_, child) in declared.filter(|(before, _)| before.is_empty() || before.starts_with("pub")) {
        starts.push((child.to_owned(), [&module[..], &[child.to_owned()]].concat()));
    }
    let mut found = Vec::new();
    for (word, base) in starts {
        for (at, _) in code.match_indices(&format!("{word}::")) {
            // `pub(in crate::a)` says who may see, and uses nothing
            let is_visibility = code[..at].ends_with("(in ");
            if !is_visibility && !code[..at].ends_with(|c: char| is_name(c) || c == ':') {
                unfold(&code[at + word.len() + 2..], base.clone(), &mut found);
            }
        }
    }
    found
}

/// Reads one path of a `use` tree, what follows its first `::`; returns what comes after it.
fn unfold<'a>(code: &'a str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut list) = code.strip_prefix('{') {
        loop {
            list = list.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(rest) = list.strip_prefix('}') {
                return rest;
            }
            list = unfold(list, path.clone(), found);
            // past `as another_name`
            list = &list[list.find([',', '}']).unwrap_or(list.len())..];
            if list.is_empty() {
                return list;
            }
        }
    }
    let end = code.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(code.len());
    match &code[..end] {
        "super" => drop(path.pop()),
        "self" | "" => {}
        name => path.push(name.to_owned()),
    }
    if let Some(rest) = code[end..].strip_prefix("::") {
        unfold(rest, path, found)
    } else {
        found.push(path);
        &code[end.max(usize::from(code.starts_with('*')))..]
    }
}

/// Who uses whom, tests left out.
fn uses(files: &[(String, String)]) -> Uses {
    let is_test = |file: &str| file.ends_with("/tests.rs") || file.contains("/tests/");
    let files = || files.iter().filter(|(file, _)| !is_test(file) && file != "src/main.rs");
    let by_module: BTreeMap<Vec<&str>, &String> = files().map(|(file, _)| (module_of(file), file)).collect();
    let target = |path: &[String]| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        (0..=path.len()).rev().find_map(|length| by_module.get(&path[..length]).copied())
    };
    let of = |file: &str, text: &str| {
        let code: Vec<&str> = program(text).lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let paths = paths_in(&module_of(file), &code.join("\n"));
        paths.iter().filter_map(|path| target(path)).filter(|other| *other != file).cloned().collect()
    };
    files().map(|(file, text)| (file.clone(), of(file, text))).collect()
}

/// The groups of names that all reach each other.
fn circles(uses: &Uses) -> Vec<Vec<&String>> {
    let reached_from = |start: &String| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = uses[start].iter().collect();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(uses.get(next).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<&String>> = uses.keys().map(|file| (file, reached_from(file))).collect();
    let both = |a: &String, b: &String| reached[a].contains(b) && reached.get(b).is_some_and(|from| from.contains(a));
    let mut groups: Vec<Vec<&String>> = uses
        .keys()
        .map(|a| uses.keys().filter(|b| both(a, b)).collect())
        .filter(|group: &Vec<_>| !group.is_empty())
        .collect();
    groups.dedup();
    groups.sort();
    groups.dedup();
    groups
}

/// The same uses as the files and folders that lie in `folder` see them of each other.
fn within_folder(uses: &Uses, folder: &str) -> Uses {
    let entry = |file: &str| file.strip_prefix(folder).map(|rest| rest.split('/').next().unwrap().to_owned());
    let mut inside = Uses::new();
    for (file, others) in uses {
        let Some(own) = entry(file) else { continue };
        let others = others.iter().filter_map(|other| entry(other)).filter(|other| *other != own);
        inside.entry(own.clone()).or_default().extend(others);
    }
    inside
}

fn circles_below(uses: &Uses, top: &str) -> Vec<String> {
    let mut found: Vec<String> = circles(uses)
        .into_iter()
        .filter(|group| group.iter().any(|file| file.starts_with(top)))
        .map(|group| format!("files {group:?}"))
        .collect();
    let folders = uses.keys().flat_map(|file| file.match_indices('/').map(|(at, _)| &file[..=at]));
    for folder in folders.filter(|folder| folder.starts_with(top)).collect::<BTreeSet<_>>() {
        found.extend(circles(&within_folder(uses, folder)).into_iter().map(|group| format!("{folder} {group:?}")));
    }
    found
}

fn seeded(files: &[(&str, &str)]) -> Uses {
    uses(&files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
}

#[test]
fn no_file_and_no_folder_uses_what_uses_it() {
    let all = uses(&files("src", ".rs"));
    assert!(all["src/http/mod.rs"].contains("src/http/pages/login.rs"), "{:?}", all["src/http/mod.rs"]);
    assert_eq!(circles_below(&all, WITHOUT_CIRCLES), Vec::<String>::new());

    let of_files = [
        ("src/http/mod.rs", "mod a;\nmod b;\nmod c;"),
        ("src/http/a.rs", "use crate::http::{b::{self, B}, c};"),
        ("src/http/b.rs", "fn b() { super::c::c() }"),
        ("src/http/c.rs", "/// As [`crate::http`].\nuse super::{x, a::A as Other};\npub(in crate::http) struct C;"),
    ];
    assert_eq!(circles_below(&seeded(&of_files), "src/http/").len(), 2, "as files, and in their folder");
    let with_the_folder = [("src/http/mod.rs", "mod a;\nuse a::A;"), ("src/http/a.rs", "use crate::http::Shared;")];
    assert_eq!(circles_below(&seeded(&with_the_folder), "src/http/").len(), 2);
    let of_folders = [
        ("src/http/a/one.rs", "use crate::http::b::one::One;"),
        ("src/http/b/one.rs", ""),
        ("src/http/b/two.rs", "use crate::http::a::two::Two;"),
        ("src/http/a/two.rs", ""),
    ];
    let found = circles_below(&seeded(&of_folders), "src/http/");
    assert_eq!(found, [r#"src/http/ ["a", "b"]"#]);
    let straight = [
        ("src/http/a.rs", "use crate::http::b::B;"),
        ("src/http/b.rs", "#[cfg(test)]\nmod tests {\nuse super::super::a;\n}"),
    ];
    assert_eq!(circles_below(&seeded(&straight), "src/http/"), Vec::<String>::new());
}

/// Which rooms of `src/http` a room, or a file beside the rooms, does not see.
fn unseen(room: &str) -> &'static [&'static str] {
    match room {
        "mod.rs" => &[],
        "pages" => &["api"],
        "api" => &["pages"],
        _ => &["pages", "api"],
    }
}

/// What is wrong with who uses whom inside `src/http`.
fn across_rooms(uses: &Uses) -> Vec<String> {
    let room = |file: &str| file.strip_prefix("src/http/").map(|rest| rest.split('/').next().unwrap().to_owned());
    let mut wrong = Vec::new();
    for (file, others) in uses {
        let Some(own) = room(file) else { continue };
        for other in others {
            let hidden = room(other).is_some_and(|other| unseen(&own).contains(&other.as_str()));
            let domain = own == "middleware" && other.starts_with("src/account/");
            if hidden || domain {
                wrong.push(format!("{file} uses {other}"));
            }
        }
    }
    wrong
}

#[test]
fn pages_and_api_never_meet_and_what_carries_them_knows_neither() {
    assert_eq!(across_rooms(&uses(&files("src", ".rs"))), Vec::<String>::new());
    let broken = seeded(&[
        ("src/http/mod.rs", "use self::pages::login;\nuse self::api::me;"),
        ("src/http/pages/login.rs", "use crate::http::api::me::Me;"),
        ("src/http/api/me.rs", "use super::super::pages::login;"),
        ("src/http/state.rs", "use crate::http::pages::login::LoginPage;"),
        ("src/http/middleware/trace.rs", "use crate::account::user::User;\nuse crate::http::api::me;"),
        ("src/http/server/mod.rs", "use crate::http::{pages::login};"),
        ("src/http/extract/form.rs", "use crate::http::pages::login::{LoginPage};"),
        ("src/account/user.rs", ""),
    ]);
    assert_eq!(across_rooms(&broken).len(), 7, "{:?}", across_rooms(&broken));
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
fn what_runs_beside_the_requests_is_watched() {
    let mut files: Vec<String> = [".spawn(", "tokio::spawn("]
        .into_iter()
        .flat_map(lines_with)
        .map(|line| line.split(": ").next().unwrap().to_owned())
        .collect();
    files.sort();
    files.dedup();
    let known = [
        // half of a test, for which the start waits
        "src/account/credentials/hasher/argon2id.rs",
        // on `Tasks`
        "src/app/mod.rs",
        // hears the signals
        "src/cli/serve.rs",
        // watched
        "src/db/batch.rs",
        // a begin, for which its caller waits
        "src/db/postgres.rs",
        // a request and a connection
        "src/http/middleware/detach.rs",
        // sums up what the next refusal would sum up without it
        "src/http/middleware/request_log.rs",
        "src/http/server/mod.rs",
        // a look, for which its caller waits
        "src/messaging/broker/embedded/delivery.rs",
        // watched
        "src/messaging/broker/rabbit/connection.rs",
        // whose end ends the consumer, which is watched
        "src/messaging/broker/rabbit/consumer.rs",
        "src/tasks.rs",
        // the thread that writes the log
        "src/telemetry/writer.rs",
    ];
    assert_eq!(files, known, "start it by `Tasks::spawn`");
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
    let mut listed = [bellhop::failpoint::STEPS, bellhop::failpoint::PANICS].concat();
    listed.sort_unstable();
    assert_eq!(reached, listed);
}

#[test]
fn only_four_use_cases_compare_passwords() {
    let mut callers = lines_with("hasher.verify(");
    callers.extend(lines_with("permit.verify("));
    let files: Vec<&str> = callers.iter().map(|line| line.split(": ").next().unwrap()).collect();
    // a form that comes twice is the same registration only with the same password
    let known = ["confirm", "proof", "register", "login"].map(|name| format!("src/account/{name}.rs"));
    assert_eq!(files, known, "every path goes through these: {callers:?}");
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
