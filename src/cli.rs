//! The command line.

mod operate;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, settings};
use crate::http::server;
use crate::telemetry;

/// The exit code for settings that cannot be used (`EX_CONFIG` of sysexits.h).
const CONFIG: u8 = 78;

/// How long a health check waits for each step of the answer. Readiness itself takes two seconds at most.
const HEALTH: Duration = Duration::from_secs(4);

/// Bytes of a health check's answer that are read.
const HEALTH_ANSWER: u64 = 64 * 1_024;

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
    let plain = settings().filter(|setting| !setting.secret).map(|setting| {
        Arg::new(setting.name)
            .long(setting.name.to_lowercase().replace('_', "-"))
            .value_name("VALUE")
            .global(true)
            .help(setting.meaning)
    });
    let secrets = settings().filter(|setting| setting.secret).map(|setting| {
        Arg::new(setting.name)
            .long(format!("{}-file", setting.name.to_lowercase().replace('_', "-")))
            .value_name("FILE")
            .global(true)
            .help(format!("a file that holds it: {}", setting.meaning))
    });
    Command::new("bellhop")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Self-hosted sign-up and login whose side effects never hold a request up and are never lost.")
        .after_help("Every setting may also come from the environment (BELLHOP_LISTEN) or from the TOML file named by BELLHOP_CONFIG.")
        .args(plain)
        .args(secrets)
        .arg(only.clone())
        .subcommand(Command::new("serve").about("run the service (the default)").arg(only))
        .subcommand(Command::new("migrate").about("bring the database's schema up to date"))
        .subcommands(operate::commands())
        .subcommand(
            Command::new("healthcheck")
                .about("ask the server that listens here whether it can take requests; exit 1 if it cannot"),
        )
}

/// The settings given as flags. A secret's flag names a file: a value would be there for every process to read.
fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let given = settings().filter_map(|setting| {
        let value = matches.get_one::<String>(setting.name)?;
        let name = if setting.secret { format!("{}_FILE", setting.name) } else { setting.name.to_owned() };
        Some((name, value.clone()))
    });
    given.collect()
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (name, sub) = matches.subcommand().unwrap_or(("serve", matches));
    let config = Config::load(flags(sub))?;
    telemetry::start(&config.log, "info")?;
    if name == "healthcheck" {
        return healthcheck(config.http.listen);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = match name {
        "migrate" => runtime.block_on(migrate(config)),
        "queues" | "dead-letters" | "replay" | "users" => runtime.block_on(operate::run(config, name, sub)),
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
    // the usual 1,024 are kept low for programs that cannot handle more; with fewer than it would like it works as well
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let listen = config.http.listen;
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
    let mut config = config;
    config.data.migrate = true;
    config.messaging.broker_url = None;
    let app = App::build(config, Clock::default()).await?;
    writeln!(std::io::stdout(), "the schema of the {} database is up to date", app.accounts.db.kind())?;
    app.accounts.db.close().await;
    Ok(())
}

/// Asks `/readyz`, for images that have no other program inside, and shows what it says.
fn healthcheck(listen: SocketAddr) -> anyhow::Result<()> {
    let port = listen.port();
    let address = match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, port).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, port).into(),
        other => other,
    };
    let answer = ask(address).with_context(|| format!("no answer from {address}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        bail!("{status} {body}");
    }
    writeln!(std::io::stdout(), "{body}")?;
    Ok(())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    // the loopback's names are always among those we answer to, with the port unless it is the usual one
    let host = match address.port() {
        80 => "localhost".to_owned(),
        port => format!("localhost:{port}"),
    };
    let mut connection = TcpStream::connect_timeout(&address, HEALTH)?;
    connection.set_read_timeout(Some(HEALTH))?;
    connection.set_write_timeout(Some(HEALTH))?;
    write!(connection, "GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.take(HEALTH_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// What a health check makes of a server that answers `answer`, and what it asked.
    fn check(answer: &'static str) -> (anyhow::Result<()>, Vec<String>) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let everywhere = SocketAddr::from(([0, 0, 0, 0], socket.local_addr().unwrap().port()));
        let served = std::thread::spawn(move || {
            let (mut client, _) = socket.accept().unwrap();
            let lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
            let request = lines.take_while(|line| !line.is_empty()).collect();
            client.write_all(answer.as_bytes()).unwrap();
            request
        });
        (healthcheck(everywhere), served.join().unwrap())
    }

    #[test]
    fn a_server_is_healthy_when_it_says_that_it_is_ready() {
        let (healthy, request) = check("HTTP/1.1 200 OK\r\n\r\n{\"ready\":true}");
        healthy.unwrap();
        assert_eq!(request[0], "GET /readyz HTTP/1.1");
        assert!(request[1].starts_with("Host: localhost:"), "{request:?}");
        for (answer, told) in [("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\":false}", "503"), ("", "")] {
            let unhealthy = check(answer).0.unwrap_err().to_string();
            assert!(unhealthy.contains(told), "{unhealthy}");
        }
    }

    #[test]
    fn where_nobody_listens_nothing_is_healthy() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(healthcheck(address).unwrap_err().to_string().contains("no answer"));
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
