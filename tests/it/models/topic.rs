//! Topic: `*` is exactly one word, `#` zero or more. The table of `topology::matches`, put to the brokers themselves:
//! ours goes by that function, RabbitMQ by its own.

use std::collections::BTreeSet;

use bellhop::messaging::broker::Published;
use bellhop::messaging::topology::{EVENTS, matches};

use super::{bound, expect_depths};
use crate::brokers::{Kind, Setup, on_every_broker};

/// Each is the one binding of a queue of its own.
const PATTERNS: [&str; 12] =
    ["user.*", "user.#", "#", "*", "*.*", "#.created", "user.*.created", "user.#.created", "*.#", "user", "us*", ""];

/// Routing keys, and the patterns that take them.
const TAKERS: [(&str, &[&str]); 9] = [
    ("user", &["user.#", "#", "*", "*.#", "user"]),
    ("user.created", &["user.*", "user.#", "#", "*.*", "#.created", "user.#.created", "*.#"]),
    ("user.email.created", &["user.#", "#", "#.created", "user.*.created", "user.#.created", "*.#"]),
    ("user.a.b.created", &["user.#", "#", "#.created", "user.#.created", "*.#"]),
    ("created", &["#", "*", "#.created", "*.#"]),
    ("", &["#", ""]),
    ("user..created", &["user.#", "#", "#.created", "user.*.created", "user.#.created", "*.#"]),
    ("user.created.", &["user.#", "#", "*.#"]),
    ("users", &["#", "*", "*.#"]),
];

async fn open(kind: Kind) -> Setup {
    let names: Vec<String> = (0..PATTERNS.len()).map(|n| format!("pattern-{n}")).collect();
    let queues: Vec<(&str, &[&str])> =
        names.iter().map(String::as_str).zip(PATTERNS.iter().map(std::slice::from_ref)).collect();
    Setup::open(kind, bound(EVENTS, &queues)).await
}

on_every_broker!(a_star_takes_exactly_one_word_and_a_hash_zero_or_more);

async fn a_star_takes_exactly_one_word_and_a_hash_zero_or_more(setup: Setup) {
    for (key, _) in TAKERS {
        assert_eq!(setup.publish(EVENTS, key).await.1, Published::Confirmed, "{key:?}");
    }
    for (n, pattern) in PATTERNS.into_iter().enumerate() {
        let wanted: BTreeSet<&str> =
            TAKERS.iter().filter(|(_, takers)| takers.contains(&pattern)).map(|(key, _)| *key).collect();
        let (queue, count) = (format!("pattern-{n}"), u64::try_from(wanted.len()).unwrap());
        expect_depths(&setup, &[(&queue, count)], pattern).await;
        let mut taken = BTreeSet::new();
        let mut consumer = setup.consume(&queue, 1).await;
        for _ in 0..count {
            let delivery = consumer.next().await;
            taken.insert(delivery.message().kind.clone());
            assert!(delivery.ack().await.unwrap());
        }
        assert_eq!(taken.iter().map(String::as_str).collect::<BTreeSet<_>>(), wanted, "{pattern:?}");
        let told: BTreeSet<&str> = TAKERS.iter().map(|(key, _)| *key).filter(|key| matches(pattern, key)).collect();
        assert_eq!(told, wanted, "`matches` says of {pattern:?} what the brokers do");
    }
    setup.close().await;
}
