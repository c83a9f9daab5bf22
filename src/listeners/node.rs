//! What every running web node hears, each on an ephemeral queue of its own: sessions that ended are dropped from its cache, and
//! pages that wait are woken.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::account::session::cache::SessionCache;
use crate::account::watchers::Watchers;
use crate::event::{self, Event};
use crate::messaging::broker::Broker;
use crate::messaging::consumer::ephemeral;
use crate::messaging::message::Message;
use crate::messaging::topology::{Queue, QueueKind};

/// The events that nodes hear.
pub const KEYS: [&str; 7] = [
    "session.revoked",
    "mail.sent",
    "mail.delayed",
    "mail.rejected",
    "user.updated",
    "session.begun",
    "mail.kept_back",
];

/// Keeps the cache of this node up to date, and wakes its pages, until `stop`.
pub async fn run(broker: Broker, cache: Arc<SessionCache>, watchers: Arc<Watchers>, stop: CancellationToken) {
    let queue = Queue { name: format!("node.{}", Uuid::new_v4().simple()), kind: QueueKind::Node };
    let subscribed = |generation| {
        cache.subscribed(generation);
        watchers.subscribed(generation);
    };
    let each = |message: &Message| {
        let Ok(received) = event::decode(message.id, &message.body) else { return };
        match &received.event {
            Event::SessionRevoked { session, .. } => cache.forget(*session),
            Event::SessionBegun { registration: Some(registration), .. } => watchers.wake(*registration),
            Event::UserUpdated { user } => cache.forget_user(*user),
            // who waits for the mail of a change is the user
            Event::MailSent { mail }
            | Event::MailKeptBack { mail }
            | Event::MailDelayed { mail, .. }
            | Event::MailRejected { mail, .. } => mail.user.into_iter().for_each(|user| watchers.wake(user)),
            _ => {}
        }
        if let Some(about) = received.event.subject() {
            watchers.wake(about);
        }
    };
    ephemeral::follow(broker, queue, stop, subscribed, each).await;
}
