use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::*;
use crate::db::Location;
use crate::messaging::broker::embedded::Embedded;
use crate::messaging::consumer::inbox;
use crate::messaging::message::Failure;
use crate::messaging::notify::Notifier;
use crate::messaging::outbox::OutboxEvent;
use crate::messaging::topology::TIERS;

const GRACE: Duration = Duration::from_mins(5);

/// `words` takes what has two words, `all` takes everything, by two keys.
const LISTENERS: [(&str, &[&str]); 2] = [("words", &["user.*"]), ("all", &["#", "user.#"])];

struct Happened(&'static str);

impl OutboxEvent for Happened {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn body(&self, _: Uuid, _: Timestamp) -> String {
        "{}".to_owned()
    }
}

struct Setup {
    reconciler: Reconciler,
    _folder: TempDir,
}

impl Setup {
    /// With listeners that have been there for long.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
        db.migrate().await.unwrap();
        let mut setup = Setup { reconciler: reconciler(db, Clock::default(), &LISTENERS).await, _folder: folder };
        setup.reconciler = reconciler(setup.reconciler.db.clone(), setup.reconciler.clock.clone(), &LISTENERS).await;
        assert_eq!(setup.missed().await, 0);
        setup
    }

    /// An event that was published and lost.
    async fn lose(&self, kind: &'static str) -> Uuid {
        let Reconciler { db, clock, .. } = &self.reconciler;
        let mut tx = db.begin().await.unwrap();
        let id = outbox::append(&mut tx, clock, &Happened(kind)).await.unwrap();
        outbox::published(&mut tx, clock, &[id]).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn missed(&self) -> usize {
        self.reconciler.reconcile(outbox::OUTBOX_RETENTION).await.unwrap()
    }

    fn pass(&self, time: Duration) {
        self.reconciler.clock.advance(time);
    }

    /// How many messages are in the queues of `words` and of `all`; then they are gone.
    async fn emptied(&self) -> [u64; 2] {
        let depths = self.reconciler.broker.depths().await.unwrap();
        let of = |queue: &str| depths.iter().find(|depth| depth.queue == queue).map_or(0, |depth| depth.messages);
        let mut tx = self.reconciler.db.begin().await.unwrap();
        tx.query("delete from broker_message").execute().await.unwrap();
        tx.commit().await.unwrap();
        [of("words"), of("all")]
    }
}

async fn reconciler(db: Db, clock: Clock, listeners: &[(&str, &[&str])]) -> Reconciler {
    let topology = Arc::new(Topology::new(listeners.iter().copied(), &[], [Duration::from_secs(10); TIERS.len()]));
    let (notifier, tasks) = (Notifier::default(), TaskTracker::new());
    let embedded = Embedded::new(db.clone(), clock.clone(), notifier, Arc::clone(&topology), tasks);
    embedded.declare().await.unwrap();
    let broker = Broker::Embedded(embedded);
    Reconciler { db, clock, broker, topology, grace: GRACE, progress: Progress::default() }
}

#[tokio::test]
async fn what_is_missed_goes_to_who_missed_it_and_to_nobody_else_when_its_time_is_over() {
    let setup = Setup::new().await;
    let event = setup.lose("user.registered").await;
    setup.lose("user.name.changed").await;
    setup.pass(GRACE / 2);
    assert_eq!((setup.missed().await, setup.emptied().await), (0, [0, 0]), "they may be under way");
    setup.pass(GRACE);
    assert_eq!(setup.missed().await, 3, "two keys that take the same event are no two events");
    assert_eq!(setup.emptied().await, [1, 2]);
    // published again, and lost again
    setup.pass(GRACE * 2);
    assert_eq!((setup.missed().await, setup.emptied().await), (0, [0, 0]), "they are given their time");
    let mut tx = setup.reconciler.db.begin().await.unwrap();
    inbox::mark(&mut tx, &setup.reconciler.clock, "all", event).await.unwrap();
    tx.commit().await.unwrap();
    setup.pass(GRACE * 2);
    assert_eq!((setup.missed().await, setup.emptied().await), (2, [1, 1]), "what is done is not missed");
}

#[tokio::test]
async fn a_queue_in_which_messages_wait_is_left_alone() {
    let setup = Setup::new().await;
    setup.lose("user.registered").await;
    setup.pass(GRACE * 2);
    assert_eq!(setup.missed().await, 2);
    setup.pass(GRACE * 8);
    assert_eq!(setup.missed().await, 0, "what is in it is not missing");
    assert_eq!(setup.emptied().await, [1, 1]);
    assert_eq!(setup.missed().await, 2);
}

#[tokio::test]
async fn a_listener_does_not_begin_with_what_happened_before_it_was_there() {
    let setup = Setup::new().await;
    setup.lose("user.registered").await;
    setup.pass(GRACE * 4);
    let Reconciler { db, clock, .. } = setup.reconciler.clone();
    let newer = reconciler(db, clock, &[LISTENERS[0], LISTENERS[1], ("newer", &["#"])]).await;
    assert_eq!(newer.reconcile(outbox::OUTBOX_RETENTION).await.unwrap(), 2, "those that were there");
    setup.lose("user.registered").await;
    setup.emptied().await;
    setup.pass(GRACE * 2);
    assert_eq!(newer.reconcile(outbox::OUTBOX_RETENTION).await.unwrap(), 3);
}

#[tokio::test]
async fn a_replay_is_of_one_listener_since_a_time_at_once_and_of_dead_letters_too() {
    let setup = Setup::new().await;
    let Setup { reconciler, .. } = &setup;
    let before = setup.lose("user.registered").await;
    setup.pass(Duration::from_mins(1));
    let since = reconciler.clock.now();
    let dead = setup.lose("user.registered").await;
    setup.lose("user.registered").await;
    let failure = Failure { queue: "words".into(), reason: String::new(), first_at: since, last_at: since };
    let (kind, body) = ("user.registered".to_owned(), Vec::new());
    let letter = Message { id: dead, kind, body, traceparent: None, attempt: 1, failure: Some(failure) };
    retries::record(&reconciler.db, &reconciler.clock, "words", &letter, None).await.unwrap();
    assert!(reconciler.replay(since, Some("kitchen")).await.is_err());
    assert_eq!(reconciler.replay(since, Some("words")).await.unwrap(), [("words".to_owned(), 2)]);
    assert_eq!(setup.emptied().await, [2, 0]);
    assert_eq!(reconciler.replay(since, Some("words")).await.unwrap(), [("words".to_owned(), 0)], "under way");

    let at = "select published_at from outbox where id = $1";
    let (at,): (Timestamp,) = reconciler.db.query(at).bind(before).one().await.unwrap();
    let all = reconciler.replay(at, None).await.unwrap();
    assert_eq!(all, [("words".to_owned(), 1), ("all".to_owned(), 3)], "since then, the moment itself included");
    assert_eq!(setup.emptied().await, [1, 3]);
}

#[tokio::test]
async fn all_that_is_kept_is_compared_at_the_start_and_after_an_hour_and_a_pass_that_fails_is_made_up_for() {
    let setup = Setup::new().await;
    let rename = async |sql: &'static str| {
        let mut tx = setup.reconciler.db.begin().await.unwrap();
        tx.query(sql).execute().await.unwrap();
        tx.commit().await.unwrap();
    };
    setup.lose("user.registered").await;
    setup.pass(Duration::from_hours(30));
    let mut passes = 0;
    rename("alter table outbox rename to elsewhere").await;
    setup.reconciler.pass(&mut passes).await;
    rename("alter table elsewhere rename to outbox").await;
    setup.reconciler.pass(&mut passes).await;
    assert_eq!((passes, setup.emptied().await), (1, [1, 1]));
    // published again and lost again, and long ago
    setup.pass(GRACE * 4);
    for _ in 1..FULL_EVERY {
        setup.reconciler.pass(&mut passes).await;
        assert_eq!(setup.emptied().await, [0, 0], "the last hour alone");
    }
    setup.reconciler.pass(&mut passes).await;
    assert_eq!(setup.emptied().await, [1, 1]);
}
