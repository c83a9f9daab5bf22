//! Whether we can take requests, and what does not work as it should, here and in the other processes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::{Db, Outage};
use crate::health::{Health, PartState};
use crate::mail::{self, Transport};
use crate::messaging::broker::{Broker, BrokerHealth};
use crate::processes::{self, Needs};

/// How long an answer is good for: readiness is asked often, and by strangers.
const REPORT_LIFETIME: Duration = Duration::from_secs(1);

/// How long the database may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Debug)]
pub struct Sources {
    /// The database, which must answer.
    pub db: Db,
    /// For who has given a sign of life lately.
    pub clock: Clock,
    /// Where messages move.
    pub broker: Broker,
    /// How mails leave.
    pub mail: Arc<Transport>,
    /// The parts of this process …
    pub health: Health,
    /// … its name among the others …
    pub process: Uuid,
    /// … and what it needs one of them to do.
    pub needs: Needs,
}

/// Whether we can take requests.
#[derive(Debug)]
pub struct Readiness {
    sources: Sources,
    last: Mutex<Option<(Instant, Report)>>,
}

/// What `/readyz` says. Reasons are for the log and for operators: they may name hosts and users.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether requests can be taken: the database answers and takes writes.
    pub ready: bool,
    /// Why they cannot, if they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What does not work as it should and costs nobody a request, here or in another process: `broker`, `mail`, `relay`.
    pub degraded: BTreeSet<String>,
    /// The parts of this process.
    pub parts: Vec<PartState>,
    /// The parts of the others.
    pub elsewhere: Vec<OtherPart>,
}

/// As much of it as anybody may know: nothing of processes, times and restarts.
#[derive(Clone, Debug, Serialize)]
pub struct StrangersReport {
    ready: bool,
    degraded: BTreeSet<String>,
}

impl Report {
    /// What is told to who does not sit at this machine.
    #[must_use]
    pub fn for_strangers(self) -> StrangersReport {
        let mut degraded = self.degraded;
        if !self.ready {
            degraded.insert("database".to_owned());
        }
        StrangersReport { ready: self.ready, degraded }
    }
}

/// A part of another process.
#[derive(Clone, Debug, Serialize)]
pub struct OtherPart {
    /// Tells the processes apart; nil where there is none that does it.
    pub process: Uuid,
    /// Its name.
    pub part: String,
    /// Whether it does not work as it should.
    pub degraded: bool,
    /// Since when it is so.
    pub since: Timestamp,
}

impl Readiness {
    /// Asks these.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Readiness { sources, last: Mutex::default() }
    }

    /// How things stand, at most a second ago.
    pub async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < REPORT_LIFETIME
        {
            return report.clone();
        }
        let Sources { db, clock, broker, mail, health, process, needs } = &self.sources;
        let reason = db.check().await.err().map(Outage::as_str);
        let mut report = Report { ready: reason.is_none(), reason, parts: health.parts(), ..Report::default() };
        if report.ready {
            let others = processes::elsewhere(db, clock, *process, &report.parts, needs);
            let others = tokio::time::timeout(ANSWER_TIMEOUT, others).await;
            let others = others.ok().and_then(Result::ok).unwrap_or_default().into_iter();
            report.elsewhere = others
                .map(|other| OtherPart {
                    process: other.process,
                    part: other.part,
                    degraded: other.degraded,
                    since: other.since,
                })
                .collect();
        }
        let own = report.parts.iter().filter(|part| part.degraded).map(|part| &part.part);
        let others = report.elsewhere.iter().filter(|part| part.degraded).map(|part| &part.part);
        report.degraded = own.chain(others).cloned().collect();
        // these know it a moment before it is said
        if broker.health().await != BrokerHealth::Up {
            report.degraded.insert("broker".to_owned());
        }
        if matches!(mail.health(), mail::Health::Failing { .. }) {
            report.degraded.insert("mail".to_owned());
        }
        *last = Some((Instant::now(), report.clone()));
        report
    }
}
