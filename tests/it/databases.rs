//! What a database must do, asked of both.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use bellhop::app::maintenance;
use bellhop::clock::{Clock, Timestamp};
use bellhop::config::{Config, LifetimeConfig};
use bellhop::db::{Db, Location, Outage, Sql, outage};
use bellhop::messaging::consumer::inbox;
use bellhop::progress::Progress;
use sqlx::FromRow;
use uuid::Uuid;

use crate::support::postgres::database;

/// The defaults.
fn lifetimes() -> LifetimeConfig {
    Config::from_sources(BTreeMap::new(), []).unwrap().lifetimes
}

#[derive(Clone, Copy)]
enum Kind {
    Sqlite,
    Postgres,
}

struct Setup {
    db: Db,
    location: Location,
    data: tempfile::TempDir,
}

impl Setup {
    async fn open(kind: Kind, connections: u32) -> Self {
        let data = tempfile::tempdir().unwrap();
        let location = match kind {
            Kind::Sqlite => Location::Sqlite(data.path().join("bellhop.sqlite")),
            Kind::Postgres => Location::Postgres(Box::new(database().await.parse().unwrap())),
        };
        let db = Db::open(&location, connections).await.unwrap();
        db.migrate().await.unwrap();
        Setup { db, location, data }
    }

    async fn mark(&self, listener: &str) -> u64 {
        let mut tx = self.db.begin().await.unwrap();
        let marked = insert(&mut tx, listener).await;
        tx.commit().await.unwrap();
        marked
    }

    async fn count(&self) -> i64 {
        let (count,): (i64,) = self.db.query("select count(*) from inbox").one().await.unwrap();
        count
    }
}

async fn insert(tx: &mut bellhop::db::Tx, listener: &str) -> u64 {
    tx.query("insert into inbox (listener, event_id, seen_at) values ($1, $2, $3) on conflict do nothing")
        .bind(listener.to_owned())
        .bind(Uuid::nil())
        .bind(Clock::default().now())
        .execute()
        .await
        .unwrap()
}

macro_rules! on_both_databases {
    ($($question:ident),* $(,)?) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $question() { super::$question(super::Setup::open(super::Kind::Sqlite, 4).await).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $question() { super::$question(super::Setup::open(super::Kind::Postgres, 4).await).await; })* }
    };
}

on_both_databases!(
    migrations_are_counted_for_who_waits,
    a_purge_of_many_rows_leaves_the_young_ones_and_gives_the_room_back,
    a_purge_takes_what_is_over_and_nothing_that_is_still_of_use,
    times_ids_texts_and_numbers_come_back_as_they_went_in,
    times_sort_as_times,
    a_transaction_that_is_dropped_leaves_nothing,
    taken_is_a_row_less_and_not_an_error,
    two_transactions_cannot_both_be_first,
    a_set_of_ids_can_be_bound,
    a_read_does_not_wait_for_a_writer,
    an_error_of_a_statement_is_not_an_outage,
);

#[derive(Debug, PartialEq, FromRow)]
struct Row {
    id: Uuid,
    email: String,
    browser_hash: Vec<u8>,
    created_at: Timestamp,
    link_expires_at: Option<Timestamp>,
}

async fn register(db: &Db, row: &Row) {
    let mut tx = db.begin().await.unwrap();
    tx.query(
        "insert into registrations (id, email, email_canonical, name, password_hash, locale, browser_hash, created_at,
           expires_at, delivery, link_expires_at)
         values ($1, $2, $2, '', '', 'en', $3, $4, $4, 'queued', $5)",
    )
    .bind(row.id)
    .bind(row.email.clone())
    .bind(row.browser_hash.clone())
    .bind(row.created_at)
    .bind(row.link_expires_at)
    .execute()
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn times_ids_texts_and_numbers_come_back_as_they_went_in(setup: Setup) {
    let now = Clock::default().now();
    for (text, bytes, at) in [
        ("", vec![], now),
        ("ü 🛎 ' \" \\ % $1 \u{1}", vec![0, 1, 255], now + Duration::from_micros(1)),
        (&*"x".repeat(10_000), vec![7; 10_000], now - Duration::from_hours(525_600)),
    ] {
        let row = Row {
            id: Uuid::new_v4(),
            email: text.to_owned(),
            browser_hash: bytes,
            created_at: at,
            link_expires_at: (at != now).then_some(at),
        };
        register(&setup.db, &row).await;
        let back: Row = setup
            .db
            .query("select id, email, browser_hash, created_at, link_expires_at from registrations where id = $1")
            .bind(row.id)
            .one()
            .await
            .unwrap();
        assert_eq!(back, row);
    }
}

