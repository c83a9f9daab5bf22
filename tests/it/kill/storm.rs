//! Everything at once: program, broker, database and mail server are killed, paused, cut off, stalled and filled, in an order
//! and for times that a seed chooses, under registrations and logins; then it is counted what came of them.
//!
//! `scripts/storm` runs it by itself. It ends with one line that a program can read and a page for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop::db::{Db, Location};
use uuid::Uuid;

use self::fault::{Fault, Target, plan};
use self::report::{Report, Round};
use crate::support::chance::Chance;
use crate::support::ledger::Ledger;
use crate::support::ledger::lives::Lives;
use crate::support::process::Bellhop;
use crate::support::proxy::{Mode, Proxy};
use crate::support::smtp::{Phase, Script, Sink, Step};
use crate::support::{postgres, rabbit};

mod fault;
mod report;

/// How often each client comes at the most.
const PACE: Duration = Duration::from_millis(30);

/// How long everything may take to be done after it: what has failed three times waits for ten minutes, four times an hour.
const PATIENCE: Duration = Duration::from_mins(15);
const LONG_PATIENCE: Duration = Duration::from_mins(80);

/// Mails that a process has in hand: `BELLHOP_LISTENER_CONCURRENCY` of each of the five queues whose listeners send mails.
const IN_HAND: usize = 4 * 5;

/// When reminders and deletions are due: soon enough to be hit, late enough for a person to confirm before.
const TIMERS: [(&str, &str); 2] = [("REMINDER_AFTER", "10s"), ("DELETION_GRACE", "15s")];

