//! Direct: a queue gets what carries exactly its key.

use bellhop::messaging::broker::Published;
use bellhop::messaging::topology::{Exchange, ExchangeKind};

use super::{bound, expect_depths};
use crate::brokers::{Kind, Setup, on_every_broker};

const BELLS: Exchange = Exchange { name: "bells", kind: ExchangeKind::Direct };

async fn open(kind: Kind) -> Setup {
    let queues: [(&str, &[&str]); 3] =
        [("kitchen", &["kitchen"]), ("night", &["kitchen", "bar"]), ("stars", &["*", "#"])];
    Setup::open(kind, bound(BELLS, &queues)).await
}

on_every_broker!(a_queue_gets_what_carries_exactly_one_of_its_keys);

async fn a_queue_gets_what_carries_exactly_one_of_its_keys(setup: Setup) {
    let (mut kitchen, mut night, mut stars) = (0, 0, 0);
    for (key, takers) in [
        ("kitchen", &["kitchen", "night"][..]),
        ("bar", &["night"]),
        // signs that are a pattern elsewhere are letters here
        ("*", &["stars"]),
        ("#", &["stars"]),
        ("Kitchen", &[]),
        ("kitche", &[]),
        ("kitchens", &[]),
        ("kitchen.", &[]),
        ("kitchen.bar", &[]),
        ("", &[]),
    ] {
        let expected = if takers.is_empty() { Published::Returned } else { Published::Confirmed };
        assert_eq!(setup.publish(BELLS, key).await.1, expected, "{key:?}");
        for (queue, count) in [("kitchen", &mut kitchen), ("night", &mut night), ("stars", &mut stars)] {
            *count += u64::from(takers.contains(&queue));
        }
        expect_depths(&setup, &[("kitchen", kitchen), ("night", night), ("stars", stars)], key).await;
    }
    setup.close().await;
}
