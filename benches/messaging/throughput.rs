//! Outbox, `RabbitMQ`, login log, against the bare broker.

use crate::load::median;
use crate::raw::Raw;
use crate::servers::Servers;
use crate::stack::Stack;
use crate::table::{Limit, Row};

const ROUNDS: usize = 7;
const EVENTS: u32 = 20_000;

pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let servers = Servers::start(&["postgres", "rabbitmq"])?;
    let (database, broker) = (servers.database("bellhop").await?, servers.vhost("bellhop")?);
    let stack = Stack::start(&[("DATABASE_URL", &database), ("BROKER_URL", &broker)]).await?;
    let raw = Raw::connect(&servers.vhost("raw")?).await?;
    let (mut ratios, mut rows, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let bare = raw.rate(EVENTS).await?;
        let ours = stack.rate(EVENTS).await?;
        // the first round warms up
        if round > 0 {
            ratios.push(ours / bare);
            rows.push(ours);
            messages.push(bare);
        }
    }
    stack.stop().await?;
    Ok(vec![Row {
        what: "outbox → RabbitMQ → login log ÷ bare publisher and consumer, PostgreSQL".to_owned(),
        value: median(&mut ratios),
        unit: "",
        limit: Limit::AtLeast(0.5),
        detail: format!(
            "{:.0} rows/s, bare {:.0} messages/s; {ROUNDS} rounds of {EVENTS}",
            median(&mut rows),
            median(&mut messages)
        ),
    }])
}
