//! Fanout: everybody who is there hears it, and nobody else ever will. The queues are those of running web nodes, which
//! come and go with their consumer.
//!
//! `cargo run --example fanout [-- amqp://guest:guest@127.0.0.1]`

mod support;

use std::io::Write;

use anyhow::Result;
use bellhop::messaging::topology::{BROADCAST, QueueKind, Topology};

use self::support::{Setup, text};

#[tokio::main]
async fn main() -> Result<()> {
    run(std::env::args().nth(1), &mut std::io::stdout()).await
}

/// Writes what happens to `out`, on the embedded broker or on the one at `url`.
pub(crate) async fn run(url: Option<String>, out: &mut impl Write) -> Result<()> {
    writeln!(out, "Watch: each queue gets a copy of its own, and what was said before a queue was bound is gone.")?;
    let exchanges = vec![BROADCAST];
    let setup = Setup::open("fanout", Topology { exchanges, ..Topology::default() }, url).await?;

    let published = setup.publish(BROADCAST, "", "good morning").await?;
    writeln!(out, "said \"good morning\" while nobody was there: {published:?}")?;
    let mut kitchen = setup.consume("kitchen", QueueKind::Node, 10).await?;
    let published = setup.publish(BROADCAST, "", "breakfast is served").await?;
    writeln!(out, "said \"breakfast is served\" to the kitchen: {published:?}")?;
    let mut bar = setup.consume("bar", QueueKind::Node, 10).await?;
    let published = setup.publish(BROADCAST, "any", "the lift is stuck").await?;
    writeln!(out, "said \"the lift is stuck\" to the kitchen and the bar: {published:?}")?;

    for (who, node, count) in [("the kitchen", &mut kitchen, 2), ("the bar", &mut bar, 1)] {
        for _ in 0..count {
            let heard = node.next().await?;
            writeln!(out, "{who} heard {:?}", text(&heard)?)?;
            heard.ack().await?;
        }
    }
    drop((kitchen, bar));
    setup.close().await;
    Ok(())
}
