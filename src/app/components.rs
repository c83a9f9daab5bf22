//! The components of the program, and what is made of them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::session::cache::SessionCache;
use crate::account::watchers::Watchers;
use crate::config::Config;
use crate::health::{Health, Part};
use crate::mail::Transport;
use crate::messaging::backpressure::Backpressure;
use crate::messaging::broker::Broker;
use crate::messaging::operator::Operator;
use crate::messaging::outbox::reconciler::Reconciler;
use crate::messaging::outbox::relay::Relay;
use crate::messaging::topology::Topology;
use crate::progress::Progress;

/// The program, built and not yet running.
#[derive(Clone, Debug)]
pub struct App {
    /// The settings that it was built from.
    pub config: Arc<Config>,
    /// What the use cases need.
    pub accounts: Accounts,
    /// Where messages go and come from.
    pub broker: Broker,
    /// What is declared on the broker.
    pub topology: Arc<Topology>,
    /// How mails leave.
    pub mail: Arc<Transport>,
    /// The sessions that this node has cached.
    pub sessions: Arc<SessionCache>,
    /// The pages that wait on this node.
    pub watchers: Arc<Watchers>,
    /// The domain of Message-IDs.
    pub(super) mail_domain: Arc<str>,
    /// How its parts fare.
    pub health: Health,
    /// Its name among the processes on this database.
    pub(super) process: Uuid,
    pub(super) tasks: TaskTracker,
    /// Ends the connections, after everybody who uses them.
    pub(super) stop_connections: CancellationToken,
}

impl App {
    /// The relay, to run or to drain it.
    #[must_use]
    pub fn relay(&self) -> Relay {
        let Accounts { db, clock, notifier, .. } = self.accounts.clone();
        let (broker, topology, part) = (self.broker.clone(), Arc::clone(&self.topology), Part::new("relay", &clock));
        self.health.add(&part);
        Relay { db, clock, notifier, broker, topology, part, backpressure: self.backpressure() }
    }

    /// The reconciler, which publishes lost events again.
    #[must_use]
    pub fn reconciler(&self) -> Reconciler {
        let Accounts { db, clock, .. } = self.accounts.clone();
        let (broker, topology) = (self.broker.clone(), Arc::clone(&self.topology));
        let (grace, progress) = (self.config.messaging.retry.grace, Progress::default());
        Reconciler { db, clock, broker, topology, grace, progress }
    }

    /// What operators see and do.
    #[must_use]
    pub fn operator(&self) -> Operator {
        let Accounts { db, clock, .. } = self.accounts.clone();
        let (broker, topology) = (self.broker.clone(), Arc::clone(&self.topology));
        let (grace, progress) = (self.config.messaging.retry.grace, Progress::default());
        Operator { db, clock, broker, topology, grace, progress }
    }

    /// Holds back whoever works off a backlog while requests wait for the hash threads.
    pub(super) fn backpressure(&self) -> Backpressure {
        let hasher = self.accounts.hasher.clone();
        Backpressure::new(move || hasher.is_busy())
    }
}
