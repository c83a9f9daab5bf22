//! The papers say what the code says.

mod asyncapi;
mod containers;
mod deploying;
mod example;
mod readme;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bellhop::config::{self, RetryPolicy};
use bellhop::messaging::broker::{Publication, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::topology::{EVENTS, Topology};
use bellhop::{event, listeners};

use crate::support::app::TestApp;

fn root() -> &'static Path {
    Path::new(".")
}

fn paper(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The first block of this paper in this language.
pub fn block(name: &str, language: &str) -> String {
    let paper = paper(name);
    let (_, rest) = paper.split_once(&format!("```{language}\n")).expect(language);
    rest.split("```").next().expect("its end").to_owned()
}

/// The value that README.md gives a setting, in backticks.
pub fn setting(name: &str) -> String {
    let readme = paper("README.md");
    let (_, rest) = readme.split_once(&format!("`{name}=")).expect(name);
    rest.split('`').next().expect("its end").to_owned()
}

#[test]
fn the_readme_lists_every_setting_with_its_default() {
    let mut table = String::new();
    for setting in config::settings() {
        let text = |text: &str| text.replace('|', r"\|").replace('<', r"\<");
        writeln!(
            table,
            "| `BELLHOP_{}` | {} | {} |",
            setting.name,
            text(setting.default.as_str()),
            text(setting.meaning)
        )
        .unwrap();
    }
    let readme = paper("README.md");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `BELLHOP_")).collect();
    let listed = rows.join("\n") + "\n";
    assert_eq!(listed, table, "the settings table of README.md should be:\n{table}");
}

#[test]
fn every_budget_and_its_default_stands_in_its_paper() {
    let paper = paper("docs/limits.md");
    let limits: Vec<&config::Setting> = config::settings().filter(|one| one.name.starts_with("LIMIT_")).collect();
    assert!(limits.len() > 9, "{}", limits.len());
    for setting in limits {
        let row = format!("| `BELLHOP_{}` | {} |", setting.name, setting.default.as_str());
        assert!(paper.contains(&row), "{row}");
    }
}

#[test]
fn the_table_of_checks_names_every_folder_of_tests_and_every_bench() {
    let paper = paper("CONTRIBUTING.md");
    let (_, table) = paper.split_once("### What runs where").expect("the table");
    let modules = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    let modules = modules.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let benches = fs::read_dir(root().join("benches")).unwrap().map(Result::unwrap);
    let benches: Vec<String> = benches
        .filter(|entry| entry.path().is_dir())
        .map(|entry| format!("--bench {}", entry.file_name().to_string_lossy()))
        .collect();
    let wanted = modules.filter(|module| *module != "support").chain(benches.iter().map(String::as_str));
    let names = |what: &str| {
        table.split(['`', ' ', ',']).any(|word| word.split("::").next() == Some(what))
            || table.contains(what) && what.starts_with('-')
    };
    let missing: Vec<&str> = wanted.filter(|what| !names(what)).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md does not say what runs {missing:?}");
}

#[test]
fn the_asyncapi_document_is_what_the_code_sends() {
    let topology = Topology::new(listeners::bindings(), &listeners::node::KEYS, RetryPolicy::default().tiers);
    let made = serde_json::to_string_pretty(&event::asyncapi(&topology)).unwrap() + "\n";
    let kept = fs::read_to_string(root().join("docs/asyncapi.json")).unwrap_or_default();
    if kept != made {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("asyncapi.json");
        fs::write(&fresh, &made).unwrap();
        let (line, (old, new)) = (1..)
            .zip(kept.lines().chain([""]).zip(made.lines().chain([""])))
            .find(|(_, (old, new))| old != new)
            .unwrap_or((0, ("", "")));
        panic!(
            "docs/asyncapi.json is not what the code sends. Line {line} is\n{old}\nand should be\n{new}\nTo update: cp {} docs/asyncapi.json",
            fresh.display()
        );
    }
}

async fn publish(app: &TestApp, key: &str, message: Message) -> Vec<Published> {
    app.app.broker.publish(vec![Publication { exchange: EVENTS, routing_key: key.into(), message }]).await
}

/// What a Markdown text says of files here: targets of links, and paths in backticks that begin with a folder of ours.
fn files_named_in(text: &str) -> Vec<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let links = links.filter_map(|target| target.split('#').next()).map(str::to_owned);
    let folders = [
        "src/",
        "tests/",
        "docs/",
        "migrations/",
        "locales/",
        "templates/",
        "static/",
        "benches/",
        "scripts/",
        "examples/",
    ];
    // a command is the file and its arguments
    let quoted = text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split(' ').next());
    let paths = quoted.filter(|quoted| folders.iter().any(|folder| quoted.starts_with(folder)));
    links.chain(paths.filter(|path| !path.contains(['*', '{', '<'])).map(|path| format!("/{path}"))).collect()
}

#[test]
fn every_file_that_the_papers_name_is_there() {
    let mut missing = Vec::new();
    for name in
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/messaging.md"]
    {
        let paper_at = root().join(name);
        let named = files_named_in(&paper(name));
        assert!(!named.is_empty() || name == "SECURITY.md", "{name} names no file at all");
        for file in named {
            let path: PathBuf = match file.strip_prefix('/') {
                Some(from_root) => root().join(from_root),
                None => paper_at.parent().unwrap().join(&file),
            };
            // the browser test paints it
            if !path.exists() && !path.ends_with("docs/screenshot.png") {
                missing.push(format!("{name}: {file}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
