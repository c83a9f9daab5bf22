//! Makes or checks exchanges, queues and bindings, and says what is different; deletes nothing.
//!
//! Arguments cannot be changed once a queue exists (406 `PRECONDITION_FAILED`), so a difference is reported with what
//! mends it, and the existing object is used as it is.

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind as AmqpKind};

use super::fault::{ANSWER_TIMEOUT, Fault, within};
use super::link::{LiveConnection, Shared};
use super::wire::Names;
use crate::config::TopologyMode;
use crate::messaging::topology::{Binding, Exchange, ExchangeKind, Queue, QueueKind, RETRY, Target, dead};

/// Deliveries before the broker moves a message to `<queue>.dead` by itself. Only a process that dies with the message
/// unacknowledged raises the count that far: failures of a listener are counted by ourselves, and far lower.
const DELIVERY_LIMIT: i64 = 20;
/// Dead letters stay however often somebody looks at them; `RabbitMQ` 4 would drop them after 20 times.
const NO_DELIVERY_LIMIT: i64 = 1_000_000;

/// A channel that is replaced when an error has closed it.
pub(super) struct ReopeningChannel<'a> {
    live: &'a LiveConnection,
    channel: Option<Channel>,
}

impl<'a> ReopeningChannel<'a> {
    pub(super) fn new(live: &'a LiveConnection) -> Self {
        Self { live, channel: None }
    }

    pub(super) async fn channel(&mut self) -> Result<Channel, Fault> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = within(ANSWER_TIMEOUT, "opening a channel", self.live.connection.create_channel()).await?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// Leaves the channel behind: it still waits for an answer.
    fn abandon(&mut self) {
        self.channel = None;
    }

    pub(super) async fn close(self) {
        if let Some(channel) = self.channel.filter(|channel| channel.status().connected()) {
            // closed by being dropped otherwise
            let _ = within(ANSWER_TIMEOUT, "closing a channel", channel.close(200, "done".into())).await;
        }
    }
}

/// Declares or verifies the whole topology, and puts what is wrong with it into the report.
pub(super) async fn all(shared: &Shared, live: &LiveConnection) -> Result<(), Fault> {
    let mut declarer = Declarer {
        shared,
        channel: ReopeningChannel::new(live),
        vhost: live.connection.status().vhost().to_string(),
        findings: Vec::new(),
    };
    for exchange in &shared.topology.exchanges {
        declarer.exchange(exchange).await?;
    }
    for queue in shared.topology.queues.iter().filter(|queue| queue.kind != QueueKind::Node) {
        declarer.queue(queue).await?;
    }
    if shared.mode == TopologyMode::Apply {
        for binding in &shared.topology.bindings {
            declarer.binding(binding).await?;
        }
    }
    let Declarer { channel, findings, .. } = declarer;
    channel.close().await;
    for finding in findings.iter().filter(|finding| !shared.report.borrow().findings.contains(finding)) {
        tracing::error!("{finding}");
    }
    shared.report.send_modify(|report| {
        report.findings = findings;
        report.declared = true;
    });
    Ok(())
}

struct Declarer<'a> {
    shared: &'a Shared,
    channel: ReopeningChannel<'a>,
    vhost: String,
    findings: Vec<String>,
}

