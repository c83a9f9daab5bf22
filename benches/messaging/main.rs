//! How fast an event travels: from the transaction that made it true to its listener.
//!
//! `cargo bench --bench messaging` runs everything and prints a table; `-- latency backlog` runs what is named; `--check`
//! makes the exit code tell whether a limit was missed. docs/performance.md keeps the table of one run. Starts a
//! `PostgreSQL` and a `RabbitMQ` of its own.
//!
//! * [`throughput`]: outbox, `RabbitMQ`, login log against [`raw`], a program that only publishes and consumes
//! * [`latency`]: from a commit to the start of the listener
//! * [`embedded`]: rows a second through the queues in the database
//! * [`backlog`]: what a backlog that is carried out costs people who sign in meanwhile
//! * [`scheduled`]: what events of the future cost the relay
//! * [`timers`]: how late they are, with a million of them
//! * [`churn`]: what a million events leave behind
//! * [`events`], [`stack`]: logins in the outbox, the program's parts in this process

mod backlog;
mod churn;
mod embedded;
mod events;
mod latency;
mod raw;
mod scheduled;
mod stack;
mod throughput;
mod timers;

#[path = "../spine/load.rs"]
#[expect(dead_code, reason = "the bench of the spine uses the rest")]
mod load;
#[path = "../spine/node.rs"]
#[expect(dead_code, reason = "the bench of the spine uses the rest")]
mod node;
#[path = "../spine/parts.rs"]
mod parts;
#[path = "../spine/servers.rs"]
mod servers;
#[path = "../spine/table.rs"]
mod table;

use std::process::ExitCode;

use parts::Runtimes;

/// The same allocator as the program has: its parts run in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let names = ["throughput", "latency", "embedded", "backlog", "scheduled", "timers", "churn"];
    parts::run("messaging", &names, |part, Runtimes { load, servers }| match part {
        "throughput" => servers.block_on(throughput::measure()),
        "latency" => servers.block_on(latency::measure()),
        "embedded" => servers.block_on(embedded::measure()),
        // the program is in a process of its own there, and its clients are on one thread
        "backlog" => load.block_on(backlog::measure()),
        "scheduled" => servers.block_on(scheduled::measure()),
        "timers" => servers.block_on(timers::measure()),
        _ => servers.block_on(churn::measure()),
    })
}
