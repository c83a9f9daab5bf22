//! Watches over this process: looks at what it needs from outside, so that what is degraded is said once, and tells the other
//! processes by way of the database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::components::App;
use super::parts::{Parts, queue_names};
use crate::clock::Clock;
use crate::db::Db;
use crate::failpoint;
use crate::health::{Health, Part, PartState};
use crate::listeners::confirmation;
use crate::mail::{self, Transport};
use crate::messaging::broker::{Broker, BrokerHealth};
use crate::processes::{self, HEARTBEAT, Needs};
use crate::telemetry;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the database may take to hear of it.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches over this process. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Monitor {
    db: Db,
    clock: Clock,
    health: Health,
    process: Uuid,
    database: Part,
    log: Part,
    /// With `RabbitMQ`: queues in the database are as well as it is.
    broker: Option<(Broker, Part)>,
    /// Where mails are sent to a mail server.
    mail: Option<(Arc<Transport>, Part)>,
    /// What somebody must do.
    needs: Needs,
}

impl App {
    /// What somebody must do for everything to happen.
    pub(super) fn needs(&self) -> Needs {
        let listeners = queue_names().map(|queue| format!("listener:{queue}"));
        let parts = listeners.chain(["relay".to_owned()]).collect();
        Needs { parts, since: self.accounts.clock.now() }
    }

    /// Counts what this process needs from outside among its parts, and watches over it.
    pub(super) fn monitor(&self, parts: &Parts) -> Monitor {
        let clock = self.accounts.clock.clone();
        let part = |name| {
            let part = Part::new(name, &clock);
            self.health.add(&part);
            part
        };
        let sends = parts.queues.contains(confirmation::LISTENER.queue);
        if let Some(writes) = self.accounts.db.part() {
            self.health.add(writes);
        }
        match &self.broker {
            Broker::Embedded(embedded) => self.health.add(embedded.part()),
            Broker::Rabbit(rabbit) => rabbit.parts().iter().for_each(|part| self.health.add(part)),
        }
        Monitor {
            db: self.accounts.db.clone(),
            health: self.health.clone(),
            process: self.process,
            database: part("database"),
            log: part("log"),
            broker: matches!(self.broker, Broker::Rabbit(_)).then(|| (self.broker.clone(), part("broker"))),
            mail: (sends && self.mail.mailbox().is_none()).then(|| (Arc::clone(&self.mail), part("mail"))),
            clock: clock.clone(),
            needs: self.needs(),
        }
    }
}

impl Monitor {
    /// Watches until `stop`, and takes leave of the other processes then.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut told: Option<(Instant, Vec<PartState>)> = None;
        let mut missed = BTreeSet::new();
        while !stop.is_cancelled() {
            // a moment first: a connection that is just being made is nothing to be said
            if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
                break;
            }
            failpoint::reach("health.turn");
            self.look().await;
            self.look_at_database().await;
            let parts = self.health.parts();
            let is_news = told.as_ref().is_none_or(|(at, told)| at.elapsed() >= HEARTBEAT || *told != parts);
            if is_news {
                let report = processes::report(&self.db, &self.clock, self.process, &parts);
                match tokio::time::timeout(REPORT_TIMEOUT, report).await {
                    Ok(Ok(())) => {
                        if self.db.known_outage().is_none() {
                            self.database.recover();
                        }
                        self.look_for_others(&parts, &mut missed).await;
                        told = Some((Instant::now(), parts));
                    }
                    // the next look says why, unless it is no outage
                    Ok(Err(error)) if self.db.known_outage().is_some() => tracing::debug!(%error, "cannot report"),
                    Ok(Err(error)) => self.database.degrade(&error.to_string()),
                    Err(_) => self.database.degrade("it does not answer in time"),
                }
            }
        }
        let left = tokio::time::timeout(REPORT_TIMEOUT, processes::leave(&self.db, self.process)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("cannot take leave of the other processes");
        }
    }

    /// Says once what nobody does, and once that somebody does it again.
    async fn look_for_others(&self, own: &[PartState], missed: &mut BTreeSet<String>) {
        let others = processes::elsewhere(&self.db, &self.clock, self.process, own, &self.needs);
        // the next look may be answered
        let Ok(Ok(others)) = tokio::time::timeout(REPORT_TIMEOUT, others).await else { return };
        let now: BTreeSet<String> = others.into_iter().filter(|one| one.is_missing).map(|one| one.part).collect();
        for part in now.difference(missed) {
            tracing::warn!(part, "no process does this work");
        }
        for part in missed.difference(&now) {
            tracing::info!(part, "this work is done again");
        }
        *missed = now;
    }

    /// Looks at a database that somebody found not to do its work, until it does.
    async fn look_at_database(&self) {
        match self.db.known_outage() {
            None => {}
            Some(passes) if passes.is_ready() => self.database.degrade(passes.as_str()),
            Some(_) => match self.db.check().await {
                Ok(()) => self.database.recover(),
                Err(outage) => self.database.degrade(outage.as_str()),
            },
        }
    }

    async fn look(&self) {
        if let Some((broker, part)) = &self.broker {
            match broker.health().await {
                BrokerHealth::Up => part.recover(),
                BrokerHealth::Degraded(reason) => part.degrade(&reason),
            }
        }
        if let Some((transport, part)) = &self.mail {
            match transport.health() {
                mail::Health::Failing { reason, .. } => part.degrade(&reason),
                mail::Health::Working { .. } | mail::Health::Untried => part.recover(),
            }
        }
        if telemetry::is_writable() {
            self.log.recover();
        } else {
            self.log.degrade("lines cannot be written");
        }
    }
}
