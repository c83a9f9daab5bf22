//! The consumers of each listener's queue.

use std::sync::Arc;

use super::components::App;
use super::parts::{Parts, queue_names};
use crate::config::{Config, ConfigError};
use crate::listeners::LISTENERS;
use crate::listeners::context::{Listener, ListenerContext};
use crate::messaging::consumer::Consumer;
use crate::messaging::consumer::layers::RateLimit;

/// Consumers of a queue unless the settings say otherwise.
const DEFAULT_CONSUMERS: u16 = 4;

impl App {
    /// All consumers of the queues that this process is to work on.
    #[must_use]
    pub fn consumers(&self, parts: &Parts) -> Vec<Consumer> {
        let context = ListenerContext {
            accounts: self.accounts.clone(),
            mail: Arc::clone(&self.mail),
            mail_rate: self.config.mail.rate.map(RateLimit::per_minute),
            retry: self.config.messaging.retry,
            public_url: self.config.http.public_url.clone(),
            health: self.health.clone(),
            mail_domain: Arc::clone(&self.mail_domain),
        };
        let wanted = LISTENERS.iter().filter(|listener| parts.queues.contains(listener.queue));
        wanted.flat_map(|listener| self.consumers_of(listener, &context)).collect()
    }

    fn consumers_of(&self, listener: &Listener, context: &ListenerContext) -> Vec<Consumer> {
        let prefetch = self.config.messaging.prefetch.of(listener.queue, listener.batch.unwrap_or(1));
        let consumer = Consumer {
            broker: self.broker.clone(),
            db: self.accounts.db.clone(),
            clock: self.accounts.clock.clone(),
            topology: Arc::clone(&self.topology),
            retry: self.config.messaging.retry,
            queue: listener.queue,
            listener: (listener.stack)(context),
            prefetch,
            at_once: listener.batch.map_or(1, |_| usize::from(prefetch)),
            backpressure: self.backpressure(),
        };
        vec![consumer; usize::from(count(&self.config, listener))]
    }
}

/// How many consumers a listener's queue has.
pub(super) fn count(config: &Config, listener: &Listener) -> u16 {
    // one that handles a batch is enough
    config.messaging.concurrency.of(listener.queue, listener.batch.map_or(DEFAULT_CONSUMERS, |_| 1))
}

/// A queue that a setting names must exist: a typo would silently do nothing.
pub(super) fn check_queues(config: &Config) -> Result<(), ConfigError> {
    for (name, per_queue) in
        [("PREFETCH", &config.messaging.prefetch), ("LISTENER_CONCURRENCY", &config.messaging.concurrency)]
    {
        if let Some(unknown) = per_queue.queues().find(|queue| !queue_names().any(|name| name == *queue)) {
            let setting = format!("{name}_{}", unknown.to_uppercase().replace('-', "_"));
            let queues = queue_names().collect::<Vec<_>>().join(", ");
            return Err(ConfigError::new(&setting, format!("there is no queue {unknown:?}; there are {queues}")));
        }
    }
    Ok(())
}
