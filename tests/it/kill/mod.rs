//! Stories of real processes, in which something is killed, stopped or told nonsense.

use std::sync::Arc;

use crate::support::app::Stack;
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

mod apart;
mod away;
mod crashes;
mod disks;
mod failover;
mod failpoints;
mod guesses;
mod logs;
mod migrating;
mod oversized;
mod pooler;
mod secrets;
mod servers;
mod settings;
mod settings_together;
pub mod slow_clients;
mod starting;
mod stopping;
mod storm;
mod watching;

/// How often something is repeated: enough to find what it looks for, or what `scripts/storm --long` has the time for.
fn times(usual: usize, long: usize) -> usize {
    if storm::is_long() { long } else { usual }
}

/// A Bellhop on this stack, with a database and a broker of its own on the shared servers, not yet started.
async fn fresh(stack: Stack) -> Bellhop {
    match stack {
        Stack::Small => Bellhop::new().await,
        Stack::Large => {
            let (database, vhost) = tokio::join!(postgres::database(), rabbit::vhost());
            Bellhop::on(&database, &vhost, Arc::new(Sink::start().await)).await
        }
    }
}
