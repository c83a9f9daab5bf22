//! A process that dies at a named step, at every one of them: what each step owes to the one before is kept.
//!
//! A mail may come twice only when the process died with it between the mail server's 250 and the inbox. How many were there
//! the dying process says itself.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop::failpoint::STEPS;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tokio::sync::Semaphore;

use super::times;
use crate::support::app::Stack;
use crate::support::ledger::Ledger;
use crate::support::process::Bellhop;
use crate::support::smtp::{Phase, Script, Sink, Step};
use crate::support::{postgres, rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_at_any_step_on_sqlite() {
    // the queues' lease is a minute: most of a run is waiting, so all wait together
    die_at_every_step(Stack::Small, |step| !step.starts_with("relay."), 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_at_any_step_on_postgres_and_rabbit() {
    die_at_every_step(Stack::Large, |step| !step.starts_with("handover."), 20).await;
}

async fn die_at_every_step(stack: Stack, is_there: impl Fn(&str) -> bool, at_once: usize) {
    let (alive, busy) = (Semaphore::new(at_once), Semaphore::new(2));
    let steps: Vec<&str> = STEPS.iter().copied().filter(|step| is_there(step)).collect();
    // at which passing of a step the process dies
    let passings = 1..=u32::try_from(times(1, 2)).expect("small");
    let runs = passings.flat_map(|nth| steps.iter().map(move |step| (*step, nth)));
    let ends = join_all(runs.map(|(step, nth)| die_at(stack, step, nth, &alive, &busy))).await;
    println!("stack={stack:?} steps={}", steps.len());
    println!(
        "{:24} {:>3} {:>8} {:>8} {:>5} {:>5} {:>6} {:>10} {:>11}",
        "step", "nth", "accepted", "in_doubt", "lost", "ghost", "window", "duplicates", "recovery_ms"
    );
    let mut doubled = Vec::new();
    for end in &ends {
        let audit = &end.audit;
        println!(
            "{:24} {:>3} {:>8} {:>8} {:>5} {:>5} {:>6} {:>10} {:>11}",
            end.step,
            end.nth,
            audit.accepted,
            audit.in_doubt,
            audit.lost,
            audit.ghosts,
            end.window,
            audit.duplicates,
            audit.recovery.as_millis()
        );
        if audit.duplicates > 0 {
            doubled.push(end.step);
        }
    }
    for end in &ends {
        end.audit.hold(&format!("{}:{}", end.step, end.nth), end.window);
    }
    // dying there is what doubles a mail; if it did not, the table would say nothing about the other steps
    for step in ["mail.accepted", "delivery.recorded"] {
        assert!(doubled.contains(&step), "a mail that was taken and not recorded goes again: {doubled:?}");
    }
}

/// What became of one run.
struct End {
    step: &'static str,
    nth: u32,
    /// Mails that the mail server may have taken and the inbox did not know yet.
    window: usize,
    audit: crate::support::ledger::Audit,
}

async fn die_at(stack: Stack, step: &'static str, nth: u32, alive: &Semaphore, busy: &Semaphore) -> End {
    let _alive = alive.acquire().await.expect("it stays open");
    let turn = busy.acquire().await.expect("it stays open");
    let sink = Arc::new(Sink::start().await);
    let mut app = match stack {
        Stack::Small => Bellhop::new().await.mailing(Arc::clone(&sink)),
        Stack::Large => {
            let (database, vhost) = tokio::join!(postgres::database(), rabbit::vhost());
            Bellhop::on(&database, &vhost, Arc::clone(&sink)).await
        }
    };
    app.start().await;
    let mut ledger = Ledger::open(&app, 1, Duration::from_millis(20)).await;
    // in order, so that it has nothing in hand but what it takes up from here on
    app.terminate();
    assert_eq!(app.end().await.code(), Some(0), "{}", app.log());
    if step == "parked.published" {
        sink.set(Script::default().on(Phase::Rcpt, Step::reply("451 4.3.0 later").times(4)));
    }
    app.die_at(Some(&format!("{step}:{nth}")));
    app.spawn();
    let status = app.end().await;
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{step}: {status}: {}", app.log());
    let passed = last_word(&app.log(), step);
    assert_eq!(passed[step], nth);
    app.die_at(None);
    app.start().await;
    let since = Instant::now();
    ledger.until_more(3).await;
    ledger.close().await;
    drop(turn);
    let audit = ledger.audit(&app, since).await;
    let times = |step: &str| passed.get(step).copied().unwrap_or_default();
    let window = times("mail.before_message") - times("inbox.marked");
    End { step, nth, window: usize::try_from(window).expect("it fits"), audit }
}

/// How often the process came by each step before it died at this one.
fn last_word(log: &str, step: &str) -> BTreeMap<String, u32> {
    let start = format!("failpoint {step} ");
    let line = log.lines().rev().find_map(|line| line.strip_prefix(&start));
    let line = line.unwrap_or_else(|| panic!("it died without a word: {log}"));
    let pairs = line.split(' ').map(|pair| pair.split_once('=').expect("a step and a number"));
    pairs.map(|(step, times)| (step.to_owned(), times.parse().expect("a number"))).collect()
}
