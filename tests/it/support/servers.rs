//! Runs scripts/servers: the private PostgreSQL and RabbitMQ.

use std::path::Path;
use std::process::{Command, Stdio};

/// What the server's script printed, without the line end; panics with its complaint if it failed.
pub async fn run(kind: &'static str, verb: &'static str, dir: &Path, args: &[&str]) -> String {
    let dir = dir.to_owned();
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || call(kind, verb, &dir, &args))
        .await
        .expect("the script's thread is not cancelled")
        .unwrap_or_else(|complaint| panic!("{complaint}"))
}

/// Ends a server from a `Drop`, which can neither await nor panic twice.
pub fn stop_now(kind: &'static str, dir: &Path) {
    if let Err(complaint) = call(kind, "stop", dir, &[]) {
        eprintln!("{complaint}");
    }
}

/// The setting that scripts/test hands to the tests.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test"))
}

fn call(kind: &str, verb: &str, dir: &Path, args: &[String]) -> Result<String, String> {
    let script = Path::new("scripts/servers").join(kind);
    let output = Command::new(&script)
        .arg(verb)
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(format!("{kind} {verb} {args:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}
