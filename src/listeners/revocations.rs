//! Drops revoked sessions from the cache of a running web node. Each node hears of them on an ephemeral queue of its own.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::account::session::cache::SessionCache;
use crate::event::{self, Event};
use crate::messaging::broker::Broker;
use crate::messaging::consumer::ephemeral;
use crate::messaging::message::Message;
use crate::messaging::topology::{Queue, QueueKind};

/// The events that nodes hear.
pub const KEYS: [&str; 1] = ["session.revoked"];

/// Keeps the cache of this node up to date until `stop`.
pub async fn run(broker: Broker, cache: Arc<SessionCache>, stop: CancellationToken) {
    let queue = Queue { name: format!("node.{}", Uuid::new_v4().simple()), kind: QueueKind::Node };
    let subscribed = |generation| cache.subscribed(generation);
    let each = |message: &Message| {
        if let Ok(received) = event::decode(message.id, &message.body)
            && let Event::SessionRevoked { session, .. } = received.event
        {
            cache.forget(session);
        }
    };
    ephemeral::follow(broker, queue, stop, subscribed, each).await;
}
