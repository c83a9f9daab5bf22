//! What a running web node must forget: each hears of it on a queue of its own, and drops the sessions that ended.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::account::session::cache::SessionCache;
use crate::event::{self, Event};
use crate::messaging::broker::Broker;
use crate::messaging::consumer::ephemeral;
use crate::messaging::topology::{Queue, QueueKind};

/// What nodes hear, of all events.
pub const KEYS: [&str; 1] = ["session.revoked"];

/// Keeps the cache of this node true until `stop`.
pub async fn run(broker: Broker, cache: Arc<SessionCache>, stop: CancellationToken) {
    let queue = Queue { name: format!("node.{}", Uuid::new_v4().simple()), kind: QueueKind::Node };
    let hears = Arc::clone(&cache);
    let subscribed = move |generation| hears.subscribed(generation);
    let each = move |message: &crate::messaging::message::Message| {
        if let Ok(received) = event::decode(message.id, &message.body)
            && let Event::SessionRevoked { session, .. } = received.event
        {
            cache.forget(session);
        }
    };
    ephemeral::follow(broker, queue, stop, subscribed, each).await;
}
