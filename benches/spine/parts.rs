//! What a bench does with its command line: the parts that are named, or all, each a few lines of the table.

use std::io::Write as _;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use crate::table::{HEAD, Row};

/// Where things run.
pub struct Runtimes {
    /// One thread for the load.
    pub load: Runtime,
    /// One like the program's for the servers it is held against, and for parts of the program.
    pub servers: Runtime,
}

/// Runs the parts and prints the table. `measure` gets the name of one.
pub fn run(bench: &str, parts: &[&str], measure: impl Fn(&str, &Runtimes) -> anyhow::Result<Vec<Row>>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too, but not for its figures
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let check = arguments.iter().any(|argument| argument == "--check");
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    let done = run_named(parts, &named, measure);
    let mut out = std::io::stdout().lock();
    match done {
        Ok(rows) => {
            let missed = rows.iter().filter(|row| row.is_missed()).count();
            let _ = writeln!(out, "\n{missed} of {} limits missed", rows.iter().filter(|row| row.has_limit()).count());
            if check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            let _ = writeln!(out, "{bench}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_named(
    parts: &[&str],
    named: &[&str],
    measure: impl Fn(&str, &Runtimes) -> anyhow::Result<Vec<Row>>,
) -> anyhow::Result<Vec<Row>> {
    if let Some(unknown) = named.iter().find(|name| !parts.contains(name)) {
        anyhow::bail!("there is no {unknown}; there are {}", parts.join(", "));
    }
    let load = Builder::new_current_thread().enable_all().build()?;
    let runtimes = Runtimes { load, servers: Builder::new_multi_thread().enable_all().build()? };
    let mut rows = Vec::new();
    writeln!(std::io::stdout(), "{HEAD}")?;
    for part in parts.iter().filter(|part| named.is_empty() || named.contains(part)) {
        let measured = measure(part, &runtimes)?;
        let mut out = std::io::stdout().lock();
        for row in &measured {
            writeln!(out, "{row}")?;
        }
        rows.extend(measured);
    }
    runtimes.servers.shutdown_background();
    Ok(rows)
}
