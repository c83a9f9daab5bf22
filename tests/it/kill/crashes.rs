//! `kill -9` of the program, of RabbitMQ and of PostgreSQL under registrations and logins: what was accepted happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{fresh, times};
use crate::support::app::Stack;
use crate::support::chance::Chance;
use crate::support::ledger::Ledger;
use crate::support::process::Bellhop;
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

/// How often each client comes at the most: the servers that start again need the machine too.
pub const PACE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_the_program_is_killed_on_sqlite() {
    the_program_is_killed(Stack::Small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_the_program_is_killed_on_postgres_and_rabbit() {
    the_program_is_killed(Stack::Large).await;
}

async fn the_program_is_killed(stack: Stack) {
    let kills = times(25, 100);
    let mut chance = Chance::new();
    let mut app = fresh(stack).await;
    app.start().await;
    let mut ledger = Ledger::open(&app, 3, Duration::from_millis(5)).await;
    let mut started = Instant::now();
    for _ in 0..kills {
        // now and then the start itself is killed, else some answers later
        if chance.below(5) > 0 {
            ledger.until_more(usize::try_from(1 + chance.below(8)).expect("small")).await;
        }
        a_moment(&mut chance).await;
        app.kill9();
        app.spawn();
        started = Instant::now();
    }
    ledger.until_more(5).await;
    ledger.close().await;
    ledger.audit(&app, started).await.pass(chance.seed, &format!("{stack:?}").to_lowercase(), kills);
}

/// Up to 40 ms, so that the kill meets every step of the work.
async fn a_moment(chance: &mut Chance) {
    let mut tick = tokio::time::interval(Duration::from_micros(1 + chance.below(40_000)));
    // the first tick is at once
    tick.tick().await;
    tick.tick().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_and_nothing_is_lost_when_the_broker_is_killed() {
    let kills = times(3, 10);
    let chance = Chance::new();
    let broker = rabbit::Private::new().await;
    let mut app = Bellhop::on(&postgres::database().await, broker.url(), Arc::new(Sink::start().await)).await;
    app.start().await;
    let mut ledger = Ledger::open(&app, 2, PACE).await;
    // the users' mails went by way of every queue, so all is declared
    broker.settle_topology().await;
    let mut back = Instant::now();
    for _ in 0..kills {
        ledger.until_more(10).await;
        broker.kill9().await;
        ledger.until_more(10).await;
        broker.start().await;
        back = Instant::now();
    }
    ledger.until_more(10).await;
    ledger.close().await;
    let audit = ledger.audit(&app, back).await;
    audit.pass(chance.seed, "large-rabbitmq-killed", kills);
    assert_eq!(audit.in_doubt, 0, "a request needs no broker: {:?}", ledger.statuses());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_the_database_is_killed() {
    let kills = times(5, 20);
    let chance = Chance::new();
    let database = postgres::Private::new().await;
    let mut app = Bellhop::on(database.url(), &rabbit::vhost().await, Arc::new(Sink::start().await)).await;
    app.start().await;
    let mut ledger = Ledger::open(&app, 2, PACE).await;
    let mut back = Instant::now();
    for _ in 0..kills {
        ledger.until_more(10).await;
        database.kill9().await;
        let told = ledger.statuses();
        crate::support::app::within("an answer without a database", async || ledger.statuses() != told).await;
        database.start().await;
        back = Instant::now();
    }
    ledger.until_more(10).await;
    ledger.close().await;
    assert!(app.runs(), "it outlives its database");
    ledger.audit(&app, back).await.pass(chance.seed, "large-postgres-killed", kills);
    let statuses = ledger.statuses();
    assert!(statuses.keys().all(|status| [303, 422, 503].contains(status)), "503 or done: {statuses:?}");
    assert!(statuses.contains_key(&503), "the kills were noticed: {statuses:?}");
}

/// Shows that the audit of the stories above finds what it looks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_a_lost_registration_a_lost_or_ghost_mail_and_a_lost_or_doubled_login() {
    let mut app = Bellhop::new().await;
    app.start().await;
    let mut ledger = Ledger::open(&app, 1, PACE).await;
    ledger.until_more(5).await;
    ledger.close().await;
    let audit = ledger.audit(&app, Instant::now()).await;
    assert_eq!((audit.lost, audit.ghosts, audit.wrong), (0, 0, Vec::new()));

    let some_mail = std::fs::read_dir(app.data().join("mailbox")).expect("a mailbox");
    let mut mails: Vec<_> = some_mail.map(|file| file.expect("a file").path()).collect();
    mails.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    // of somebody who registered: of who signs in there are warnings too
    mails.retain(|path| std::fs::read_to_string(path).expect("a file").contains("guest-"));
    mails.sort();
    std::fs::remove_file(mails.last().expect("a mail")).expect("it is there");
    assert_eq!(ledger.audit(&app, Instant::now()).await.lost, 1);

    let db = app.db().await;
    for (sql, lost, ghosts, wrong) in [
        (
            "delete from registrations where email = (select min(email) from registrations where confirmed_user is null)",
            2,
            1,
            1,
        ),
        ("delete from login_log where id = (select min(id) from login_log where type like 'login.%')", 3, 1, 3),
        (
            "insert into login_log (id, type, at, ip, user_agent)
             select randomblob(16), type, at, ip, user_agent from login_log
             where id = (select max(id) from login_log where type like 'login.%')",
            3,
            1,
            5,
        ),
    ] {
        let mut tx = db.begin().await.expect("the database");
        assert_eq!(tx.query(sql).execute().await.expect("a statement"), 1);
        tx.commit().await.expect("the database");
        let audit = ledger.audit(&app, Instant::now()).await;
        assert_eq!((audit.lost, audit.ghosts, audit.wrong.len()), (lost, ghosts, wrong), "{sql}: {audit:?}");
    }
}