async fn times_sort_as_times(setup: Setup) {
    // on SQLite a time is a text, whose digits after the second come and go
    let second: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let times: Vec<Timestamp> =
        [0, 1, 10, 999, 1_000, 1_001, 120_000, 123_000, 123_400, 123_456, 500_000, 999_999, 1_000_000]
            .into_iter()
            .map(|micros| second + Duration::from_micros(micros))
            .collect();
    for at in times.iter().rev() {
        let row = Row {
            id: Uuid::new_v4(),
            email: String::new(),
            browser_hash: Uuid::new_v4().as_bytes().to_vec(),
            created_at: *at,
            link_expires_at: None,
        };
        register(&setup.db, &row).await;
    }
    let sorted: Vec<(Timestamp,)> =
        setup.db.query("select created_at from registrations order by created_at").all().await.unwrap();
    assert_eq!(sorted.into_iter().map(|(at,)| at).collect::<Vec<_>>(), times);
    for (n, at) in times.iter().enumerate() {
        let (before,): (i64,) =
            setup.db.query("select count(*) from registrations where created_at < $1").bind(*at).one().await.unwrap();
        assert_eq!(before, i64::try_from(n).unwrap(), "{at}");
    }
}

async fn a_transaction_that_is_dropped_leaves_nothing(setup: Setup) {
    for _ in 0..3 {
        let mut tx = setup.db.begin().await.unwrap();
        assert_eq!(insert(&mut tx, "a").await, 1);
        drop(tx);
    }
    assert_eq!(setup.count().await, 0);
    assert_eq!(setup.mark("a").await, 1);
    assert_eq!(setup.count().await, 1);
}

async fn taken_is_a_row_less_and_not_an_error(setup: Setup) {
    assert_eq!((setup.mark("a").await, setup.mark("a").await, setup.mark("b").await), (1, 0, 1));
}

async fn two_transactions_cannot_both_be_first(setup: Setup) {
    for round in 0..20 {
        let name = format!("round {round}");
        let marks = (0..4).map(|_| setup.mark(&name));
        let first: u64 = futures_util::future::join_all(marks).await.into_iter().sum();
        assert_eq!(first, 1, "{name}");
    }
}

async fn a_set_of_ids_can_be_bound(setup: Setup) {
    use bellhop::db::Sql;
    let ids: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    for id in &ids {
        let now = Clock::default().now();
        let row = Row {
            id: *id,
            email: String::new(),
            browser_hash: Uuid::new_v4().as_bytes().to_vec(),
            created_at: now,
            link_expires_at: None,
        };
        register(&setup.db, &row).await;
    }
    let sql = Sql {
        sqlite: "select count(*) from registrations where id in (select unhex(value) from json_each($1))",
        postgres: "select count(*) from registrations where id = any($1)",
    };
    for (set, found) in [(&ids[..], 5), (&ids[1..3], 2), (&[], 0), (&[Uuid::nil()], 0)] {
        let (count,): (i64,) = setup.db.query(sql).bind_ids(set).one().await.unwrap();
        assert_eq!(count, found);
    }
}

async fn a_read_does_not_wait_for_a_writer(setup: Setup) {
    let mut tx = setup.db.begin().await.unwrap();
    assert_eq!(insert(&mut tx, "a").await, 1);
    assert_eq!(setup.count().await, 0, "what is not committed is not seen");
    tx.commit().await.unwrap();
    assert_eq!(setup.count().await, 1);
}

async fn migrations_are_counted_for_who_waits(setup: Setup) {
    let progress = Progress::default();
    setup.db.migrate_with(&progress).await.unwrap();
    assert_eq!(progress.total(), Some(progress.done()), "those that were there already, too");
}

async fn an_error_of_a_statement_is_not_an_outage(setup: Setup) {
    let wrong = setup.db.query("select nothing from nowhere").all::<(i64,)>().await.unwrap_err();
    assert!(!bellhop::db::is_unavailable(&wrong.into()));
    setup.db.close().await;
    let away = setup.db.query("select 1").all::<(i32,)>().await.unwrap_err();
    assert!(bellhop::db::is_unavailable(&away.into()));
}

