//! The spine's speed and memory, as ratios against a baseline that is measured in the same run.
//!
//! `cargo bench --bench spine` runs everything and prints a table; `-- logins reads` runs what is named; `--check` makes
//! the exit code tell whether a limit was missed. docs/performance.md keeps the table of one run.
//!
//! * [`hashes`]: the hash pool against one with the argon2 crate
//! * [`logins`]: logins against the bare hash pool, sign-ups against logins; needs `PostgreSQL` and `RabbitMQ`
//! * [`flood`]: what a flood from one network costs a login from elsewhere
//! * [`budgets`]: what budgets cost a login; needs `PostgreSQL` and `RabbitMQ`
//! * [`signups`]: what a slow or absent mail server or broker costs a sign-up, and who forgot a password; needs `PostgreSQL`
//!   and `RabbitMQ`
//! * [`mails`]: mails over one connection
//! * [`reads`]: signed-in reads against a bare axum
//! * [`memory`]: resident memory, and the start
//! * [`live`]: pages that stay open: what one costs, and how soon it is told
//! * [`load`], [`node`], [`sink`], [`servers`]: clients, the program, a mail server, `PostgreSQL` and `RabbitMQ`
//! * [`parts`], [`table`]: the command line, the table

mod budgets;
mod flood;
mod hashes;
mod live;
mod load;
mod logins;
mod mails;
mod memory;
mod node;
mod parts;
mod reads;
mod servers;
mod signups;
mod sink;
mod table;

use std::process::ExitCode;

use parts::Runtimes;

/// The same allocator as the program has: the baselines run in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    parts::run(
        "spine",
        &["hashes", "logins", "flood", "budgets", "signups", "resets", "mails", "reads", "memory", "live"],
        |part, Runtimes { load, servers }| match part {
            "hashes" => load.block_on(hashes::measure()),
            "logins" => load.block_on(logins::measure()),
            "flood" => load.block_on(flood::measure()),
            "budgets" => load.block_on(budgets::measure()),
            "signups" => load.block_on(signups::sign_ups(servers.handle())),
            "resets" => load.block_on(signups::resets(servers.handle())),
            "mails" => load.block_on(mails::measure(servers.handle())),
            "reads" => load.block_on(reads::measure(servers.handle())),
            "live" => load.block_on(live::measure()),
            _ => load.block_on(memory::measure()),
        },
    )
}
