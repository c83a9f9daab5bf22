//! When the browser that registered is shown how far its mail has come: that tells a stranger nothing either (F45).
//!
//! What is shown is compared in `stories::waiting`; here it is when, by the same statistics as of answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::statistics::{Samples, differences};
use crate::support::app::{PASSWORD, Stack, TestApp};
use crate::support::chance::Chance;
use crate::support::smtp::{Phase, Script, Step};

/// A twentieth of this matters: 10 ms, in which nobody can tell one poll of the page from another.
const MEASURE: Duration = Duration::from_millis(200);

/// Samples of each class and state.
const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_a_pending_and_a_taken_address_are_shown_their_status_after_the_same_time() {
    let slow = Duration::from_millis(150);
    let states: [(&str, bool, Script); 8] = [
        ("up", false, Script::default()),
        ("slow at RCPT", false, Script::default().on(Phase::Rcpt, Step::delay(slow))),
        ("slow at the dot", false, Script::default().on(Phase::Dot, Step::delay(slow))),
        ("down", true, Script::default()),
        ("RCPT 450", false, Script::default().on(Phase::Rcpt, Step::reply("450 4.2.1 busy"))),
        ("RCPT 550", false, Script::default().on(Phase::Rcpt, Step::reply("550 5.1.1 unknown"))),
        ("dot 451", false, Script::default().on(Phase::Dot, Step::reply("451 4.3.0 later"))),
        ("MAIL 550", false, Script::default().on(Phase::Mail, Step::reply("550 5.1.8 sender"))),
    ];
    let mut chance = Chance::new();
    for (state, down, script) in states {
        let mut found: Vec<String> = Vec::new();
        // what is found once may be chance; what is found in a second sample too is none
        for turn in 0..2 {
            let looked = differences(&sample(&mut chance, down, &script).await, MEASURE);
            println!("{state}: {looked:?}");
            let kind = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
            found =
                looked.into_iter().filter(|now| turn == 0 || found.iter().any(|was| kind(was) == kind(now))).collect();
            if found.is_empty() {
                break;
            }
        }
        assert_eq!(found, Vec::<String>::new(), "mail {state}");
    }
}

/// The times of each kind of address in a state of the mail server.
async fn sample(chance: &mut Chance, down: bool, script: &Script) -> BTreeMap<String, Samples> {
    let mut app = TestApp::start_with(Stack::Large, |options| {
        // what has failed does not come again while others are measured
        options.config.messaging.retry.tiers = [Duration::from_hours(1); 5];
    })
    .await
    .unfinished();
    app.signed_in_client("taken@example.org").await;
    app.client().register("taken@example.org", PASSWORD, "Eve").await;
    app.client().register("pending@example.org", PASSWORD, "Ann").await;
    app.settle().await;
    let mut sink = app.sink.take().expect("the large stack has one");
    sink.set(script.clone());
    if down {
        sink.stop().await;
    }
    let mut samples: BTreeMap<String, Samples> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let mut turns = [
            ("free", format!("free{round}@example.org")),
            ("pending", "pending@example.org".to_owned()),
            ("taken", "taken@example.org".to_owned()),
        ];
        chance.shuffle(&mut turns);
        for (class, email) in turns {
            let took = shown_after(&app, &email).await;
            // the first round warms up
            if round > 0 {
                samples.entry(class.to_owned()).or_default().push(took);
            }
        }
    }
    samples
}

/// From the answer of the registration to the status of its mail, read where the page reads it.
async fn shown_after(app: &TestApp, email: &str) -> Duration {
    let answer = app.client().register(email, PASSWORD, "Eve").await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let since = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    loop {
        tick.tick().await;
        let waiting = "select count(*) from registrations where delivery = 'queued'";
        let (waiting,): (i64,) = app.db().query(waiting).one().await.expect("it answers");
        if waiting == 0 {
            return since.elapsed();
        }
    }
}
