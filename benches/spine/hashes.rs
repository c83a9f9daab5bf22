//! The pool of hash threads with the kernel that serves here against the one that runs everywhere.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bellhop::account::credentials::fair_queue::Client;
use bellhop::account::credentials::hasher::Hasher;
use bellhop::config::HashKernel;
use tokio::task::JoinSet;

use crate::load::median;
use crate::node;
use crate::table::{Limit, Row};

const ROUNDS: usize = 9;
const TIME: Duration = Duration::from_secs(2);
/// Always somebody waiting, whatever the number of cores.
const CLIENTS: usize = 8;

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let (fast, portable) = (node::pool(HashKernel::Auto)?, node::pool(HashKernel::Portable)?);
    let stored = portable.hash(&Client::default(), node::password()?).await?;
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (with_portable, with_fast) = (rate(&portable, &stored, TIME).await?, rate(&fast, &stored, TIME).await?);
        // the first round warms up
        if round > 0 {
            ratios.push(with_fast / with_portable);
            ours.push(with_fast);
            theirs.push(with_portable);
        }
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let kernel = bellhop_argon2id::Kernel::available().first().map_or("portable", |kernel| kernel.name());
    Ok(vec![Row {
        what: "hash pool ÷ with the argon2 crate, all cores".to_owned(),
        value: median(&mut ratios),
        unit: "",
        limit: if kernel == "portable" { Limit::None } else { Limit::AtLeast(1.5) },
        detail: format!("{kernel} {ours:.0}/s, argon2 {theirs:.0}/s; {ROUNDS} rounds of {} s", TIME.as_secs()),
    }])
}

/// Hashes a second of a pool alone.
pub async fn rate(pool: &Hasher, stored: &str, time: Duration) -> anyhow::Result<f64> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (pool, stored) = (pool.clone(), stored.to_owned());
        clients.spawn(async move {
            let (start, mut hashes) = (Instant::now(), 0_u32);
            while start.elapsed() < time {
                let (verdict, _) = pool.verify(&Client::default(), node::password()?, Some(&stored)).await?;
                ensure!(verdict.right, "the pool says that the password is wrong");
                hashes += 1;
            }
            Ok(f64::from(hashes) / start.elapsed().as_secs_f64())
        });
    }
    let mut rate = 0.0;
    while let Some(client) = clients.join_next().await {
        rate += client??;
    }
    Ok(rate)
}
