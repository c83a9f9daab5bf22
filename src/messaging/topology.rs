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
/// A copy for every running web node of what nodes hear; bound to [`EVENTS`].
pub const BROADCAST: Exchange = Exchange { name: "broadcast", kind: ExchangeKind::Fanout };
/// Brings a parked message back to exactly the queue it failed in.
pub const RETRY: Exchange = Exchange { name: "retry", kind: ExchangeKind::Direct };
/// Brings a message that was given up to the dead letters of the queue it failed in. An exchange of our own, so that no
/// listener needs the right to write to [`DEFAULT`], which leads to every queue.
pub const DEAD: Exchange = Exchange { name: "dead", kind: ExchangeKind::Direct };
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

/// The names of the wait tiers, shortest first; each is a fanout exchange and the queue behind it.
pub const TIERS: [&str; 5] = ["wait.10s", "wait.1m", "wait.10m", "wait.1h", "wait.6h"];

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
    /// The topology of these listeners, a pair of (queue, routing keys it is bound to) each, with the routing keys that
    /// running web nodes hear and the waits of the tiers in the order of [`TIERS`].
    ///
    /// Nodes hear no more than they need: what [`BROADCAST`] takes is not unroutable while a node runs, even if the queue
    /// that it is meant for is missing.
    #[must_use]
    pub fn new<'a>(
        listeners: impl IntoIterator<Item = (&'a str, &'a [&'a str])>,
        nodes: &[&str],
        waits: [Duration; TIERS.len()],
    ) -> Self {
        let mut topology = Topology { exchanges: vec![EVENTS, BROADCAST, RETRY, DEAD], ..Self::default() };
        for key in nodes {
            let to = Target::Exchange(BROADCAST.name);
            topology.bindings.push(Binding { from: EVENTS.name, key: (*key).into(), to });
        }
        for (name, ttl) in TIERS.into_iter().zip(waits) {
            topology.exchanges.push(Exchange { name, kind: ExchangeKind::Fanout });
            topology.queues.push(Queue { name: name.into(), kind: QueueKind::Wait { ttl } });
            topology.bindings.push(Binding { from: name, key: String::new(), to: Target::Queue(name.into()) });
        }
        for (queue, keys) in listeners {
            // the dead letters first: the work queue's fuse points there
            topology.queues.push(Queue { name: dead(queue), kind: QueueKind::Dead });
            topology.queues.push(Queue { name: queue.into(), kind: QueueKind::Work });
            topology.bindings.push(Binding { from: RETRY.name, key: queue.into(), to: Target::Queue(queue.into()) });
            topology.bindings.push(Binding { from: DEAD.name, key: queue.into(), to: Target::Queue(dead(queue)) });
            for key in keys {
                let to = Target::Queue(queue.into());
                topology.bindings.push(Binding { from: EVENTS.name, key: (*key).into(), to });
            }
        }
        topology
    }

    /// The tier that waits nearest to `delay`: the longest that is not longer, and never less than the shortest.
    #[must_use]
    pub fn tier(&self, delay: Duration) -> Exchange {
        let waits = self.queues.iter().filter_map(|queue| match queue.kind {
            QueueKind::Wait { ttl } => Some((ttl, queue.name.as_str())),
            _ => None,
        });
        let longest = waits.filter(|(ttl, _)| *ttl <= delay).max().map_or(TIERS[0], |(_, name)| name);
        let name = TIERS.into_iter().find(|tier| *tier == longest).unwrap_or(TIERS[0]);
        Exchange { name, kind: ExchangeKind::Fanout }
    }

    /// How long a message stays in the queue behind this exchange of a tier.
    #[must_use]
    pub fn wait(&self, tier: &Exchange) -> Duration {
        let waits = self.queues.iter().find_map(|queue| match queue.kind {
            QueueKind::Wait { ttl } if queue.name == tier.name => Some(ttl),
            _ => None,
        });
        waits.unwrap_or_default()
    }

    /// The keys under which a listener's queue is bound to [`EVENTS`].
    #[must_use]
    pub fn keys_of(&self, listener: &str) -> Vec<&str> {
        let keys = self.bindings.iter().filter(|binding| {
            binding.from == EVENTS.name && matches!(&binding.to, Target::Queue(queue) if queue == listener)
        });
        keys.map(|binding| binding.key.as_str()).collect()
    }

    /// Whether one of our own listeners wants events of this routing key. An event that nobody wants is published all
    /// the same (others may bind a queue of theirs), and being returned then means nothing.
    #[must_use]
    pub fn is_wanted(&self, key: &str) -> bool {
        self.bindings.iter().any(|binding| {
            binding.from == EVENTS.name && matches!(binding.to, Target::Queue(_)) && matches(&binding.key, key)
        })
    }
}

