//! RabbitMQ and the mail server out of reach for a while, under registrations and logins: nobody who asks notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::chance::Chance;
use crate::support::ledger::Ledger;
use crate::support::process::Bellhop;
use crate::support::proxy::{Mode, Proxy};
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

const AWAY: Duration = Duration::from_secs(20);

/// How often each client comes at the most.
const PACE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_43_everybody_is_answered_as_usual_while_broker_and_mail_server_are_away_and_everything_arrives_after() {
    let chance = Chance::new();
    let (broker, sink) = (rabbit::Private::new().await, Arc::new(Sink::start().await));
    let (road, mail) = Proxy::before(&sink.url()).await;
    let app = Bellhop::on(&postgres::database().await, broker.url(), sink).await;
    let mut app = app.with("SMTP_URL", &mail);
    app.start().await;
    let mut ledger = Ledger::open(&app, 2, PACE).await;
    broker.settle_topology().await;
    // the measure of "as usual"
    ledger.until_more(100).await;
    let before = ledger.took();
    road.set(Mode::Reset);
    // some mails are in hand just now
    ledger.until_more(10).await;
    broker.kill9().await;
    let (gone, from) = (Instant::now(), ledger.took().len());
    let mails = app.letters().len();
    while gone.elapsed() < AWAY {
        ledger.until_more(10).await;
    }
    let during = ledger.took().split_off(from);
    assert_eq!(app.letters().len(), mails, "the mail server was away");
    broker.start().await;
    road.set(Mode::Pass);
    let back = Instant::now();
    ledger.until_more(10).await;
    ledger.close().await;
    let (usual, then) = (Times::of(before), Times::of(during));
    for (when, times) in [("before", &usual), ("while both were away", &then)] {
        println!("{when}: {} answers, p50 {} ms, p99 {} ms", times.answers, times.p50, times.p99);
    }
    let audit = ledger.audit(&app, back).await;
    audit.pass(chance.seed, "large-broker-and-mail-away", 1);
    let statuses = ledger.statuses();
    assert!(statuses.keys().all(|status| [303, 422].contains(status)), "as usual: {statuses:?}");
    assert_eq!(audit.in_doubt, 0, "{statuses:?}");
    assert!(then.answers >= 500, "there was load: {then:?}");
    assert!(then.p50 < 2 * usual.p50, "a ratio of one run: {usual:?} and {then:?}");
}

#[derive(Debug)]
struct Times {
    answers: usize,
    p50: u128,
    p99: u128,
}

impl Times {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |percent: usize| took[took.len() * percent / 100].as_millis();
        Self { answers: took.len(), p50: at(50), p99: at(99) }
    }
}
