//! `/livez` and `/readyz`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::db::Db;
use crate::http::state::Web;
use crate::mail::{self, Transport};
use crate::messaging::broker::{self, Broker};

/// How long an answer is good for: readiness is asked often, and by strangers.
const FRESH: Duration = Duration::from_secs(1);

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
    /// Whether requests can be taken: the database answers.
    pub ready: bool,
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
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let answers = tokio::time::timeout(Duration::from_secs(2), self.db.ping()).await;
        let mut report = Report { ready: matches!(answers, Ok(Ok(()))), degraded: Vec::new() };
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

/// GET /livez: the process runs. Touches nothing.
pub async fn livez() -> &'static str {
    "ok\n"
}

/// GET /readyz: 200 when requests can be taken, else 503; what is degraded is named.
pub async fn readyz(State(web): State<Web>) -> Response {
    let report = web.readiness.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(report)).into_response()
}
