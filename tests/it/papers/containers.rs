//! Dockerfile, compose.yaml, the README and the program call the same things by the same names. Whether the containers run is
//! asked by `scripts/container`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use bellhop::config::{self, Config};
use bellhop::listeners::LISTENERS;
use secrecy::ExposeSecret as _;
use url::Url;

use super::{paper, root};

const PAPERS: [&str; 9] = [
    "Dockerfile",
    "compose.yaml",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/messaging.md",
    "docs/reliability.md",
];

/// Whether a variable without its prefix is a setting, one of a queue alone, or that of a secret's file.
fn is_setting(name: &str) -> bool {
    let of_a_queue = |rest: &str| {
        let queue = rest.strip_prefix('_');
        queue.is_some_and(|queue| {
            queue.is_empty()
                || LISTENERS.iter().any(|listener| listener.queue.to_uppercase().replace('-', "_") == queue)
        })
    };
    name == "CONFIG"
        || config::settings().any(|setting| {
            let Some(rest) = name.strip_prefix(setting.name) else { return false };
            rest.is_empty() || setting.secret && rest == "_FILE" || setting.per_queue && of_a_queue(rest)
        })
}

/// The variables in `text` that are no settings.
fn unknown_settings(text: &str) -> Vec<String> {
    let names = text.split(config::PREFIX).skip(1);
    let names = names.map(|rest| rest.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')));
    names.filter_map(|mut parts| parts.next()).filter(|name| !is_setting(name)).map(str::to_owned).collect()
}

#[test]
fn every_setting_that_a_paper_names_exists() {
    for name in PAPERS {
        assert_eq!(unknown_settings(&paper(name)), Vec::<String>::new(), "{name}");
    }
    let seeded =
        "BELLHOP_LISTNE BELLHOP_LISTEN_FILE BELLHOP_PREFETCH_MAIL BELLHOP_PREFETCH_LOGIN_LOG BELLHOP_SECRET_KEY_FILE";
    assert_eq!(unknown_settings(seeded), ["LISTNE", "LISTEN_FILE", "PREFETCH_MAIL"], "the rule sees what breaks it");
}

/// The lines of shell in a Markdown text, and what stands in backticks.
fn shell_of(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut prose = String::new();
    for (at, block) in text.split("```").enumerate() {
        match block.strip_prefix("sh\n") {
            Some(shell) if at % 2 == 1 => lines.extend(shell.lines().map(str::to_owned)),
            _ if at % 2 == 0 => prose += block,
            _ => {}
        }
    }
    lines.extend(prose.split('`').skip(1).step_by(2).map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")));
    lines
}

/// The words of a line of shell, without its comment.
fn words(line: &str) -> Vec<&str> {
    let code = line.split(" #").next().unwrap_or_default();
    code.split_whitespace().take_while(|word| !word.starts_with('#')).collect()
}

/// What the program says of a command that it does not know; nothing of one that it does.
fn refusal(arguments: &[&str]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    // all of a command is read before its help is shown; the pages of help have no help of their own
    let help = if arguments.first() == Some(&"help") { None } else { Some("--help") };
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellhop"));
    let output = command.args(arguments).args(help).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // a word in capitals stands for something, as dots do
    let stands_for = arguments.iter().any(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '…'));
    let fine = output.status.success() || stands_for && said.contains("invalid value");
    (!fine).then(|| format!("bellhop {}: {said}", arguments.join(" ")))
}

#[test]
fn every_command_that_a_paper_names_exists() {
    let mut commands = Vec::new();
    for name in PAPERS.into_iter().filter(|name| name.ends_with(".md")) {
        for line in shell_of(&paper(name)) {
            let words = words(&line);
            if let Some((&"bellhop", arguments)) = words.split_first() {
                commands.push(arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
            }
            for script in words.iter().filter(|word| word.starts_with("scripts/")) {
                let file =
                    fs::metadata(root().join(script)).unwrap_or_else(|error| panic!("{name}: {script}: {error}"));
                assert!(file.is_dir() || file.permissions().mode() & 0o111 != 0, "{name}: {script} cannot be called");
            }
        }
    }
    // the two of the containers
    for (name, quoted) in [("Dockerfile", "CMD ["), ("compose.yaml", "test: [CMD, /usr/local/bin/bellhop, ")] {
        let text = paper(name);
        let list = text.split(quoted).nth(1).and_then(|rest| rest.split(']').next());
        let list = list.unwrap_or_else(|| panic!("{name} has a health check"));
        let words = list.split(',').map(|word| word.trim().trim_matches('"').to_owned());
        commands.push(words.filter(|word| !word.ends_with("/bellhop")).collect());
    }
    commands.sort();
    commands.dedup();
    assert!(commands.len() > 10, "{commands:?}");
    let refused = |command: &Vec<String>| refusal(&command.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(commands.iter().filter_map(refused).collect::<Vec<_>>(), Vec::<String>::new());
    for seeded in [["heaps", "list"], ["queues", "--lisetn"], ["users", "promoted"]] {
        assert!(refusal(&seeded).is_some(), "the rule sees what breaks it: {seeded:?}");
    }
}

/// The lines below `keys` in compose.yaml, without comments and, if they are a list, their dashes.
fn composed(keys: &[&str]) -> Vec<String> {
    let text = paper("compose.yaml");
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines: Vec<&str> = lines.collect();
    for key in keys {
        let at = lines.iter().position(|line| line.trim_end() == format!("{}{key}:", " ".repeat(depth(lines[0]))));
        let at = at.unwrap_or_else(|| panic!("{key} of {keys:?} is in compose.yaml"));
        let below = depth(lines[at]);
        lines = lines[at + 1..].iter().take_while(|line| depth(line) > below).copied().collect();
    }
    lines.iter().map(|line| line.trim().trim_start_matches("- ").to_owned()).collect()
}

/// The names that are directly below `key` in compose.yaml.
fn names(key: &str) -> Vec<String> {
    let text = paper("compose.yaml");
    let block = text.split(&format!("\n{key}:\n")).nth(1).unwrap();
    let block = block.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    block
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with([' ', '#']))
        .map(str::to_owned)
        .collect()
}

/// What the service is given: the image's own and compose.yaml's over it, with `secret` for what stands in .env.
fn environment() -> Vec<(String, String)> {
    let dockerfile = paper("Dockerfile");
    let image = dockerfile.lines().find_map(|line| line.strip_prefix("ENV ")).expect("Dockerfile has an ENV");
    let image = image.split_whitespace().filter_map(|pair| pair.split_once('='));
    let mut all: Vec<(String, String)> = image.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for line in composed(&["services", "app", "environment"]) {
        let (name, value) = line.split_once(": ").unwrap();
        let mut parts = value.split("${");
        let mut filled = parts.next().unwrap().to_owned();
        for part in parts {
            filled += "secret";
            filled += part.split_once('}').unwrap().1;
        }
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), filled));
    }
    all
}

