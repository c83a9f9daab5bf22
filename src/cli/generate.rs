//! `completions` and `man`: made from the same definitions that parse the command line.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::output;

pub(super) const COMPLETIONS_HELP: &str = "\
bash:  bellhop completions bash > /etc/bash_completion.d/bellhop
zsh:   bellhop completions zsh > \"${fpath[1]}/_bellhop\"
fish:  bellhop completions fish > ~/.config/fish/completions/bellhop.fish";

/// A shell's completions.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Completions {
    /// which shell's
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut command: Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "bellhop", &mut script);
        output::write(&String::from_utf8(script)?)
    }
}

/// The manual's pages.
#[derive(Clone, Debug, Args)]
pub(super) struct Man {
    /// a folder to write all pages to, one a command [the first page, to standard output]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, command: Command) -> anyhow::Result<()> {
        let Some(folder) = self.folder else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            return output::write(&String::from_utf8(page)?);
        };
        let context = || format!("cannot write to {}", folder.display());
        std::fs::create_dir_all(&folder).with_context(context)?;
        clap_mangen::generate_to(command, &folder).with_context(context)
    }
}