/// sqlx 0.9 gives a connection back inside an open transaction when the future of `begin` is dropped at the wrong moment;
/// what is written on it afterwards would be seen by nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_is_cancelled_poisons_no_connection() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let setup = Setup::open(kind, 1).await;
        for n in 0..200_usize {
            let mut begin =
                Box::pin(async { setup.db.begin().await.unwrap().query("select 1").one::<(i32,)>().await.map(drop) });
            // given up at each of the points at which it waits
            let mut polls = n % 20;
            std::future::poll_fn(|context| {
                let Some(left) = polls.checked_sub(1) else { return Poll::Ready(()) };
                polls = left;
                begin.as_mut().poll(context).map(drop)
            })
            .await;
            drop(begin);
            // a statement that is a transaction by itself
            let mut tx = setup.db.begin().await.unwrap();
            tx.query("insert into inbox (listener, event_id, seen_at) values ($1, $2, $3)")
                .bind(n.to_string())
                .bind(Uuid::nil())
                .bind(Clock::default().now())
                .execute_deferred()
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        // as others see it
        let others = Db::open(&setup.location, 1).await.unwrap();
        let (written,): (i64,) = others.query("select count(*) from inbox").one().await.unwrap();
        assert_eq!(written, 200);
    }
}

async fn a_purge_of_many_rows_leaves_the_young_ones_and_gives_the_room_back(setup: Setup) {
    let clock = Clock::default();
    assert_eq!(setup.mark("young").await, 1);
    let mut tx = setup.db.begin().await.unwrap();
    tx.query(Sql {
        sqlite: "with recursive n (i) as (select 1 union all select i + 1 from n where i < 12000)
                 insert into inbox (listener, event_id, seen_at) select 'old', randomblob(16), $1 from n",
        postgres: "insert into inbox (listener, event_id, seen_at)
                   select 'old', gen_random_uuid(), $1 from generate_series(1, 12000)",
    })
    .bind(clock.now() - inbox::INBOX_RETENTION - Duration::from_secs(1))
    .execute()
    .await
    .unwrap();
    tx.commit().await.unwrap();
    maintenance::purge(&setup.db, &clock, &lifetimes(), Duration::ZERO).await;
    assert_eq!(setup.count().await, 1);
    if let Db::Postgres(_) = setup.db {
        // what is behind the last row that lives goes back to the file system
        let size = "select pg_relation_size('inbox')";
        let (bytes,): (i64,) = setup.db.query(size).one().await.unwrap();
        assert_eq!(bytes, 8_192, "one page for the row that stays");
    }
}

async fn a_purge_takes_what_is_over_and_nothing_that_is_still_of_use(setup: Setup) {
    let clock = Clock::default();
    let now = clock.now();
    let hours = |hours: u64| Duration::from_hours(hours);
    let ids = async |sql: &'static str| -> Vec<Uuid> {
        let ids: Vec<(Uuid,)> = setup.db.query(sql).all().await.unwrap();
        ids.into_iter().map(|(id,)| id).collect()
    };
    let mut tx = setup.db.begin().await.unwrap();
    // an event that was never published, whatever its age; one of last week; one of this week
    for (id, created, published) in
        [(1, hours(2_000), None), (2, hours(200), Some(hours(169))), (3, hours(200), Some(hours(167)))]
    {
        tx.query(
            "insert into outbox (id, type, body, created_at, due_at, published_at, attempts)
             values ($1, 'test', '{}', $2, $2, $3, 0)",
        )
        .bind(Uuid::from_u128(id))
        .bind(now - created)
        .bind(published.map(|age| now - age))
        .execute()
        .await
        .unwrap();
    }
    // retry state: of what waits, of a dead letter, of what is done, of what is past all
    for (id, last, due) in
        [(1, hours(1), Some(now + hours(1))), (2, hours(700), None), (3, hours(1), Some(now)), (4, hours(721), None)]
    {
        tx.query(
            "insert into setback (listener, event_id, attempt, reason, first_at, last_at, due_at)
             values ('mail', $1, 1, '', $2, $2, $3)",
        )
        .bind(Uuid::from_u128(id))
        .bind(now - last)
        .bind(due)
        .execute()
        .await
        .unwrap();
    }
    // marks: young, and older than anything that may come again
    for (id, age) in [(3, hours(719)), (5, hours(721))] {
        tx.query("insert into inbox (listener, event_id, seen_at) values ('mail', $1, $2)")
            .bind(Uuid::from_u128(id))
            .bind(now - age)
            .execute()
            .await
            .unwrap();
    }
    // leases: held, just over, over for a day
    for (id, until) in [(1, now + hours(1)), (2, now - hours(23)), (3, now - hours(25))] {
        tx.query("insert into lease (listener, event_id, holder, until) values ('mail', $1, $1, $2)")
            .bind(Uuid::from_u128(id))
            .bind(until)
            .execute()
            .await
            .unwrap();
    }
    // sessions: in use, not used for too long, past their lifetime
    tx.query(
        "insert into users (id, email, email_canonical, name, password_hash, locale, created_at)
         values ($1, '', '', '', '', 'en', $2)",
    )
    .bind(Uuid::nil())
    .bind(now)
    .execute()
    .await
    .unwrap();
    for (id, seen, expires) in
        [(1, now - hours(11), now + hours(1)), (2, now - hours(13), now + hours(1)), (3, now, now - hours(1))]
    {
        tx.query(
            "insert into sessions (id, token_hash, user_id, created_at, last_seen_at, expires_at, ip, user_agent)
             values ($1, $2, $3, $4, $5, $6, '', '')",
        )
        .bind(Uuid::from_u128(id))
        .bind(vec![u8::try_from(id).unwrap()])
        .bind(Uuid::nil())
        .bind(now - hours(600))
        .bind(seen)
        .bind(expires)
        .execute()
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    maintenance::purge(&setup.db, &clock, &lifetimes(), Duration::ZERO).await;
    let numbers = |numbers: &[u128]| numbers.iter().copied().map(Uuid::from_u128).collect::<Vec<_>>();
    assert_eq!(ids("select id from outbox order by id").await, numbers(&[1, 3]), "events");
    assert_eq!(ids("select event_id from setback order by event_id").await, numbers(&[1, 2]), "retry state");
    assert_eq!(ids("select event_id from inbox order by event_id").await, numbers(&[3]), "marks");
    assert_eq!(ids("select event_id from lease order by event_id").await, numbers(&[1, 2]), "leases");
    assert_eq!(ids("select id from sessions order by id").await, numbers(&[1]), "sessions");
}

