//! PostgreSQL behind `PgBouncer`, which lends a connection for a transaction at a time.

use std::time::Duration;

use crate::support::ledger::Ledger;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres;
use crate::support::process::Bellhop;

/// F5: `unsupported startup parameter: extra_float_digits`, and past that `prepared statement "sqlx_s_1" already exists`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_one_line_names_the_setting_and_with_it_all_works() {
    for ignores in [false, true] {
        let database = postgres::database().await;
        let pooler = PgBouncer::before(&database, ignores).await;
        let app = Bellhop::new()
            .await
            .with("DATABASE_URL", &pooler.url)
            .with("SECRET_KEY", "9f8e7d6c5b4a39281706f5e4d3c2b1a0");
        let output = app.call(&[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.matches('\n').count()), (Some(1), 1), "{said}");
        assert!(said.contains("BELLHOP_DATABASE_DIRECT_URL"), "{said}");

        let mut app = app.with("DATABASE_DIRECT_URL", &database);
        app.start().await;
        // four clients at once on two connections: they change places all the time
        let ledger = Ledger::open(&app, 2, Duration::from_millis(20)).await;
        ledger.until_more(5).await;
        let mut ledger = ledger;
        ledger.close().await;
        let statuses = ledger.statuses();
        assert!(statuses.keys().all(|status| [303, 422].contains(status)), "{statuses:?}");
        assert!(!app.log().contains("prepared statement"), "{}", app.log());
        for command in [&["users", "list"][..], &["queues"], &["migrate"]] {
            let output = app.call(command).await;
            assert!(output.status.success(), "{command:?}: {output:?}");
        }
        assert_eq!(app.client().get("/readyz").await.status, 200);
        app.terminate();
        assert_eq!(app.end().await.code(), Some(0));
    }
}
