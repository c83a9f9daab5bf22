//! The exchanges, queues and bindings as data: one description that every broker puts into practice.
//!
//! Names here are short (`events`, `confirmation`); RabbitMQ puts `bellhop.` before each.

use std::time::Duration;

/// How an exchange chooses the queues that get a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// By pattern over the words of the routing key: `*` is one word, `#` zero or more.
    Topic,
    /// Everybody who is bound.
    Fanout,
    /// Who is bound with exactly this key.
    Direct,
}

/// An exchange; all of ours are durable. The default exchange is not declared: it is [`DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Short name.
    pub name: &'static str,
    /// How it routes.
    pub kind: ExchangeKind,
}

/// Every event, by routing key.
pub const EVENTS: Exchange = Exchange { name: "events", kind: ExchangeKind::Topic };
/// A copy for every running web node; bound to [`EVENTS`].
pub const BROADCAST: Exchange = Exchange { name: "broadcast", kind: ExchangeKind::Fanout };
/// Brings a parked message back to exactly the queue it failed in.
pub const RETRY: Exchange = Exchange { name: "retry", kind: ExchangeKind::Direct };
/// To a queue by its name, on every broker, without a binding. Has no declaration.
pub const DEFAULT: Exchange = Exchange { name: "", kind: ExchangeKind::Direct };

/// Where messages rest until they are consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Short name.
    pub name: String,
    /// What kind of queue it is, from which its arguments follow.
    pub kind: QueueKind,
}

/// The kinds of queue there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// A listener's: durable, competing consumers.
    Work,
    /// `<queue>.dead`: durable, read by operators.
    Dead,
    /// `wait.<tier>`: what comes in leaves after `ttl` through [`RETRY`], its routing key kept.
    Wait {
        /// How long a message waits, the same for all in the queue.
        ttl: Duration,
    },
    /// One running web node's own: exclusive, gone with the node.
    Node,
}

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A queue, by short name.
    Queue(String),
    /// Another exchange, by short name.
    Exchange(&'static str),
}

/// "What `from` gets under `key` goes to `to` too."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The exchange's short name.
    pub from: &'static str,
    /// Pattern for topic exchanges, exact key for direct ones, ignored by fanout ones.
    pub key: String,
    /// Who gets a copy.
    pub to: Target,
}

/// How long parked messages may wait, shortest first; each tier is an exchange and a queue named `wait.<name>`.
pub const TIERS: [(&str, Duration); 5] = [
    ("wait.10s", Duration::from_secs(10)),
    ("wait.1m", Duration::from_secs(60)),
    ("wait.10m", Duration::from_secs(600)),
    ("wait.1h", Duration::from_secs(3_600)),
    ("wait.6h", Duration::from_secs(21_600)),
];

/// The tier that waits nearest to `delay`: the longest that is not longer, and never less than the shortest.
#[must_use]
pub fn tier(delay: Duration) -> Exchange {
    let name = TIERS.iter().rev().find(|(_, ttl)| *ttl <= delay).map_or(TIERS[0].0, |(name, _)| name);
    Exchange { name, kind: ExchangeKind::Fanout }
}

/// All that is declared on a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// In the order of declaration.
    pub exchanges: Vec<Exchange>,
    /// In the order of declaration.
    pub queues: Vec<Queue>,
    /// After both.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// The topology of these listeners: a pair of (queue, routing keys it is bound to) each.
    #[must_use]
    pub fn new<'a>(listeners: impl IntoIterator<Item = (&'a str, &'a [&'a str])>) -> Self {
        let mut topology = Topology { exchanges: vec![EVENTS, BROADCAST, RETRY], ..Self::default() };
        topology.bindings.push(Binding { from: EVENTS.name, key: "#".into(), to: Target::Exchange(BROADCAST.name) });
        for (name, ttl) in TIERS {
            topology.exchanges.push(Exchange { name, kind: ExchangeKind::Fanout });
            topology.queues.push(Queue { name: name.into(), kind: QueueKind::Wait { ttl } });
            topology.bindings.push(Binding { from: name, key: String::new(), to: Target::Queue(name.into()) });
        }
        for (queue, keys) in listeners {
            topology.queues.push(Queue { name: queue.into(), kind: QueueKind::Work });
            topology.queues.push(Queue { name: format!("{queue}.dead"), kind: QueueKind::Dead });
            topology.bindings.push(Binding { from: RETRY.name, key: queue.into(), to: Target::Queue(queue.into()) });
            for key in keys {
                topology.bindings.push(Binding {
                    from: EVENTS.name,
                    key: (*key).into(),
                    to: Target::Queue(queue.into()),
                });
            }
        }
        topology
    }
}
