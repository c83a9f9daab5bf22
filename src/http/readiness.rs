//! Whether we can take requests, and what does not work as it should.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;

use crate::db::{Db, Outage};
use crate::mail::{self, Transport};
use crate::messaging::broker::{self, Broker};

/// How long an answer is good for: readiness is asked often, and by strangers.
const REPORT_LIFETIME: Duration = Duration::from_secs(1);

/// Whether we can take requests.
#[derive(Debug)]
pub struct Readiness {
    db: Db,
    broker: Broker,
    mail: Arc<Transport>,
    last: Mutex<Option<(Instant, Report)>>,
}

/// What `/readyz` says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether requests can be taken: the database answers and takes writes.
    pub ready: bool,
    /// Why they cannot, if they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What does not work as it should and costs nobody a request: `broker`, `mail`.
    pub degraded: Vec<&'static str>,
}

impl Readiness {
    /// Asks these.
    #[must_use]
    pub fn new(db: Db, broker: Broker, mail: Arc<Transport>) -> Self {
        Readiness { db, broker, mail, last: Mutex::default() }
    }

    /// How things stand, at most a second ago.
    pub async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < REPORT_LIFETIME
        {
            return report.clone();
        }
        let reason = self.db.check().await.err().map(Outage::as_str);
        let mut report = Report { ready: reason.is_none(), reason, degraded: Vec::new() };
        if let broker::BrokerHealth::Degraded(reason) = self.broker.health().await {
            // the reason may name hosts and users: it is for the log
            tracing::warn!(reason, "the broker is degraded");
            report.degraded.push("broker");
        }
        if matches!(self.mail.health(), mail::Health::Failing { .. }) {
            report.degraded.push("mail");
        }
        *last = Some((Instant::now(), report.clone()));
        report
    }
}
