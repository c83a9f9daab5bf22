//! Topic: a message goes to the queues whose pattern takes its routing key, word by word.
//!
//! `cargo run --example topic [-- amqp://guest:guest@127.0.0.1]`

mod support;

use std::io::Write;

use anyhow::Result;
use bellhop::messaging::topology::{Binding, EVENTS, Queue, QueueKind, Target, Topology};

use self::support::Setup;

/// Queues, and the pattern that each is bound with.
const QUEUES: [(&str, &str); 4] =
    [("one-word", "user.*"), ("any-words", "user.#"), ("failures", "#.failed"), ("everything", "#")];

#[tokio::main]
async fn main() -> Result<()> {
    run(std::env::args().nth(1), &mut std::io::stdout()).await
}

/// Writes what happens to `out`, on the embedded broker or on the one at `url`.
pub(crate) async fn run(url: Option<String>, out: &mut impl Write) -> Result<()> {
    writeln!(out, "Watch: * stands for exactly one word of the key, # for any number of words, even none.")?;
    let mut topology = Topology { exchanges: vec![EVENTS], ..Topology::default() };
    for (queue, pattern) in QUEUES {
        topology.queues.push(Queue { name: queue.into(), kind: QueueKind::Work });
        topology.bindings.push(Binding { from: EVENTS.name, key: pattern.into(), to: Target::Queue(queue.into()) });
    }
    let setup = Setup::open("topic", topology, url).await?;

    for key in ["user", "user.registered", "user.email.changed", "login.failed"] {
        let published = setup.publish(EVENTS, key, key).await?;
        writeln!(out, "published {key}: {published:?}")?;
    }
    for (queue, pattern) in QUEUES {
        writeln!(out, "{pattern} took {}", setup.empty(queue).await?.join(", "))?;
    }
    setup.close().await;
    Ok(())
}