/// Whether somebody asks for the long one, `scripts/storm --long`.
pub fn is_long() -> bool {
    std::env::var("TEST_STORM").is_ok_and(|length| length == "long")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_storm() {
    let long = is_long();
    let mut chance = Chance::new();
    let plan = plan(&mut chance, long);
    let mut world = World::new().await;
    let mut ledger = Ledger::open(&world.app, 3, PACE).await.reminding();
    let mut lives = Lives::begin(&world.app.url, &world.sink, 3);
    world.broker.settle_topology().await;
    ledger.until_more(10).await;

    let (began, mut rounds, mut windows) = (Instant::now(), Vec::new(), 0);
    let mut over = Instant::now();
    for faults in plan {
        let at = began.elapsed();
        for fault in &faults {
            windows += world.begin(*fault).await;
        }
        let longest = faults.iter().map(|fault| fault.longest()).max().unwrap_or_default();
        let percent = u32::try_from(1 + chance.below(100)).expect("small");
        pass(longest * percent / 100).await;
        for fault in &faults {
            world.end(*fault).await;
        }
        over = Instant::now();
        let lasted = began.elapsed().saturating_sub(at);
        ledger.until_more(1).await;
        assert!(world.app.runs(), "it outlives everything but its own death: {}", world.app.log());
        rounds.push(Round { at, faults, lasted, recovery: over.elapsed() });
    }
    ledger.until_more(10).await;
    ledger.close().await;
    lives.close().await;
    let patience = if long { LONG_PATIENCE } else { PATIENCE };
    let audit = ledger.audit_within(&world.app, over, patience).await;
    let db = world.app.db().await;
    let lives = lives.audit(&db, &world.sink).await;
    db.close().await;
    let report = Report { seed: chance.seed, rounds, audit, lives, windows, statuses: ledger.statuses() };
    println!("{}", report.line());
    println!("page={}", report.write().display());
    let Report { lives, .. } = &report;
    assert_eq!((lives.lost, lives.ghosts, &lives.wrong), (0, 0, &Vec::new()), "{lives:?}");
    report.audit.hold("storm", windows.saturating_sub(lives.duplicates));
    for step in ["confirmation", "email_change", "moves", "password_reset", "resets", "deletions"] {
        assert!(lives.accepted.contains_key(step), "nobody got as far as {step}: {lives:?}");
    }
    assert!(report.audit.accepted > 0 && report.audit.login_accepted > 0 && report.audit.login_refused > 0);
}

/// Lets so much time go by.
async fn pass(time: Duration) {
    let mut tick = tokio::time::interval(time.max(Duration::from_micros(1)));
    // the first tick is at once
    tick.tick().await;
    tick.tick().await;
}

/// The program, all that it leans on, and the roads between.
struct World {
    app: Bellhop,
    broker: rabbit::Private,
    database: postgres::Private,
    sink: Arc<Sink>,
    to_broker: Proxy,
    to_database: Proxy,
    to_mail: Proxy,
    /// Mails that were looked at.
    looked: usize,
}

impl World {
    async fn new() -> Self {
        let (broker, database) = tokio::join!(rabbit::Private::new(), postgres::Private::new());
        let sink = Arc::new(Sink::start().await);
        let (to_broker, broker_url) = Proxy::before(broker.url()).await;
        let (to_database, database_url) = Proxy::before(database.url()).await;
        let (to_mail, mail_url) = Proxy::before(&sink.url()).await;
        let app = Bellhop::on(&database_url, &broker_url, Arc::clone(&sink)).await;
        let app = TIMERS.iter().fold(app, |app, (name, span)| app.with(name, span));
        let mut app = app.with("SMTP_URL", &mail_url);
        app.start().await;
        World { app, broker, database, sink, to_broker, to_database, to_mail, looked: 0 }
    }

    fn road(&self, target: Target) -> &Proxy {
        match target {
            Target::Broker => &self.to_broker,
            Target::Database => &self.to_database,
            Target::Mail => &self.to_mail,
            Target::App => unreachable!("there is no road to the program"),
        }
    }

    /// Tells how many mails may come twice because of it.
    async fn begin(&mut self, fault: Fault) -> usize {
        match fault {
            Fault::Kill(Target::App) => {
                self.app.kill9();
                return self.taken_and_not_recorded().await;
            }
            Fault::Kill(Target::Broker) => self.broker.kill9().await,
            Fault::Kill(_) => self.database.kill9().await,
            Fault::Pause => self.app.pause(),
            Fault::Cut(target) => self.road(target).set(Mode::Reset),
            Fault::Stall(target) => self.road(target).set(Mode::Blackhole),
            Fault::Fill => self.watermark("10MB").await,
            Fault::Refuse => self.sink.set(Script::default().on(Phase::Rcpt, Step::reply("451 4.3.0 later"))),
        }
        // what the server took is not heard of, cannot be written down, or is somebody else's by then
        let doubles = matches!(
            fault,
            Fault::Kill(Target::Database)
                | Fault::Pause
                | Fault::Cut(Target::Database | Target::Mail)
                | Fault::Stall(Target::Database)
        );
        if doubles { IN_HAND } else { 0 }
    }

    async fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(Target::App) => self.app.spawn(),
            Fault::Kill(Target::Broker) => self.broker.start().await,
            Fault::Kill(_) => self.database.start().await,
            Fault::Pause => self.app.go_on(),
            Fault::Cut(target) | Fault::Stall(target) => self.road(target).set(Mode::Pass),
            Fault::Fill => self.watermark("1GiB").await,
            Fault::Refuse => self.sink.set(Script::default()),
        }
    }

    async fn watermark(&self, memory: &str) {
        self.broker.ctl(&["set_vm_memory_high_watermark", "absolute", memory]).await;
    }

    /// Mails that came since the last look and are not in the inbox, where a program that was just killed cannot write any
    /// more. If the database cannot say: as many as it may have had in hand.
    async fn taken_and_not_recorded(&mut self) -> usize {
        let fresh = self.sink.mails_from(self.looked);
        self.looked += fresh.len();
        let asked = tokio::time::timeout(Duration::from_secs(2), async {
            let location = Location::Postgres(Box::new(self.database.url().parse().ok()?));
            let db = Db::open(&location, 1).await.ok()?;
            let mut open = 0;
            for mail in &fresh {
                let id = mail.message_id();
                let id: Uuid = id.split('.').next()?.parse().ok()?;
                let marks = db.query(
                    "select 1 from inbox
                     where listener in ('confirmation', 'password-reset', 'email-change', 'notices', 'reminders')
                       and event_id = $1",
                );
                let marked: Option<(i32,)> = marks.bind(id).optional().await.ok()?;
                open += usize::from(marked.is_none());
            }
            db.close().await;
            Some(open)
        });
        asked.await.ok().flatten().unwrap_or(IN_HAND)
    }
}