#[test]
fn the_containers_settings_are_good_and_lead_to_each_other() {
    let variables = environment().into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let config = Config::from_sources(std::collections::BTreeMap::new(), variables).expect("the settings are good");

    // the port: that of the image, of the service, and the published one
    let exposed = paper("Dockerfile").lines().find_map(|line| line.strip_prefix("EXPOSE ")?.parse::<u16>().ok());
    assert_eq!(exposed, Some(config.http.listen.port()));
    assert!(config.http.listen.ip().is_unspecified(), "inside a container the loopback is nobody's");
    let ports = composed(&["services", "app", "ports"]);
    let published: Vec<&str> = ports[0].split(':').collect();
    let url = &config.http.public_url;
    assert_eq!(published, [url.host_str().unwrap(), &url.port().unwrap().to_string(), &exposed.unwrap().to_string()]);

    // the data: where the image has a volume, compose.yaml has one too
    let data = config.data.data_dir.to_str().unwrap();
    assert!(paper("Dockerfile").contains(&format!("\nVOLUME {data}\n")));
    assert!(composed(&["services", "app", "volumes"]).contains(&format!("app:{data}")));

    // the others: each address is a service, and is waited for
    let services = names("services");
    let awaited = composed(&["services", "app", "depends_on"]);
    let secrets = [&config.data.database_url, &config.messaging.broker_url, &config.mail.smtp_url];
    for secret in secrets {
        let url = Url::parse(secret.as_ref().expect("all three are set").expose_secret()).unwrap();
        let host = url.host_str().unwrap();
        assert!(services.iter().any(|service| service == host), "{host} is not one of {services:?}");
        assert!(awaited.contains(&format!("{host}:")), "{host} is not one of {awaited:?}");
    }
    for service in &services {
        for volume in composed(&["services", service, "volumes"]) {
            let volume = volume.split(':').next().unwrap().to_owned();
            assert!(names("volumes").contains(&volume), "{service}: {volume} is not among the volumes");
        }
    }
}

#[test]
fn the_passwords_of_the_containers_are_made_in_one_way() {
    let compose = paper("compose.yaml");
    let (recipe, _) = compose.split_once(" > .env\n").unwrap();
    let recipe = recipe.rsplit("#   ").next().unwrap();
    for name in ["README.md", "scripts/container"] {
        assert!(paper(name).contains(recipe), "{name} makes .env otherwise than compose.yaml says: {recipe}");
    }
    for asked in compose.split("${").skip(1) {
        let name = asked.split([':', '}']).next().unwrap();
        assert!(recipe.contains(&format!("{name}=%s")), "{name} is in no .env");
    }
}

#[test]
fn every_base_image_has_a_stand_in_and_its_compiler_is_new_enough() {
    let (dockerfile, compose) = (paper("Dockerfile"), paper("compose.yaml"));
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let services =
        compose.lines().filter_map(|line| line.trim().strip_prefix("image: ")).filter(|name| *name != "bellhop");
    let images: Vec<&str> = bases.chain(services).collect();
    assert_eq!(images.len(), 5, "{images:?}");
    for image in &images {
        let name = image.rsplit('/').next().unwrap().split(':').next().unwrap();
        let stand_in = format!("scripts/container.d/{name}.Containerfile");
        assert!(root().join(&stand_in).is_file(), "{image} has no {stand_in}");
    }
    let version = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().unwrap()).collect() };
    let rust = images[0].strip_prefix("rust:").and_then(|rest| rest.split('-').next()).unwrap();
    assert!(version(rust) >= version(env!("CARGO_PKG_RUST_VERSION")), "{rust}");
}
