//! The settings as flags, and their page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{PREFIX, SECTIONS, Setting, settings};

/// The settings given as flags. Every command takes them, and shows none of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags(BTreeMap<String, String>);

impl Flags {
    /// By the names of the settings.
    pub(super) fn into_values(self) -> BTreeMap<String, String> {
        self.0
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(settings().map(|setting| flag(setting).global(true).hide(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in settings() {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                let name = if setting.secret { format!("{}_FILE", setting.name) } else { setting.name.to_owned() };
                self.0.insert(name, value.clone());
            }
        }
        Ok(())
    }
}

/// The same flags for the one command whose help shows them. Their values reach [`Flags`], as those of every command do.
#[derive(Clone, Debug, Default)]
pub(super) struct ShownFlags;

impl Args for ShownFlags {
    fn augment_args(command: Command) -> Command {
        let of = |title: &'static str, setting: &Setting| {
            let source = if setting.secret { "a file that holds it: " } else { "" };
            let help = format!("{source}{} [{}]", setting.meaning, setting.default.as_str());
            flag(setting).help_heading(title).help(help)
        };
        let shown = SECTIONS.iter().flat_map(|section| section.settings.iter().map(move |row| of(section.title, row)));
        command.args(shown)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ShownFlags {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(ShownFlags)
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

fn flag(setting: &Setting) -> Arg {
    let value = if setting.secret { "FILE" } else { "VALUE" };
    Arg::new(setting.name).long(setting.flag()).value_name(value)
}

/// Every setting with its default and what it means.
pub(super) fn page() -> String {
    let mut page = format!(
        "\
A setting comes, strongest first, from a flag (--listen), the environment ({PREFIX}LISTEN) or a key of the TOML file
that {PREFIX}CONFIG names (listen = \"…\"). A secret may also stand in a file ({PREFIX}SECRET_KEY_FILE,
--secret-key-file) and is never taken from a flag itself. A setting that is unknown or wrong stops the start with
one line that names it, and exit code 78. In brackets: what holds when it is not set.\n"
    );
    for section in SECTIONS {
        let _ = writeln!(page, "\n{}:", section.title);
        for setting in section.settings {
            let _ = writeln!(page, "  {} [{}]", setting.variable(), setting.default.as_str());
            let _ = writeln!(page, "      {}", setting.meaning);
            if setting.secret {
                let _ = writeln!(page, "      in a file: {}_FILE, --{}", setting.variable(), setting.flag());
            }
            if setting.per_queue {
                let _ =
                    writeln!(page, "      for one queue alone: {}_<QUEUE>, such as {0}_LOGIN_LOG", setting.variable());
            }
        }
    }
    page
}
