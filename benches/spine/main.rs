//! The spine's speed and memory, as ratios against a baseline that is measured in the same run.
//!
//! `cargo bench --bench spine` runs everything and prints a table; `-- logins reads` runs what is named; `--check` makes
//! the exit code tell whether a limit was missed. docs/performance.md keeps the table of one run.
//!
//! * [`logins`]: logins against the bare hash pool
//! * [`signups`]: what a slow or absent mail server or broker costs a sign-up; needs `PostgreSQL` and `RabbitMQ`
//! * [`mails`]: mails over one connection
//! * [`reads`]: signed-in reads against a bare axum
//! * [`memory`]: resident memory, and the start
//! * [`load`], [`node`], [`sink`], [`table`]: clients, the program, a mail server, the table

mod load;
mod logins;
mod mails;
mod memory;
mod node;
mod reads;
mod signups;
mod sink;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use table::Row;

/// The same allocator as the program has: the baselines run in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAMES: [&str; 5] = ["logins", "signups", "mails", "reads", "memory"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too, but not for its figures
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let check = arguments.iter().any(|argument| argument == "--check");
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    let done = run(&named);
    let mut out = std::io::stdout().lock();
    match done {
        Ok(rows) => {
            let missed = rows.iter().filter(|row| row.is_missed()).count();
            let _ = writeln!(out, "\n{missed} of {} limits missed", rows.len());
            if check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            let _ = writeln!(out, "spine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(named: &[&str]) -> anyhow::Result<Vec<Row>> {
    if let Some(unknown) = named.iter().find(|name| !NAMES.contains(name)) {
        anyhow::bail!("there is no {unknown}; there are {}", NAMES.join(", "));
    }
    // one thread for the load, another runtime like the program's for the servers it is held against
    let servers = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let load = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    writeln!(std::io::stdout(), "{}", table::HEAD)?;
    for name in NAMES {
        if !named.is_empty() && !named.contains(&name) {
            continue;
        }
        let measured = load.block_on(async {
            match name {
                "logins" => logins::measure().await,
                "signups" => signups::measure(servers.handle()).await,
                "mails" => mails::measure(servers.handle()).await,
                "reads" => reads::measure(servers.handle()).await,
                _ => memory::measure().await,
            }
        })?;
        let mut out = std::io::stdout().lock();
        for row in &measured {
            writeln!(out, "{row}")?;
        }
        rows.extend(measured);
    }
    servers.shutdown_background();
    Ok(rows)
}
