//! The programs in `examples/`: each runs to its end, on the embedded broker and on RabbitMQ, and says the same on both.

use super::{amqp, send};
use crate::support::rabbit;

/// An example, as part of this program: what cargo builds of it may be older than its text.
macro_rules! example {
    ($name:ident, $file:literal) => {
        #[path = $file]
        #[expect(dead_code, reason = "its main is cargo's")]
        #[expect(clippy::duplicate_mod, reason = "each example is a program with a copy of its own")]
        mod $name;
    };
}

example!(simple, "../../../examples/simple.rs");
example!(work_queue, "../../../examples/work_queue.rs");
example!(fanout, "../../../examples/fanout.rs");
example!(direct, "../../../examples/direct.rs");
example!(topic, "../../../examples/topic.rs");

/// What an example writes on either broker, however often, after the line that says what to watch.
async fn lines(run: impl AsyncFn(Option<String>) -> (anyhow::Result<()>, Vec<u8>)) -> Vec<String> {
    let mut told = Vec::new();
    let vhost = rabbit::vhost().await;
    for url in [None, Some(vhost.clone()), Some(vhost)] {
        let (ended, written) = run(url).await;
        ended.expect("it ends well");
        let text = String::from_utf8(written).expect("a text");
        told.push(text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(told[1], told[0], "on RabbitMQ and on the embedded broker");
    assert_eq!(told[2], told[1], "the second time and the first");
    let mut lines = told.remove(0);
    assert!(lines.remove(0).starts_with("Watch: "));
    lines
}

macro_rules! lines_of {
    ($name:ident) => {
        lines(async |url| {
            let mut written = Vec::new();
            ($name::run(url, &mut written).await, written)
        })
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_shows_that_a_letter_outlives_its_consumer() {
    let lines = lines_of!(simple).await;
    assert_eq!(
        lines,
        [
            "published \"Dear Ada\" to the queue: Confirmed",
            "the first consumer has \"Dear Ada\" and fails without an ack",
            "the second consumer has \"Dear Ada\", redelivered: true",
            "it acknowledges: true",
            "left in the queue: []",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_queue_shows_who_carries_how_many_bags() {
    let lines = lines_of!(work_queue).await;
    let heads: Vec<&str> = lines.iter().map(|line| line.rsplit_once(": ").unwrap().0).collect();
    assert_eq!(
        heads,
        [
            "prefetch 1: the quick porter carried 11",
            "prefetch 1: the slow porter carried 1",
            "prefetch 6: the quick porter carried 6",
            "prefetch 6: the slow porter carried 6",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fanout_shows_who_hears_what() {
    let lines = lines_of!(fanout).await;
    assert_eq!(
        lines,
        [
            "said \"good morning\" while nobody was there: Returned",
            "said \"breakfast is served\" to the kitchen: Confirmed",
            "said \"the lift is stuck\" to the kitchen and the bar: Confirmed",
            "the kitchen heard \"breakfast is served\"",
            "the kitchen heard \"the lift is stuck\"",
            "the bar heard \"the lift is stuck\"",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_shows_where_a_bell_rings() {
    let lines = lines_of!(direct).await;
    assert_eq!(
        lines,
        [
            "rang \"kitchen\": Confirmed",
            "rang \"bar\": Confirmed",
            "rang \"Kitchen\": Returned",
            "rang \"kitchen.night\": Returned",
            "rang \"*\": Returned",
            "the kitchen heard [\"kitchen\"]",
            "the bar heard [\"bar\"]",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_shows_what_each_pattern_takes() {
    let lines = lines_of!(topic).await;
    assert_eq!(
        lines[4..],
        [
            "user.* took user.registered",
            "user.# took user, user.registered, user.email.changed",
            "#.failed took login.failed",
            "# took user, user.registered, user.email.changed, login.failed",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_interrupted_run_left_behind_confuses_no_later_one() {
    let url = rabbit::vhost().await;
    let (mut first, mut later) = (Vec::new(), Vec::new());
    topic::run(Some(url.clone()), &mut first).await.expect("it ends well");
    let (_connection, channel) = amqp(&url).await;
    for text in ["one", "another"] {
        send(&channel, "example.topic.failures", &format!(r#"{{"data": "{text}"}}"#), 2).await;
    }
    topic::run(Some(url), &mut later).await.expect("it ends well");
    assert_eq!(String::from_utf8_lossy(&later), String::from_utf8_lossy(&first));
}
