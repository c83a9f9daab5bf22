use super::*;
use crate::config::settings as rows;

/// The help of the command with these words.
fn help(words: &[&str]) -> String {
    let mut command = Cli::command();
    command.build();
    for word in words {
        command = command.find_subcommand(word).unwrap_or_else(|| panic!("there is no {word}")).clone();
    }
    command.render_long_help().to_string()
}

/// Every command, by its words.
fn all_commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], found: &mut Vec<Vec<String>>) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let words = [words, &[inner.get_name().to_owned()]].concat();
            below(inner, &words, found);
            found.push(words);
        }
    }
    let mut found = vec![Vec::new()];
    below(&Cli::command(), &[], &mut found);
    found
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn a_command_shows_its_own_options_and_serve_and_the_settings_page_show_the_settings() {
    for words in all_commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let help = help(&words);
        for setting in rows() {
            let (flag, variable) = (format!("--{} ", setting.flag()), format!("{} [", setting.variable()));
            assert_eq!(help.contains(&flag), words == ["serve"], "{flag} in the help of {words:?}: {help}");
            assert_eq!(help.contains(&variable), words == ["settings"], "{variable} in the help of {words:?}: {help}");
        }
        for only in ["--only", "--since", "--search", "--queue"] {
            let theirs: &[&[&str]] = match only {
                "--only" => &[&[], &["serve"]],
                "--since" => &[&["replay"]],
                "--search" => &[&["users", "list"]],
                _ => &[
                    &["dead-letters", "list"],
                    &["dead-letters", "show"],
                    &["dead-letters", "redrive"],
                    &["dead-letters", "discard"],
                ],
            };
            let shown = help.contains(&format!("{only} <"));
            assert_eq!(shown, theirs.contains(&words.as_slice()), "{only} in the help of {words:?}: {help}");
        }
    }
}

#[test]
fn the_help_states_the_exit_codes() {
    let help = help(&[]);
    for code in ["0 done", "1 it failed", "2 the command line", "78 a setting"] {
        assert!(help.contains(code), "{code}: {help}");
    }
}

#[test]
fn a_setting_is_a_flag_before_a_command_and_after_it() {
    for arguments in [
        &["bellhop", "--listen", "127.0.0.1:1"][..],
        &["bellhop", "--listen", "127.0.0.1:1", "serve"],
        &["bellhop", "serve", "--listen", "127.0.0.1:1"],
        &["bellhop", "users", "list", "--listen", "127.0.0.1:1"],
        &["bellhop", "users", "--listen", "127.0.0.1:1", "list"],
        &["bellhop", "--listen", "127.0.0.1:1", "healthcheck"],
    ] {
        let values = Cli::try_parse_from(arguments).unwrap().flags.into_values();
        assert_eq!(values.get("LISTEN").map(String::as_str), Some("127.0.0.1:1"), "{arguments:?}");
        assert_eq!(values.len(), 1, "{arguments:?}");
    }
    let secret = Cli::try_parse_from(["bellhop", "serve", "--secret-key-file", "key"]).unwrap().flags.into_values();
    assert_eq!(secret.get("SECRET_KEY_FILE").map(String::as_str), Some("key"));
}

#[test]
fn the_parts_to_serve_may_be_named_before_and_after_the_command() {
    let cli = Cli::try_parse_from(["bellhop", "--only", "relay", "serve", "--only", "web"]).unwrap();
    let Some(Command::Serve(serve)) = cli.command else { panic!("{:?}", cli.command) };
    assert_eq!(format!("{:?}", serve.and(cli.only)).matches("relay").count(), 1);
}

#[test]
fn one_or_all_must_be_said_and_not_both() {
    let id = "0195f3a0-0000-7000-8000-000000000000";
    for verb in ["redrive", "discard"] {
        for (arguments, good) in [
            (&["--id", id][..], true),
            (&["--all"], true),
            (&["--all", "--queue", "login-log"], true),
            (&["--id", "seven"], false),
            (&[], false),
            (&["--queue", "login-log"], false),
            (&["--all", "--id", id], false),
        ] {
            let given = [&["bellhop", "dead-letters", verb], arguments].concat();
            assert_eq!(Cli::try_parse_from(&given).is_ok(), good, "{given:?}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(Cli { command: Some(Command::Man(man)), .. }) =
        Cli::try_parse_from(["bellhop", "man", folder.path().to_str().unwrap()])
    else {
        panic!("it is a command")
    };
    man.run(Cli::command()).unwrap();
    for words in all_commands() {
        let name = ["bellhop".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join("-");
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).expect(&name);
        assert!(page.lines().any(|line| line.starts_with(".TH ")), "{page}");
        let first = page.lines().find(|line| !line.starts_with(".ie") && !line.starts_with(".el")).unwrap_or_default();
        assert!(first.starts_with(".TH ") && page.contains(".SH NAME"), "{page}");
    }
}
