//! Simple: a queue that is addressed by its name, through the default exchange, and a consumer that fails.
//!
//! `cargo run --example simple [-- amqp://guest:guest@127.0.0.1]`

mod support;

use std::io::Write;

use anyhow::Result;
use bellhop::messaging::broker::embedded::MESSAGE_LEASE;
use bellhop::messaging::topology::{DEFAULT, Queue, QueueKind, Topology};

use self::support::{Setup, text};

#[tokio::main]
async fn main() -> Result<()> {
    run(std::env::args().nth(1), &mut std::io::stdout()).await
}

/// Writes what happens to `out`, on the embedded broker or on the one at `url`.
pub(crate) async fn run(url: Option<String>, out: &mut impl Write) -> Result<()> {
    writeln!(out, "Watch: a letter outlives the consumer that fails with it, because only an ack takes it away.")?;
    let queues = vec![Queue { name: "letters".into(), kind: QueueKind::Work }];
    let setup = Setup::open("simple", Topology { queues, ..Topology::default() }, url).await?;

    let published = setup.publish(DEFAULT, "letters", "Dear Ada").await?;
    writeln!(out, "published \"Dear Ada\" to the queue: {published:?}")?;

    let mut first = setup.consume("letters", QueueKind::Work, 1).await?;
    let letter = first.next().await?;
    writeln!(out, "the first consumer has {:?} and fails without an ack", text(&letter)?)?;
    drop((letter, first));
    // RabbitMQ sees at once that the consumer is gone; the embedded broker waits until the lease of the message ends,
    // which would be a minute
    setup.clock.advance(MESSAGE_LEASE);

    let mut second = setup.consume("letters", QueueKind::Work, 1).await?;
    let letter = second.next().await?;
    writeln!(out, "the second consumer has {:?}, redelivered: {}", text(&letter)?, letter.redelivered())?;
    writeln!(out, "it acknowledges: {}", letter.ack().await?)?;
    drop((letter, second));

    writeln!(out, "left in the queue: {:?}", setup.empty("letters").await?)?;
    setup.close().await;
    Ok(())
}
