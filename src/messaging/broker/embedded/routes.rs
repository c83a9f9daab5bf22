//! Which queues get a copy: the tables of exchanges, queues and bindings.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::messaging::topology::{self, Queue, QueueKind, Target};

/// Writes a queue down; one that is there already gets the new properties and keeps its messages.
pub(super) async fn declare_queue(tx: &mut Tx, queue: &Queue, expires_at: Option<Timestamp>) -> anyhow::Result<()> {
    let (kind, ttl) = match queue.kind {
        QueueKind::Work => ("work", None),
        QueueKind::Dead => ("dead", None),
        QueueKind::Wait { ttl } => ("wait", i64::try_from(ttl.as_micros()).ok()),
        QueueKind::Node => ("node", None),
    };
    tx.query(
        "insert into broker_queue (name, kind, ttl_us, expires_at) values ($1, $2, $3, $4)
         on conflict (name) do update
         set kind = excluded.kind, ttl_us = excluded.ttl_us, expires_at = excluded.expires_at",
    )
    .bind(queue.name.clone())
    .bind(kind)
    .bind(ttl)
    .bind(expires_at)
    .execute()
    .await
    .context("cannot declare a queue")?;
    Ok(())
}

/// Binds a queue or an exchange to `source`.
pub(super) async fn bind(tx: &mut Tx, source: &'static str, key: &str, to: &Target) -> anyhow::Result<()> {
    let (kind, target) = match to {
        Target::Queue(name) => ("queue", name.as_str()),
        Target::Exchange(name) => ("exchange", *name),
    };
    tx.query(
        "insert into broker_binding (source, routing_key, target_kind, target) values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(source)
    .bind(key.to_owned())
    .bind(kind)
    .bind(target.to_owned())
    .execute()
    .await
    .context("cannot bind a queue")?;
    Ok(())
}

/// The tables of exchanges, bindings and queues, as read in the transaction that publishes.
pub(super) struct Routes {
    kinds: HashMap<String, String>,
    bindings: Vec<(String, String, String, String)>,
    waits: HashMap<String, Duration>,
}

impl Routes {
    pub(super) async fn load(tx: &mut Tx) -> anyhow::Result<Self> {
        // one statement instead of three: it is asked for every batch
        let rows: Vec<(String, String, String, String, i64)> = tx
            .query(
                "select source, routing_key, target_kind, target, cast(0 as bigint) from broker_binding
                 union all
                 select name, kind, 'kind', '', 0 from broker_exchange
                 union all
                 select name, '', 'wait', '', coalesce(ttl_us, 0) from broker_queue",
            )
            .all()
            .await?;
        let mut routes = Routes { kinds: HashMap::new(), bindings: Vec::new(), waits: HashMap::new() };
        for (name, second, what, target, ttl) in rows {
            match what.as_str() {
                "kind" => drop(routes.kinds.insert(name, second)),
                "wait" => drop(routes.waits.insert(name, Duration::from_micros(ttl.unsigned_abs()))),
                _ => routes.bindings.push((name, second, what, target)),
            }
        }
        Ok(routes)
    }

    /// How long a message stays in this queue before it is sent on.
    pub(super) fn wait(&self, queue: &str) -> Duration {
        self.waits.get(queue).copied().unwrap_or_default()
    }

    /// The queues that get a copy, each once however many bindings lead there.
    pub(super) fn of(&self, exchange: &str, key: &str) -> BTreeSet<String> {
        if exchange.is_empty() {
            return self.waits.contains_key(key).then(|| key.to_owned()).into_iter().collect();
        }
        let mut queues = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut exchanges = vec![exchange];
        while let Some(exchange) = exchanges.pop() {
            if !seen.insert(exchange) {
                continue;
            }
            let kind = self.kinds.get(exchange).map(String::as_str);
            for (source, pattern, target_kind, target) in &self.bindings {
                let taken = match kind {
                    Some("topic") => topology::matches(pattern, key),
                    Some("direct") => pattern == key,
                    Some("fanout") => true,
                    _ => false,
                };
                if source != exchange || !taken {
                    continue;
                }
                if target_kind == "exchange" {
                    exchanges.push(target);
                } else if self.waits.contains_key(target) {
                    queues.insert(target.clone());
                }
            }
        }
        queues
    }
}