impl Declarer<'_> {
    async fn exchange(&mut self, exchange: &Exchange) -> Result<(), Fault> {
        let name = self.shared.names.exchange(exchange.name)?;
        let (kind, called) = match exchange.kind {
            ExchangeKind::Topic => (AmqpKind::Topic, "topic"),
            ExchangeKind::Fanout => (AmqpKind::Fanout, "fanout"),
            ExchangeKind::Direct => (AmqpKind::Direct, "direct"),
        };
        let object = Object {
            what: "exchange",
            name: name.to_string(),
            wanted: format!("type={called}, durable=true"),
            mend: format!("rabbitmqadmin --vhost={} delete exchange name={name}", self.vhost),
        };
        let mut passive = self.shared.mode == TopologyMode::Verify;
        let mut refused = None;
        loop {
            let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
            let channel = self.channel.channel().await?;
            let request = channel.exchange_declare(name.clone(), kind.clone(), options, FieldTable::default());
            let answer = within(ANSWER_TIMEOUT, "declaring an exchange", request).await;
            match self.classify(&object, answer, passive, &mut refused)? {
                Next::Done => return Ok(()),
                Next::LookOnly => passive = true,
            }
        }
    }

    async fn queue(&mut self, queue: &Queue) -> Result<(), Fault> {
        let name = self.shared.names.queue(&queue.name)?;
        let arguments = arguments(&self.shared.names, queue)?;
        let listed: Vec<String> =
            arguments.inner().iter().map(|(key, value)| format!("{key}={}", shown(value))).collect();
        let object = Object {
            what: "queue",
            name: name.to_string(),
            wanted: format!("durable=true, {}", listed.join(", ")),
            mend: format!("rabbitmqctl -p {} delete_queue {name}", self.vhost),
        };
        let mut passive = self.shared.mode == TopologyMode::Verify;
        let mut refused = None;
        loop {
            let options = QueueDeclareOptions { passive, ..QueueDeclareOptions::durable() };
            let channel = self.channel.channel().await?;
            let request = channel.queue_declare(name.clone(), options, arguments.clone());
            let answer = within(ANSWER_TIMEOUT, "declaring a queue", request).await.map(|_| ());
            match self.classify(&object, answer, passive, &mut refused)? {
                Next::Done => return Ok(()),
                Next::LookOnly => passive = true,
            }
        }
    }

    async fn binding(&mut self, binding: &Binding) -> Result<(), Fault> {
        let names = &self.shared.names;
        let from = names.exchange(binding.from)?;
        // nothing that can be bound is the default exchange, so keys are as they are in the topology
        let key =
            lapin::types::ShortString::try_new(binding.key.clone()).map_err(|_| Fault::TooLong(binding.key.clone()))?;
        let channel = self.channel.channel().await?;
        let (to, answer) = match &binding.to {
            Target::Queue(to) => {
                let to = names.queue(to)?;
                let request = channel.queue_bind(
                    to.clone(),
                    from.clone(),
                    key,
                    QueueBindOptions::default(),
                    FieldTable::default(),
                );
                (to, within(ANSWER_TIMEOUT, "binding a queue", request).await)
            }
            Target::Exchange(to) => {
                let to = names.exchange(to)?;
                let request = channel.exchange_bind(
                    to.clone(),
                    from.clone(),
                    key,
                    ExchangeBindOptions::default(),
                    FieldTable::default(),
                );
                (to, within(ANSWER_TIMEOUT, "binding an exchange", request).await)
            }
        };
        match answer {
            Err(fault) if matches!(fault.code(), Some(403 | 404)) => {
                let text = fault.text().unwrap_or_default();
                self.findings
                    .push(format!("{to} is not known to be bound to {from} with key {:?}: {text}", binding.key));
                Ok(())
            }
            answer => answer,
        }
    }

    fn classify(
        &mut self,
        object: &Object,
        answer: Result<(), Fault>,
        passive: bool,
        refused: &mut Option<String>,
    ) -> Result<Next, Fault> {
        let Object { what, name, wanted, mend } = object;
        let Err(fault) = answer else {
            if let Some(text) = refused.take() {
                self.findings.push(format!(
                    "may not declare {what} {name}, which exists: {text}; give the user the configure right, or set BELLHOP_TOPOLOGY=verify"
                ));
            }
            return Ok(Next::Done);
        };
        let text = fault.text().unwrap_or_default();
        match fault.code() {
            Some(406) => {
                let difference = difference(&text).unwrap_or(text);
                self.findings.push(format!(
                    "{what} {name} exists with other arguments: {difference} (wanted: {wanted}); it is used as it is. \
                     To mend it, let it run empty, then: {mend}"
                ));
            }
            Some(403) if !passive => {
                *refused = Some(text);
                return Ok(Next::LookOnly);
            }
            Some(404) => {
                let why = refused.take().map_or_else(
                    || "start once with BELLHOP_TOPOLOGY=apply as a user with the configure right".into(),
                    |text| format!("and may not be made: {text}"),
                );
                self.findings.push(format!("{what} {name} does not exist; {why} (wanted: {wanted})"));
            }
            // a queue without a leader must not keep the others from being used
            None if matches!(fault, Fault::TimedOut(_)) => {
                self.channel.abandon();
                self.findings.push(format!("{what} {name} does not answer"));
            }
            Some(403 | 405) => self.findings.push(format!("{what} {name} cannot be looked at: {text}")),
            _ => return Err(fault),
        }
        Ok(Next::Done)
    }
}

struct Object {
    what: &'static str,
    name: String,
    wanted: String,
    mend: String,
}

enum Next {
    Done,
    LookOnly,
}

/// What a kind of queue is declared with, all of it said and nothing left to the broker's defaults, which differ
/// between versions. Dead-lettering at least once needs `reject-publish`, or it falls back silently.
pub(super) fn arguments(names: &Names, queue: &Queue) -> Result<FieldTable, Fault> {
    let mut table = FieldTable::default();
    let mut text = |key: &str, value: &str| {
        table.insert(key.into(), AMQPValue::LongString(value.into()));
    };
    text("x-queue-type", "quorum");
    match queue.kind {
        QueueKind::Work => {
            text("x-dead-letter-exchange", "");
            text("x-dead-letter-routing-key", names.queue(&dead(&queue.name))?.as_str());
            text("x-dead-letter-strategy", "at-least-once");
            text("x-overflow", "reject-publish");
            table.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        }
        QueueKind::Dead => {
            table.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(NO_DELIVERY_LIMIT));
        }
        QueueKind::Wait { ttl } => {
            // without a routing key of its own, so that the key says which queue the message comes back to
            text("x-dead-letter-exchange", names.exchange(RETRY.name)?.as_str());
            text("x-dead-letter-strategy", "at-least-once");
            text("x-overflow", "reject-publish");
            let milliseconds = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            table.insert("x-message-ttl".into(), AMQPValue::LongLongInt(milliseconds));
        }
        QueueKind::Node => return Ok(node_arguments()),
    }
    Ok(table)
}

/// Quorum queues cannot be exclusive.
pub(super) fn node_arguments() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    table
}

fn shown(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => format!("{:?}", text.to_string()),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// From "… inequivalent arg 'x' for queue 'q' in vhost '/': received 'a' but current is 'b'" to words of our own.
fn difference(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once('\'')?;
    let (_, rest) = rest.split_once("received ")?;
    let (received, current) = rest.split_once(" but current is ")?;
    Some(format!("{argument} is {current} there and {received} here"))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_brokers_words_become_a_difference() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'rd' in vhost '/': received the value '1000' of type 'long' but current is none";
        assert_eq!(
            difference(text).as_deref(),
            Some("x-message-ttl is none there and the value '1000' of type 'long' here")
        );
    }
}