/// The name of the queue where dead letters of `queue` rest.
#[must_use]
pub fn dead(queue: &str) -> String {
    format!("{queue}.dead")
}

/// A topic pattern as one of SQL's `like`, which is wider: whoever uses it asks [`matches`] about what it finds.
#[must_use]
pub(super) fn like(pattern: &str) -> String {
    pattern.replace(['*', '#'], "%")
}

/// Whether a topic pattern takes a routing key: words are separated by dots, `*` is exactly one word, `#` zero or more,
/// and a star inside a word is just a star (AMQP 0-9-1, topic exchanges). The empty key has no words.
#[must_use]
pub fn matches(pattern: &str, key: &str) -> bool {
    fn words(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }
    fn walk(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => (0..=key.len()).any(|skip| walk(rest, key.get(skip..).unwrap_or_default())),
            (Some((&"*", rest)), Some((_, key))) => walk(rest, key),
            (Some((word, rest)), Some((first, key))) => word == first && walk(rest, key),
            _ => false,
        }
    }
    walk(&words(pattern), &words(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_word_and_a_hash_is_zero_or_more() {
        // measured on RabbitMQ 3.10: the patterns that take each key
        let patterns = [
            "user.*",
            "user.#",
            "#",
            "*",
            "*.*",
            "#.created",
            "user.*.created",
            "user.#.created",
            "*.#",
            "user",
            "us*",
            "",
        ];
        for (key, takers) in [
            ("user", vec!["user.#", "#", "*", "*.#", "user"]),
            ("user.created", vec!["user.*", "user.#", "#", "*.*", "#.created", "user.#.created", "*.#"]),
            ("user.email.created", vec!["user.#", "#", "#.created", "user.*.created", "user.#.created", "*.#"]),
            ("user.a.b.created", vec!["user.#", "#", "#.created", "user.#.created", "*.#"]),
            ("created", vec!["#", "*", "#.created", "*.#"]),
            ("", vec!["#", ""]),
            ("user..created", vec!["user.#", "#", "#.created", "user.*.created", "user.#.created", "*.#"]),
            ("user.created.", vec!["user.#", "#", "*.#"]),
        ] {
            let found: Vec<&str> = patterns.into_iter().filter(|pattern| matches(pattern, key)).collect();
            assert_eq!(found, takers, "{key:?}");
        }
    }

    #[test]
    fn a_delay_waits_in_the_longest_tier_that_is_not_longer() {
        let topology = Topology::new([], &[], [10, 60, 600, 3_600, 21_600].map(Duration::from_secs));
        for (seconds, tier) in [(0, 0), (10, 0), (59, 0), (60, 1), (3_599, 2), (3_600, 3), (100_000, 4)] {
            assert_eq!(topology.tier(Duration::from_secs(seconds)).name, TIERS[tier], "{seconds} s");
        }
    }

    #[test]
    fn an_event_is_wanted_when_a_listener_is_bound_for_it() {
        let topology = Topology::new([("login-log", &["login.*"][..])], &[], [Duration::ZERO; 5]);
        assert!(topology.is_wanted("login.failed"));
        assert!(!topology.is_wanted("user.confirmed"));
    }
}
