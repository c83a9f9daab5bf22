//! The command line: one file per family of commands, and what they say in common.
//!
//! A command's own options stand in its file. The settings are flags of every command, but only `serve --help` and the page
//! of `help settings` show them. Output goes to standard output and nothing else does; the log and the progress of what takes
//! long go to standard error.

mod dead_letters;
mod generate;
mod healthcheck;
mod migrate;
mod open;
mod output;
mod queues;
mod replay;
mod secrets;
mod serve;
mod settings;
mod users;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use self::dead_letters::DeadLetters;
use self::generate::{Completions, Man};
use self::output::ReaderGone;
use self::queues::Queues;
use self::replay::Replay;
use self::secrets::Secrets;
use self::serve::{Only, Serve};
use self::settings::Flags;
use self::users::Users;
use crate::config::{Config, ConfigError};
use crate::telemetry;

/// The exit code for settings that cannot be used (`EX_CONFIG` of sysexits.h).
const CONFIG: u8 = 78;

const AFTER_HELP: &str = "\
Settings are flags of every command too; `bellhop help settings` shows them all. They may also come from the environment
(BELLHOP_LISTEN) or from the TOML file named by BELLHOP_CONFIG.

Exit codes: 0 done; 1 it failed, or what was checked is not well; 2 the command line is wrong; 78 a setting is wrong;
130 told twice to stop.";

/// Self-hosted sign-up and login whose side effects never hold a request up and are never lost.
#[derive(Debug, Parser)]
#[command(name = "bellhop", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    only: Only,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// run the service (the default)
    Serve(Serve),
    /// bring the database's schema up to date
    Migrate,
    /// how each queue and the outbox fare: depth, unacked, waiting and until when, dead, oldest, consumers, rate
    #[command(after_help = queues::AFTER_HELP)]
    Queues(Queues),
    /// messages that were given up, with their reasons
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// publish again what a listener has not recorded as done, dead letters included
    Replay(Replay),
    /// the people who may sign in, and who of them are administrators
    #[command(subcommand)]
    Users(Users),
    /// the key that signs links
    #[command(subcommand)]
    Secrets(Secrets),
    /// ask the server that listens here whether it can take requests
    #[command(after_help = healthcheck::AFTER_HELP)]
    Healthcheck,
    /// every setting with its default and what it means
    #[command(long_about = settings::page(), help_template = "{about}\n")]
    Settings,
    /// a shell's completions, to standard output
    #[command(after_help = generate::COMPLETIONS_HELP)]
    Completions(Completions),
    /// the manual's pages
    Man(Man),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = Config::log_format(&cli.flags.clone().into_values());
    let code = match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // `bellhop users list | head` is done when head has seen enough
        Err(error) if ReaderGone::caused(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is::<ConfigError>() { ExitCode::from(CONFIG) } else { ExitCode::FAILURE };
            telemetry::last_line(format, &output::printable(&format!("{error:#}").replace(['\n', '\r'], " ")));
            code
        }
    };
    telemetry::flush();
    code
}

fn run(Cli { flags, only, command }: Cli) -> anyhow::Result<()> {
    let command = match command {
        None => Command::Serve(Serve::only(only)),
        Some(Command::Serve(serve)) => Command::Serve(serve.and(only)),
        Some(_) if only.is_given() => Cli::command()
            .error(ErrorKind::ArgumentConflict, "--only says what is served, and this serves nothing")
            .exit(),
        Some(other) => other,
    };
    // what serves says what it does; everything else is quiet unless asked
    let serving = || configured(flags.clone(), "info");
    let quiet = || configured(flags.clone(), "warn");
    match command {
        Command::Serve(serve) => block_on(serve.run(serving()?)),
        Command::Migrate => block_on(migrate::run(quiet()?)),
        Command::Queues(queues) => block_on(queues.run(quiet()?)),
        Command::DeadLetters(letters) => block_on(letters.run(quiet()?)),
        Command::Replay(replay) => block_on(replay.run(quiet()?)),
        Command::Users(users) => block_on(users.run(quiet()?)),
        Command::Secrets(secrets) => block_on(secrets.run(quiet()?)),
        Command::Healthcheck => {
            let http = quiet()?.http;
            // a process without the web has no other address
            healthcheck::run(http.metrics_listen.unwrap_or(http.listen))
        }
        Command::Settings => output::write(&settings::page()),
        Command::Completions(completions) => completions.run(Cli::command()),
        Command::Man(man) => man.run(Cli::command()),
    }
}

/// The settings, with the log started at `level` unless they say otherwise.
fn configured(flags: Flags, level: &str) -> Result<Config, ConfigError> {
    let config = Config::load(flags.into_values())?;
    telemetry::start(&config.log, level)?;
    for name in &config.service_links {
        tracing::debug!(name, "is no setting: a cluster or a link of containers has set it");
    }
    Ok(config)
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(command);
    // What is still running has been told to stop and given its time. It ends with the process: the threads of lapin panic when
    // their runtime goes away under them.
    std::mem::forget(runtime);
    done
}

#[cfg(test)]
mod tests;
