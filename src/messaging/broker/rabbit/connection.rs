//! One supervisor per connection: connect, make ready, watch, and on any error or time-out drop everything and begin again.
//!
//! lapin's own recovery stays off: while it waits, confirms hang without an error, a consumer whose channel failed
//! stays silent for ever, and a connection can call itself connected with a dead channel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::declare;
use super::fault::{Fault, within};
use super::link::{ConnectionState, LiveConnection, NOT_YET, Role, SETTLE_TIMEOUT, Shared};
use crate::backoff::Backoff;
use crate::failpoint;
use crate::tasks::watched;

/// To be connected and authenticated.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// To say goodbye; a blocked connection never gets an answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// To open a channel, which the broker does at once if it does anything.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Seconds between heartbeats where the URL names none: a silent peer is noticed after twice that.
const HEARTBEAT_SECONDS: u16 = 10;
/// How often the state is looked at beside lapin's events, which do not tell of every end.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);
/// How often what was found wrong with the topology is looked at again: somebody may have mended it.
const RECHECK_INTERVAL: Duration = Duration::from_mins(1);
/// The least time between two declarations that somebody asked for.
const REDECLARE_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the supervisor of a role, once.
pub(super) fn start(shared: &Arc<Shared>, role: Role) {
    if !shared.link(role).started.swap(true, Ordering::Relaxed) {
        shared.report_state(role, ConnectionState::Away(NOT_YET.into()));
        let (again, over) = (Arc::clone(shared), shared.stop.clone());
        let task = move || supervise(Arc::clone(&again), role);
        let part = shared.part(role).clone();
        shared.tasks.spawn(watched(part, shared.stop.clone(), move || over.is_cancelled(), task));
    }
}

async fn supervise(shared: Arc<Shared>, role: Role) {
    // what a supervisor that panicked has left
    if let Some(left) = shared.link(role).live.send_replace(None) {
        left.over.cancel();
        close(&left).await;
    }
    let mut backoff = Backoff::SERVER;
    while !shared.stop.is_cancelled() {
        let began = Instant::now();
        // not cut short by `stop`: lapin's thread must not be left connecting while the runtime goes away
        let fault = match open(&shared, role).await {
            Ok(live) => {
                tracing::debug!(%role, "connected to the broker");
                shared.report_state(role, ConnectionState::Up);
                shared.link(role).live.send_replace(Some(Arc::clone(&live)));
                failpoint::reach("broker.connected");
                let fault = monitor(&shared, role, &live).await;
                live.over.cancel();
                shared.link(role).live.send_replace(None);
                close(&live).await;
                fault
            }
            Err(fault) => fault,
        };
        if shared.stop.is_cancelled() {
            break;
        }
        // what is degraded is said once, by who watches over the process
        tracing::debug!(%role, %fault, "no connection to the broker, trying again until there is one");
        shared.report_state(role, ConnectionState::Away(fault.to_string()));
        tokio::select! {
            () = sleep(backoff.after(began.elapsed(), fault.is_refusal())) => {}
            () = shared.stop.cancelled() => {}
        }
    }
    shared.report_state(role, ConnectionState::Away("stopped".into()));
}

async fn open(shared: &Shared, role: Role) -> Result<Arc<LiveConnection>, Fault> {
    let mut uri: AMQPUri =
        shared.url.expose_secret().parse().map_err(|_| Fault::Ended("the URL cannot be read".into()))?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    uri.query.connection_timeout.get_or_insert(u64::try_from(CONNECT_TIMEOUT.as_millis()).unwrap_or(u64::MAX));
    let properties = ConnectionProperties::default().with_connection_name(format!("{} {role}", shared.name).into());
    let connection = within(CONNECT_TIMEOUT, "connecting", Connection::connect_uri(uri, properties)).await?;
    let live = Arc::new(LiveConnection::new(connection));
    if role == Role::Publisher
        && let Err(fault) = declare::all(shared, &live).await
    {
        close(&live).await;
        return Err(fault);
    }
    Ok(live)
}

/// Watches over a connection that works; gives the reason why it does no longer.
async fn monitor(shared: &Shared, role: Role, live: &LiveConnection) -> Fault {
    let connection = &live.connection;
    let mut events = Box::pin(connection.events_listener());
    let mut status = interval(STATUS_INTERVAL);
    status.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut declared = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return drain(shared, role).await,
            () = live.suspected() => {
                if let Err(fault) = probe(live).await {
                    return fault;
                }
                live.clear();
                // wakes who waits for a usable one
                shared.link(role).live.send_modify(|_| {});
            }
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) if role == Role::Publisher => {
                    shared.report.send_modify(|report| report.blocked = Some(reason));
                }
                Some(Event::ConnectionUnblocked) if role == Role::Publisher => {
                    shared.report.send_modify(|report| report.blocked = None);
                }
                // errors of channels come here too, and those are the business of who has the channel
                Some(Event::Error(error)) if !connection.status().connected() => return Fault::Broker(error),
                Some(_) => {}
                None => return Fault::Ended("closed".into()),
            },
            _ = status.tick() => {
                if !connection.status().connected() {
                    return Fault::Ended("closed by the broker".into());
                }
                if role == Role::Publisher && declared.elapsed() >= RECHECK_INTERVAL && shared.has_findings() {
                    shared.redeclare.notify_one();
                }
            }
            () = shared.redeclare.notified(), if role == Role::Publisher && declared.elapsed() >= REDECLARE_INTERVAL => {
                declared = Instant::now();
                // nothing can be declared on a blocked connection
                if !connection.status().blocked() && let Err(fault) = declare::all(shared, live).await {
                    return fault;
                }
            }
        }
    }
}

/// Whether the broker still answers on this connection.
async fn probe(live: &LiveConnection) -> Result<(), Fault> {
    let channel = within(PROBE_TIMEOUT, "any answer of the broker", live.connection.create_channel()).await?;
    within(PROBE_TIMEOUT, "any answer of the broker", channel.close(200, "done".into())).await
}

/// Keeps the connection while deliveries are unacknowledged (their settling needs both connections), and the publisher's
/// until its batch is confirmed.
async fn drain(shared: &Shared, role: Role) -> Fault {
    shared.consuming.close();
    let _ = timeout(SETTLE_TIMEOUT, shared.consuming.wait()).await;
    if role == Role::Publisher {
        shared.link(role).live.send_replace(None);
        drop(shared.publishing.lock().await);
    }
    Fault::Ended("stopped".into())
}

async fn close(live: &LiveConnection) {
    if live.connection.status().connected() {
        // what comes of it does not matter: the broker takes an ended connection for closed as well
        let _ = timeout(CLOSE_TIMEOUT, live.connection.close(200, "bye".into())).await;
    }
}
