//! A running node's own queue, which goes with the node.

use tokio_util::sync::CancellationToken;

use crate::failpoint;
use crate::messaging::broker::Broker;
use crate::messaging::message::Message;
use crate::messaging::topology::Queue;

/// Unacknowledged messages at a time: they cost nothing.
const PREFETCH: u16 = 100;

/// Calls `each` with every message of the queue until `stop`, and acknowledges it: what only keeps a memory fresh is not
/// tried again. `subscribed` is told about every gap before the messages after it come.
pub async fn follow(
    broker: Broker,
    queue: Queue,
    stop: CancellationToken,
    subscribed: impl Fn(Option<u64>),
    each: impl Fn(&Message),
) {
    let Some(mut deliveries) = broker.consume_when_possible(&queue, PREFETCH, &stop).await else { return };
    let mut generation = deliveries.subscribed();
    subscribed(*generation.borrow_and_update());
    loop {
        failpoint::reach("node.turn");
        tokio::select! {
            biased;
            changed = generation.changed() => {
                if changed.is_err() {
                    break;
                }
                subscribed(*generation.borrow_and_update());
            }
            delivery = deliveries.next() => {
                let Some(delivery) = delivery else { break };
                each(delivery.message());
                if let Err(error) = delivery.ack().await {
                    tracing::debug!(queue = queue.name, error = format!("{error:#}"), "cannot acknowledge");
                }
            }
        }
    }
    subscribed(None);
}
