//! Direct: a message goes to the queues that are bound with exactly its routing key.
//!
//! `cargo run --example direct [-- amqp://guest:guest@127.0.0.1]`

mod support;

use std::io::Write;

use anyhow::Result;
use bellhop::messaging::topology::{Binding, Exchange, ExchangeKind, Queue, QueueKind, Target, Topology};

use self::support::Setup;

const BELLS: Exchange = Exchange { name: "bells", kind: ExchangeKind::Direct };

#[tokio::main]
async fn main() -> Result<()> {
    run(std::env::args().nth(1), &mut std::io::stdout()).await
}

/// Writes what happens to `out`, on the embedded broker or on the one at `url`.
pub(crate) async fn run(url: Option<String>, out: &mut impl Write) -> Result<()> {
    writeln!(out, "Watch: a bell rings where its key is bound, letter for letter, and nowhere else.")?;
    let mut topology = Topology { exchanges: vec![BELLS], ..Topology::default() };
    for room in ["kitchen", "bar"] {
        topology.queues.push(Queue { name: room.into(), kind: QueueKind::Work });
        topology.bindings.push(Binding { from: BELLS.name, key: room.into(), to: Target::Queue(room.into()) });
    }
    let setup = Setup::open("direct", topology, url).await?;

    for key in ["kitchen", "bar", "Kitchen", "kitchen.night", "*"] {
        let published = setup.publish(BELLS, key, key).await?;
        writeln!(out, "rang {key:?}: {published:?}")?;
    }
    for room in ["kitchen", "bar"] {
        writeln!(out, "the {room} heard {:?}", setup.empty(room).await?)?;
    }
    setup.close().await;
    Ok(())
}
