//! The baseline: what a program can do that only publishes to a quorum queue and consumes from it, as carefully as the
//! program does: persistent, mandatory, confirmed, and each message acknowledged.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bellhop::clock::Clock;
use bellhop::messaging::outbox::OutboxEvent as _;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::task::JoinSet;

use crate::events;

const QUEUE: &str = "raw";
/// As many as the program has under way, on both sides.
const WINDOW: usize = 250;
const PREFETCH: u16 = 200;

/// A publisher and a consumer, each with a connection of its own as the program's have.
pub struct Raw {
    publisher: Channel,
    consumer: Channel,
    _connections: [Connection; 2],
}

/// What travels: the body and the properties that an event has.
type Message = (Vec<u8>, BasicProperties);

impl Raw {
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        let connections = [connect().await?, connect().await?];
        let [publishing, consuming] = &connections;
        let (publisher, consumer) = (publishing.create_channel().await?, consuming.create_channel().await?);
        publisher.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        consumer.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
        consumer.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        Ok(Raw { publisher, consumer, _connections: connections })
    }

    /// Messages a second, from the first that is published to the last that is acknowledged.
    pub async fn rate(&self, count: u32) -> anyhow::Result<f64> {
        let clock = Clock::default();
        let messages: Vec<Message> = (0..count).map(|_| message(&clock)).collect::<Result<_, _>>()?;
        let asked = self.consumer.basic_consume(
            QUEUE.into(),
            "raw".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let deliveries = asked.await?;
        let start = Instant::now();
        let mut both = JoinSet::new();
        both.spawn(publish(self.publisher.clone(), messages.into()));
        both.spawn(consume(deliveries, count));
        while let Some(done) = both.join_next().await {
            done??;
        }
        let rate = f64::from(count) / start.elapsed().as_secs_f64();
        self.consumer.basic_cancel("raw".into(), lapin::options::BasicCancelOptions::default()).await?;
        Ok(rate)
    }
}

fn message(clock: &Clock) -> anyhow::Result<Message> {
    let (id, event) = (clock.new_id(), events::login()?);
    let mut headers = FieldTable::default();
    headers.insert("attempt".into(), AMQPValue::LongLongInt(0));
    headers.insert("traceparent".into(), AMQPValue::LongString(events::TRACE.into()));
    let properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_message_id(id.to_string().into())
        .with_type(event.kind().into())
        .with_app_id("bellhop".into())
        .with_timestamp(u64::try_from(clock.now().timestamp())?)
        .with_headers(headers);
    Ok((event.body(id, clock.now()).into_bytes(), properties))
}

async fn publish(channel: Channel, messages: Arc<[Message]>) -> anyhow::Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    for window in messages.chunks(WINDOW) {
        let mut confirms = Vec::with_capacity(window.len());
        for (body, properties) in window {
            confirms.push(channel.basic_publish("".into(), QUEUE.into(), options, body, properties.clone()).await?);
        }
        for confirm in confirms {
            match confirm.await? {
                Confirmation::Ack(None) => {}
                other => bail!("the broker says {other:?}"),
            }
        }
    }
    Ok(())
}

async fn consume(mut deliveries: Consumer, count: u32) -> anyhow::Result<()> {
    for _ in 0..count {
        let delivery = deliveries.next().await.context("the broker cancelled")??;
        ensure!(delivery.acker.ack(BasicAckOptions::default()).await?, "an acknowledgement came to nothing");
    }
    Ok(())
}
