//! Outbox, queues in the database, login log.

use crate::load::median;
use crate::servers::Servers;
use crate::stack::Stack;
use crate::table::{Limit, Row};

const ROUNDS: usize = 5;
const EVENTS: u32 = 20_000;

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let servers = Servers::start(&["postgres"])?;
    let database = servers.database("bellhop").await?;
    let mut rows = Vec::new();
    for (name, settings) in [("SQLite", &[][..]), ("PostgreSQL", &[("DATABASE_URL", database.as_str())])] {
        let stack = Stack::start(settings).await?;
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            rates.push(stack.rate(EVENTS).await?);
        }
        stack.stop().await?;
        rows.push(Row {
            what: format!("outbox → queues in the database → login log, {name}"),
            value: median(&mut rates),
            unit: " rows/s",
            limit: Limit::None,
            detail: format!("{ROUNDS} rounds of {EVENTS}"),
        });
    }
    Ok(rows)
}
