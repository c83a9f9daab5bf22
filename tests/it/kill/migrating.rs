//! The schema comes into being whoever brings it about, and however often somebody is killed over it.

use futures_util::future::join_all;
use tokio::process::Command;

use super::times;
use crate::support::chance::Chance;
use crate::support::postgres;
use crate::support::process::Bellhop;

/// An app without a schema, on either database.
async fn app(on_postgres: bool) -> Bellhop {
    let app = Bellhop::new().await;
    if on_postgres { app.with("DATABASE_URL", &postgres::database().await) } else { app }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_may_migrate_at_once() {
    for on_postgres in [false, true] {
        for round in 0..times(2, 5) {
            let app = app(on_postgres).await;
            for output in join_all((0..4).map(|_| app.call(&["migrate"]))).await {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(0), "postgres: {on_postgres}, round {round}: {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_half_way_is_in_nobodys_way() {
    let mut chance = Chance::new();
    for on_postgres in [false, true] {
        for round in 0..times(8, 40) {
            let app = app(on_postgres).await;
            // the longest takes about so long on a machine that has little else to do
            let mut moment = tokio::time::interval(std::time::Duration::from_micros(1 + chance.below(60_000)));
            moment.tick().await;
            let mut child = Command::from(app.command(&["migrate"]));
            let mut child = child.stdout(std::process::Stdio::null()).spawn().expect("the program");
            moment.tick().await;
            child.kill().await.expect("a child of ours");
            let output = app.call(&["migrate"]).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "postgres: {on_postgres}, round {round}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_newer_than_the_program_is_left_alone() {
    let app = Bellhop::new().await;
    assert_eq!(app.call(&["migrate"]).await.status.code(), Some(0));
    let db = app.db().await;
    let mut tx = db.begin().await.expect("the database");
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'from the future', 1, x'00', 0)";
    tx.query(newer).execute().await.expect("a row");
    tx.commit().await.expect("the database");
    let output = app.call(&["serve"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.matches('\n').count()), (Some(1), 1), "{said}");
    assert!(said.contains("newer than this program") && said.contains("9999"), "{said}");
}
