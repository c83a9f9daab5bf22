//! Work queue: two consumers of one queue, a quick one and a slow one.
//!
//! `cargo run --example work_queue [-- amqp://guest:guest@127.0.0.1]`

mod support;

use std::io::Write;

use anyhow::Result;
use bellhop::messaging::topology::{DEFAULT, Queue, QueueKind, Topology};

use self::support::{Setup, text};

const BAGS: u16 = 12;

#[tokio::main]
async fn main() -> Result<()> {
    run(std::env::args().nth(1), &mut std::io::stdout()).await
}

/// Writes what happens to `out`, on the embedded broker or on the one at `url`.
pub(crate) async fn run(url: Option<String>, out: &mut impl Write) -> Result<()> {
    writeln!(out, "Watch: with a prefetch of 1 the quick porter carries more bags, with 6 each carries half of them.")?;
    let queues = vec![Queue { name: "bags".into(), kind: QueueKind::Work }];
    let setup = Setup::open("work_queue", Topology { queues, ..Topology::default() }, url).await?;
    for prefetch in [1, 6] {
        carry(&setup, prefetch, out).await?;
    }
    setup.close().await;
    Ok(())
}

/// The slow porter goes for a walk with the first bag in his hand, and comes back when the quick one has carried all
/// that he could get: whatever had not been handed to the slow one with that bag.
async fn carry(setup: &Setup, prefetch: u16, out: &mut impl Write) -> Result<()> {
    for bag in 1..=BAGS {
        setup.publish(DEFAULT, "bags", &bag.to_string()).await?;
    }
    let mut slow = setup.consume("bags", QueueKind::Work, prefetch).await?;
    let mut unacked = slow.next().await?;
    let mut quick = setup.consume("bags", QueueKind::Work, prefetch).await?;
    let (mut by_slow, mut by_quick) = (Vec::new(), Vec::new());
    while by_quick.len() < usize::from(BAGS - prefetch) {
        let bag = quick.next().await?;
        by_quick.push(text(&bag)?);
        bag.ack().await?;
    }
    loop {
        by_slow.push(text(&unacked)?);
        unacked.ack().await?;
        if by_slow.len() + by_quick.len() == usize::from(BAGS) {
            break;
        }
        unacked = slow.next().await?;
    }
    slow.close().await?;
    quick.close().await?;
    writeln!(out, "prefetch {prefetch}: the quick porter carried {}: {}", by_quick.len(), by_quick.join(" "))?;
    writeln!(out, "prefetch {prefetch}: the slow porter carried {}: {}", by_slow.len(), by_slow.join(" "))?;
    Ok(())
}
