//! The command line.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, SETTINGS};
use crate::http::server;
use crate::telemetry;

/// The exit code for settings that cannot be used (`EX_CONFIG` of sysexits.h).
const CONFIG: u8 = 78;

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is::<ConfigError>() { ExitCode::from(CONFIG) } else { ExitCode::FAILURE };
            let line = format!("bellhop: {error:#}").replace(['\n', '\r'], " ");
            let _ = writeln!(std::io::stderr(), "{line}");
            code
        }
    }
}

fn command() -> Command {
    let only = Arg::new("only")
        .long("only")
        .value_name("PART")
        .action(ArgAction::Append)
        .help("run only web, relay, listeners or listener:<queue>; repeatable [everything]");
    let settings = SETTINGS.iter().filter(|setting| !setting.secret).map(|setting| {
        Arg::new(setting.name)
            .long(setting.name.to_lowercase().replace('_', "-"))
            .value_name("VALUE")
            .global(true)
            .help(setting.help)
    });
    let secrets = SETTINGS.iter().filter(|setting| setting.secret).map(|setting| {
        Arg::new(setting.name)
            .long(format!("{}-file", setting.name.to_lowercase().replace('_', "-")))
            .value_name("FILE")
            .global(true)
            .help(format!("a file that holds it: {}", setting.help))
    });
    Command::new("bellhop")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Self-hosted sign-up and login whose side effects never hold a request up and are never lost.")
        .after_help("Every setting may also come from the environment (BELLHOP_LISTEN) or from the TOML file named by BELLHOP_CONFIG.")
        .args(settings)
        .args(secrets)
        .arg(only.clone())
        .subcommand(Command::new("serve").about("run the service (the default)").arg(only))
        .subcommand(Command::new("migrate").about("bring the database's schema up to date"))
        .subcommand(Command::new("queues").about("how many messages are in each queue"))
}

/// The settings given as flags. A secret's flag names a file: a value would be there for every process to read.
fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let given = SETTINGS.iter().filter_map(|setting| {
        let value = matches.get_one::<String>(setting.name)?;
        let name = if setting.secret { format!("{}_FILE", setting.name) } else { setting.name.to_owned() };
        Some((name, value.clone()))
    });
    given.collect()
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (name, sub) = matches.subcommand().unwrap_or(("serve", matches));
    let config = Config::load(flags(sub))?;
    telemetry::start(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = match name {
        "migrate" => runtime.block_on(migrate(config)),
        "queues" => runtime.block_on(queues(config)),
        _ => {
            let only = sub.get_many::<String>("only").unwrap_or_default().map(String::as_str);
            let parts = Parts::only(only)?;
            runtime.block_on(serve(config, parts))
        }
    };
    // what is still running has been told to stop and given its time
    runtime.shutdown_background();
    done
}

async fn serve(config: Config, parts: Parts) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let listen = config.listen;
    let socket = if parts.web {
        let bound = server::bind(listen);
        Some(bound.map_err(|error| ConfigError::new("LISTEN", format!("cannot listen on {listen}: {error}")))?)
    } else {
        None
    };
    let app = App::build(config, Clock::default()).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "Bellhop {}", env!("CARGO_PKG_VERSION"))?;
    for line in app.describe(&parts) {
        writeln!(out, "  {line}")?;
    }
    out.flush()?;
    drop(out);
    app.run(parts, socket, stop).await
}

async fn migrate(config: Config) -> anyhow::Result<()> {
    let app = App::build(Config { migrate: true, broker_url: None, ..config }, Clock::default()).await?;
    writeln!(std::io::stdout(), "the schema of the {} database is up to date", app.accounts.db.kind())?;
    app.accounts.db.close().await;
    Ok(())
}

async fn queues(config: Config) -> anyhow::Result<()> {
    let app = App::build(config, Clock::default()).await?;
    let depths = app.depths().await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<24} {:>10}", "queue", "messages")?;
    for depth in depths {
        writeln!(out, "{:<24} {:>10}", depth.queue, depth.messages)?;
    }
    Ok(())
}

/// Stops at the first SIGTERM or SIGINT; the second ends the process at once.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the process, there is nothing to wait for")]
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
        next().await;
        told.cancel();
        next().await;
        std::process::exit(130);
    });
    Ok(stop)
}