/// F6: 25006 and 58030 were 500, and nothing told one outage from another. F65: a connection to what was the primary once
/// was used again for ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_is_told_by_its_code() {
    use Outage::{Away, Busy, Crowded, Failing, Full, ReadOnly};
    let setup = Setup::open(Kind::Postgres, 1).await;
    let session = async || {
        let (pid,): (i32,) = setup.db.query("select pg_backend_pid()").one().await.unwrap();
        pid
    };
    #[rustfmt::skip]
    let told = [
        ("08006", Some(Away)), ("25006", Some(ReadOnly)), ("25P03", Some(Away)), ("25P04", Some(Away)),
        ("28000", Some(Away)), ("28P01", Some(Away)), ("3D000", Some(Away)), ("40001", Some(Busy)),
        ("40P01", Some(Busy)), ("53100", Some(Full)), ("53200", Some(Busy)), ("53300", Some(Crowded)),
        ("53400", Some(Busy)), ("55P03", Some(Busy)), ("57014", Some(Busy)), ("57P01", Some(Away)),
        ("57P02", Some(Away)), ("57P03", Some(Away)), ("57P05", Some(Away)), ("58030", Some(Failing)),
        ("23505", None), ("42P01", None), ("42501", None), ("22021", None), ("XX001", None),
    ];
    for (code, meaning) in told {
        let sql = format!("do $$ begin raise exception 'as asked' using errcode = '{code}'; end $$");
        let before = session().await;
        let mut tx = setup.db.begin().await.unwrap();
        let error = tx.query(&*sql.leak()).execute().await.unwrap_err();
        assert_eq!(outage(&error), meaning, "{error}");
        drop(tx);
        assert_eq!(session().await == before, meaning != Some(ReadOnly), "{code}: the connection is kept, or not");
        // what it was said to be holds until a write shows that it is not so
        assert_eq!(setup.db.check().await, Ok(()), "{code}");
    }
    assert_eq!(setup.mark("a").await, 1);
}

/// The same of a file, as far as SQLite can be brought to say it without the help of a file system.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_file_says_is_told_by_its_code_and_the_next_write_is_well() {
    let setup = Setup::open(Kind::Sqlite, 2).await;
    for (limit, meaning) in [("pragma max_page_count = 1", Outage::Full), ("pragma query_only = on", Outage::ReadOnly)]
    {
        let mut tx = setup.db.begin().await.unwrap();
        tx.query(limit).execute().await.unwrap();
        let big = "insert into installation (name, value) values ('big', hex(zeroblob(1000000)))";
        let error = tx.query(big).execute().await.unwrap_err();
        assert_eq!(outage(&error), Some(meaning), "{error}");
        drop(tx);
        assert_eq!(setup.db.check().await, Ok(()), "{limit}");
        assert_eq!(setup.mark(limit).await, 1, "on a connection of which nobody demands that");
    }
    let other = Db::open(&Location::Sqlite(setup.data.path().join("bellhop.sqlite")), 1).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    assert_eq!(insert(&mut tx, "other").await, 1);
    let mut waits = setup.db.begin().await.unwrap();
    let mark = "insert into inbox (listener, event_id, seen_at) values ('a', x'00', '')";
    let error = waits.query(mark).execute().await.unwrap_err();
    assert_eq!(outage(&error), Some(Outage::Busy), "{error}");
    drop((tx, waits));
    assert_eq!(setup.mark("a").await, 1);
}
