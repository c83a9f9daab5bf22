//! What the examples stand on: a broker with a topology of their own, on a temporary SQLite file or, given an `amqp://`
//! URL, on RabbitMQ.
//!
//! There the names begin with `example.` and the example's name. The exchanges and queues stay (Bellhop deletes
//! nothing), empty; each example first clears what an interrupted run left behind.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bellhop::clock::Clock;
use bellhop::config::TopologyMode;
use bellhop::db::{Db, Location};
use bellhop::messaging::broker::embedded::Embedded;
use bellhop::messaging::broker::rabbit::Rabbit;
use bellhop::messaging::broker::{Broker, BrokerHealth, Deliveries, Delivery, Publication, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::notify::Notifier;
use bellhop::messaging::topology::{DEFAULT, Exchange, Queue, QueueKind, Topology};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes; a broker that does not answer must not keep the reader waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, and what it runs on.
pub struct Setup {
    /// Tells the time of the embedded broker's leases.
    pub clock: Clock,
    broker: Broker,
    tasks: TaskTracker,
    stop: CancellationToken,
    _file: tempfile::TempDir,
}

impl Setup {
    /// Opens the broker, with this topology declared and its queues empty.
    pub async fn open(example: &str, topology: Topology, url: Option<String>) -> Result<Self> {
        let (clock, topology, file) = (Clock::default(), Arc::new(topology), tempfile::tempdir()?);
        let (tasks, stop, shared) = (TaskTracker::new(), CancellationToken::new(), Arc::clone(&topology));
        let broker = if let Some(url) = url {
            let prefix = format!("example.{example}.");
            let (url, mode) = (url.into(), TopologyMode::Apply);
            Broker::Rabbit(Rabbit::start_with_prefix(&prefix, url, example, shared, mode, &tasks, stop.clone())?)
        } else {
            let db = Db::open(&Location::Sqlite(file.path().join("example.sqlite")), 4).await?;
            db.migrate().await?;
            let embedded = Embedded::new(db, clock.clone(), Notifier::default(), shared, tasks.clone());
            embedded.declare().await?;
            Broker::Embedded(embedded)
        };
        let setup = Setup { clock, broker, tasks, stop, _file: file };
        setup.until_up().await?;
        for queue in &topology.queues {
            setup.empty(&queue.name).await?;
        }
        Ok(setup)
    }

    async fn until_up(&self) -> Result<()> {
        let since = self.clock.now();
        loop {
            match self.broker.health().await {
                BrokerHealth::Up => return Ok(()),
                BrokerHealth::Degraded(reason) if (self.clock.now() - since).to_std()? > PATIENCE => bail!(reason),
                BrokerHealth::Degraded(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Publishes a text, as the data of an event, and tells what became of it.
    pub async fn publish(&self, exchange: Exchange, key: &str, text: &str) -> Result<Published> {
        let id = self.clock.new_id();
        let event = json!({"specversion": "1.0", "id": id, "source": "/examples", "type": key, "data": text});
        let (kind, body) = (key.to_owned(), event.to_string().into_bytes());
        let message = Message { id, kind, body, traceparent: None, attempt: 0, failure: None };
        let publication = Publication { exchange, routing_key: key.to_owned(), message };
        self.broker.publish(vec![publication]).await.pop().context("an answer for each publication")
    }

    /// A consumer that may hold `prefetch` messages at a time. What is published from now on reaches it.
    pub async fn consume(&self, queue: &str, kind: QueueKind, prefetch: u16) -> Result<Consumer> {
        let queue = Queue { name: queue.to_owned(), kind };
        let stop = self.stop.child_token();
        let deliveries = self.broker.consume(&queue, prefetch, stop.clone()).await?;
        timeout(PATIENCE, deliveries.subscribed().wait_for(Option::is_some)).await.context("no subscription")??;
        Ok(Consumer { deliveries, stop })
    }

    /// Takes all that a queue holds, and gives the texts.
    pub async fn empty(&self, queue: &str) -> Result<Vec<String>> {
        // a queue keeps the order, so what comes before this is all there was
        let end = format!("the end of {}", self.clock.new_id());
        self.publish(DEFAULT, queue, &end).await?;
        let (mut consumer, mut texts) = (self.consume(queue, QueueKind::Work, 1).await?, Vec::new());
        loop {
            let delivery = consumer.next().await?;
            delivery.ack().await?;
            match text(&delivery)? {
                text if text == end => break,
                text => texts.push(text),
            }
        }
        consumer.close().await?;
        Ok(texts)
    }

    /// Ends what runs.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Takes messages out of a queue. Dropped, it gives back what it was handed and nobody took, some time after.
pub struct Consumer {
    deliveries: Deliveries,
    stop: CancellationToken,
}

impl Consumer {
    /// The next message.
    pub async fn next(&mut self) -> Result<Delivery> {
        timeout(PATIENCE, self.deliveries.next()).await.context("no message")?.context("the broker has stopped")
    }

    /// Ends it: when this returns, the broker hands it nothing any more that is meant for the next one.
    pub async fn close(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(delivery) = timeout(PATIENCE, self.deliveries.next()).await.context("no end")? {
            delivery.release().await;
        }
        Ok(())
    }
}

/// What a message says.
pub fn text(delivery: &Delivery) -> Result<String> {
    let event: Value = serde_json::from_slice(&delivery.message().body)?;
    Ok(event.get("data").and_then(Value::as_str).context("a text")?.to_owned())
}
