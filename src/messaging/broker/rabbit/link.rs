//! What the handles, the supervisors and the tasks of a broker share: the two connections and how they are, the channel
//! that is published on, and what is reported about all of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::{Channel, Connection};
use secrecy::SecretString;
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fault::Fault;
use super::wire::Names;
use crate::config::TopologyMode;
use crate::health::Part;
use crate::messaging::broker::types::{BrokerHealth, Publication};
use crate::messaging::topology::Topology;

/// How long settling may take when we are told to stop.
pub(super) const SETTLE_TIMEOUT: Duration = Duration::from_secs(25);

/// What the handles, the supervisors and the consumers' tasks share.
pub(super) struct Shared {
    pub(super) url: SecretString,
    pub(super) name: String,
    pub(super) names: Names,
    pub(super) topology: Arc<Topology>,
    pub(super) mode: TopologyMode,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) report: watch::Sender<Report>,
    pub(super) publisher: Link,
    pub(super) consumer: Link,
    /// Held by whoever publishes.
    pub(super) publishing: Mutex<PublisherState>,
    /// The consumers' tasks: connections are kept for what they have not settled.
    pub(super) consuming: TaskTracker,
    /// The supervisors, once they have been started.
    pub(super) parts: [Part; 2],
    /// An exchange or a queue was found missing.
    pub(super) redeclare: Notify,
}

/// What is known about the broker.
#[derive(Default)]
pub(super) struct Report {
    pub(super) publisher: Option<ConnectionState>,
    pub(super) consumer: Option<ConnectionState>,
    /// Why the broker takes no messages.
    pub(super) blocked: Option<String>,
    /// The topology has been declared once.
    pub(super) declared: bool,
    /// What is wrong with the topology, a text each.
    pub(super) findings: Vec<String>,
    /// Queues (short names) that should be consumed from and are not, with the reason.
    pub(super) not_consumed: BTreeMap<String, String>,
    /// Exchanges (short names) that the user may not publish to and had to, with the broker's words.
    pub(super) refused: BTreeMap<&'static str, String>,
}

impl Shared {
    pub(super) fn link(&self, role: Role) -> &Link {
        match role {
            Role::Publisher => &self.publisher,
            Role::Consumer => &self.consumer,
        }
    }

    pub(super) fn part(&self, role: Role) -> &Part {
        let [publisher, consumer] = &self.parts;
        match role {
            Role::Publisher => publisher,
            Role::Consumer => consumer,
        }
    }

    pub(super) fn report_state(&self, role: Role, state: ConnectionState) {
        self.report.send_modify(|report| match role {
            Role::Publisher => {
                report.publisher = Some(state);
                report.blocked = None;
            }
            Role::Consumer => report.consumer = Some(state),
        });
    }

    pub(super) fn has_findings(&self) -> bool {
        !self.report.borrow().findings.is_empty()
    }
}

impl Report {
    pub(super) fn health(&self) -> BrokerHealth {
        let mut troubles = Vec::new();
        match (&self.publisher, &self.consumer) {
            (Some(ConnectionState::Away(reason)), _) => troubles.push(format!("the broker is away: {reason}")),
            (_, Some(ConnectionState::Away(reason))) => troubles.push(format!("no connection for consumers: {reason}")),
            (None, _) => troubles.push(format!("the broker is away: {NOT_YET}")),
            (Some(ConnectionState::Up), None | Some(ConnectionState::Up)) => {
                for (queue, reason) in &self.not_consumed {
                    troubles.push(format!("nothing is consumed from {queue}: {reason}"));
                }
            }
        }
        if let Some(reason) = &self.blocked {
            troubles.push(format!("the broker takes no messages: {reason}"));
        }
        for (exchange, reason) in &self.refused {
            troubles.push(format!("nothing can be published to {exchange:?}: {reason}"));
        }
        troubles.extend(self.findings.iter().cloned());
        if troubles.is_empty() { BrokerHealth::Up } else { BrokerHealth::Degraded(troubles.join("; ")) }
    }
}

/// What a connection is for. An alarm of the broker stops whatever a publishing connection carries, acks included,
/// so consumers have their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Publisher,
    Consumer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publisher => "publisher",
            Self::Consumer => "consumer",
        })
    }
}

/// A connection that works, until `over` is cancelled by its supervisor.
pub(super) struct LiveConnection {
    pub(super) connection: Connection,
    pub(super) over: CancellationToken,
    is_suspect: AtomicBool,
    suspected: Notify,
}

impl LiveConnection {
    pub(super) fn new(connection: Connection) -> Self {
        let (over, is_suspect, suspected) = (CancellationToken::new(), AtomicBool::new(false), Notify::new());
        Self { connection, over, is_suspect, suspected }
    }

    /// Something on it took too long. It is used by nobody until its supervisor has found out whether all of it is
    /// silent, or just the queue that was asked (a quorum queue without a leader, say), which must not cost the others
    /// their connection.
    pub(super) fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Relaxed);
        self.suspected.notify_one();
    }

    /// Waits until somebody suspects it.
    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// It answers after all.
    pub(super) fn clear(&self) {
        self.is_suspect.store(false, Ordering::Relaxed);
    }

    fn is_usable(&self) -> bool {
        !self.over.is_cancelled() && !self.is_suspect.load(Ordering::Relaxed)
    }
}

/// Suspects the connection if an answer on it took too long.
pub(super) fn suspect_if_late<T>(live: &LiveConnection, answer: Result<T, Fault>) -> Result<T, Fault> {
    if matches!(answer, Err(Fault::TimedOut(_))) {
        live.suspect();
    }
    answer
}

/// Where the users of a connection find the one that works now.
pub(super) struct Link {
    pub(super) live: watch::Sender<Option<Arc<LiveConnection>>>,
    pub(super) started: AtomicBool,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { live: watch::Sender::new(None), started: AtomicBool::new(false) }
    }

    /// The connection, if there is one at this moment.
    pub(super) fn now(&self) -> Option<Arc<LiveConnection>> {
        self.live.borrow().clone().filter(|live| live.is_usable())
    }

    /// The connection, as soon as there is one.
    pub(super) async fn next(&self) -> Option<Arc<LiveConnection>> {
        let is_usable = |live: &Option<Arc<LiveConnection>>| live.as_ref().is_some_and(|live| live.is_usable());
        self.live.subscribe().wait_for(is_usable).await.ok()?.clone()
    }
}

/// Why there is no connection before the first attempt has ended.
pub(super) const NOT_YET: &str = "not connected yet";

/// How a connection is, for [`BrokerHealth`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    Up,
    Away(String),
}

/// What the publisher keeps between batches.
#[derive(Default)]
pub(super) struct PublisherState {
    /// The channel that no batch is under way on.
    pub(super) outgoing: Option<Outgoing>,
    /// Where the first message went that a batch waited for in vain. All of a channel stands still behind a queue that
    /// does not answer, so what goes there has a batch of its own, after the others, until it is confirmed again.
    pub(super) stalled: HashSet<Address>,
}

/// Exchange and routing key.
pub(super) type Address = (&'static str, String);

/// A confirm channel with nothing under way, and the connection it belongs to.
pub(super) struct Outgoing {
    pub(super) live: Arc<LiveConnection>,
    pub(super) channel: Channel,
}

pub(super) fn address(publication: &Publication) -> Address {
    (publication.exchange.name, publication.routing_key.clone())
}
