//! A million events in and out: the tables are as fast and as small in the end as they were in the beginning.

use std::time::Duration;

use bellhop::account::Accounts;
use bellhop::app::{App, maintenance};
use bellhop::db::{Db, Sql};
use bellhop::messaging::consumer::inbox;
use bellhop::messaging::outbox;

use crate::load::median;
use crate::servers::Servers;
use crate::stack::Stack;
use crate::table::{Limit, Row};

const ROUNDS: usize = 10;
const EVENTS: u32 = 100_000;
/// So many rounds at the beginning and at the end are compared.
const SOME: usize = 3;

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let servers = Servers::start(&["postgres"])?;
    let database = servers.database("bellhop").await?;
    let mut rows = of("SQLite", &[]).await?;
    rows.extend(of("PostgreSQL", &[("DATABASE_URL", &database)]).await?);
    Ok(rows)
}

async fn of(name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Vec<Row>> {
    let stack = Stack::start(settings).await?;
    let (mut rates, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        rates.push(stack.rate(EVENTS).await?);
        let app = stack.app();
        // past every retention
        app.accounts.clock.advance(inbox::INBOX_RETENTION.max(outbox::OUTBOX_RETENTION) + Duration::from_hours(1));
        purge(app).await?;
        sizes.push(size(&app.accounts.db).await?);
    }
    stack.stop().await?;
    let early = |all: &[f64]| median(&mut all.iter().take(SOME).copied().collect::<Vec<_>>());
    let late = |all: &[f64]| median(&mut all.iter().rev().take(SOME).copied().collect::<Vec<_>>());
    let ((first, last), (small, large)) = ((early(&rates), late(&rates)), (early(&sizes), late(&sizes)));
    Ok(vec![
        Row {
            what: format!("rows a second at the end of a million ÷ in the beginning, {name}"),
            value: last / first,
            unit: "",
            limit: Limit::AtLeast(0.8),
            detail: format!(
                "{last:.0}/s and {first:.0}/s; medians of {SOME} rounds of {EVENTS}, all purged after each"
            ),
        },
        Row {
            what: format!("room of the tables at the end of a million ÷ in the beginning, {name}"),
            value: large / small,
            unit: "",
            limit: Limit::AtMost(1.5),
            detail: format!("{large:.0} and {small:.0} MiB, indexes and free pages included"),
        },
    ])
}

/// Deletes what may go, and the log, which stays otherwise.
async fn purge(app: &App) -> anyhow::Result<()> {
    let Accounts { db, clock, lifetimes, .. } = &app.accounts;
    maintenance::purge(db, clock, lifetimes, Duration::ZERO).await;
    let mut tx = db.begin().await?;
    tx.query("delete from login_log").execute().await?;
    Ok(tx.commit().await?)
}

async fn size(db: &Db) -> anyhow::Result<f64> {
    let (bytes,): (i64,) = db
        .query(Sql {
            sqlite: "select page_count * page_size from pragma_page_count, pragma_page_size",
            postgres: "select sum(pg_total_relation_size(name::regclass))::bigint
                       from unnest(array['outbox', 'inbox', 'broker_message']) as name",
        })
        .one()
        .await?;
    Ok(f64::from(u32::try_from(bytes / 1_024)?) / 1_024.0)
}
