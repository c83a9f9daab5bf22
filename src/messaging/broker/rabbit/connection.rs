//! One supervisor per connection: connect, make ready, watch, and on any error or time-out drop everything and begin again.
//!
//! lapin's own recovery stays off: while it waits, confirms hang without an error, a consumer whose channel failed
//! stays silent for ever, and a connection can call itself connected with a dead channel.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use secrecy::ExposeSecret as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Fault, Shared, declare, within};

/// To be connected and authenticated.
const CONNECT: Duration = Duration::from_secs(5);
/// To say goodbye; a blocked connection never gets an answer.
const CLOSE: Duration = Duration::from_secs(1);
/// To open a channel, which the broker does at once if it does anything.
const PROBE: Duration = Duration::from_secs(2);
/// What is in hand when we are told to stop may take this long.
pub(super) const GRACE: Duration = Duration::from_secs(25);
/// Seconds between heartbeats where the URL names none: a silent peer is noticed after twice that.
const HEARTBEAT: u16 = 10;
/// How often the state is looked at beside lapin's events, which do not tell of every end.
const LOOK: Duration = Duration::from_millis(500);
/// How often what was found wrong with the topology is looked at again: somebody may have mended it.
const RECHECK: Duration = Duration::from_mins(1);
/// The least time between two declarations that somebody asked for.
const REDECLARE: Duration = Duration::from_secs(1);

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
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) over: CancellationToken,
    doubted: AtomicBool,
    doubt: Notify,
}

impl Live {
    /// Something on it took too long. It is used by nobody until its supervisor has found out whether all of it is
    /// silent, or just the queue that was asked (a quorum queue without a leader, say), which must not cost the others
    /// their connection.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
        self.doubt.notify_one();
    }

    fn is_usable(&self) -> bool {
        !self.over.is_cancelled() && !self.doubted.load(Ordering::Relaxed)
    }
}

/// Where the users of a connection find the one that works now.
pub(super) struct Link {
    live: watch::Sender<Option<Arc<Live>>>,
    started: AtomicBool,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { live: watch::Sender::new(None), started: AtomicBool::new(false) }
    }

    /// The connection, if there is one at this moment.
    pub(super) fn now(&self) -> Option<Arc<Live>> {
        self.live.borrow().clone().filter(|live| live.is_usable())
    }

    /// The connection, as soon as there is one.
    pub(super) async fn next(&self) -> Option<Arc<Live>> {
        let is_usable = |live: &Option<Arc<Live>>| live.as_ref().is_some_and(|live| live.is_usable());
        self.live.subscribe().wait_for(is_usable).await.ok()?.clone()
    }
}

/// How a connection is, for [`Health`](crate::messaging::broker::Health).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Away(String),
}

/// Starts the supervisor of a role, once.
pub(super) fn start(shared: &Arc<Shared>, role: Role) {
    if !shared.link(role).started.swap(true, Ordering::Relaxed) {
        shared.tell(role, State::Away("not connected yet".into()));
        shared.tasks.spawn(supervise(Arc::clone(shared), role));
    }
}

async fn supervise(shared: Arc<Shared>, role: Role) {
    let mut backoff = Backoff::default();
    let mut told = false;
    while !shared.stop.is_cancelled() {
        let began = Instant::now();
        // not cut short by `stop`: lapin's thread must not be left connecting while the runtime goes away
        let fault = match open(&shared, role).await {
            Ok(live) => {
                told = false;
                tracing::info!(%role, "connected to the broker");
                shared.tell(role, State::Up);
                shared.link(role).live.send_replace(Some(Arc::clone(&live)));
                let fault = hold(&shared, role, &live).await;
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
        if std::mem::replace(&mut told, true) {
            tracing::debug!(%role, %fault, "still no connection to the broker");
        } else {
            tracing::warn!(%role, %fault, "no connection to the broker, trying again until there is one");
        }
        shared.tell(role, State::Away(fault.to_string()));
        tokio::select! {
            () = sleep(backoff.pause(began.elapsed(), fault.is_refusal())) => {}
            () = shared.stop.cancelled() => {}
        }
    }
    shared.tell(role, State::Away("stopped".into()));
}

async fn open(shared: &Shared, role: Role) -> Result<Arc<Live>, Fault> {
    let mut uri: AMQPUri =
        shared.url.expose_secret().parse().map_err(|_| Fault::Ended("the URL cannot be read".into()))?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    uri.query.connection_timeout.get_or_insert(u64::try_from(CONNECT.as_millis()).unwrap_or(u64::MAX));
    let properties = ConnectionProperties::default().with_connection_name(format!("{} {role}", shared.name).into());
    let connection = within(CONNECT, "connecting", Connection::connect_uri(uri, properties)).await?;
    let (over, doubt) = (CancellationToken::new(), Notify::new());
    let live = Arc::new(Live { connection, over, doubted: AtomicBool::new(false), doubt });
    if role == Role::Publisher
        && let Err(fault) = declare::all(shared, &live).await
    {
        close(&live).await;
        return Err(fault);
    }
    Ok(live)
}

/// Watches over a connection that works; gives the reason why it does no longer.
async fn hold(shared: &Shared, role: Role, live: &Live) -> Fault {
    let connection = &live.connection;
    let mut events = Box::pin(connection.events_listener());
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut declared = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return wind_up(shared, role).await,
            () = live.doubt.notified() => {
                if let Err(fault) = probe(live).await {
                    return fault;
                }
                live.doubted.store(false, Ordering::Relaxed);
                // wakes who waits for a usable one
                shared.link(role).live.send_modify(|_| {});
            }
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) if role == Role::Publisher => {
                    tracing::warn!(%role, reason, "the broker takes no messages for now");
                    shared.report.send_modify(|report| report.blocked = Some(reason));
                }
                Some(Event::ConnectionUnblocked) if role == Role::Publisher => {
                    tracing::info!(%role, "the broker takes messages again");
                    shared.report.send_modify(|report| report.blocked = None);
                }
                // errors of channels come here too, and those are the business of who has the channel
                Some(Event::Error(error)) if !connection.status().connected() => return Fault::Broker(error),
                Some(_) => {}
                None => return Fault::Ended("closed".into()),
            },
            _ = look.tick() => {
                if !connection.status().connected() {
                    return Fault::Ended("closed by the broker".into());
                }
                if role == Role::Publisher && declared.elapsed() >= RECHECK && shared.found_wrong() {
                    shared.redeclare.notify_one();
                }
            }
            () = shared.redeclare.notified(), if role == Role::Publisher && declared.elapsed() >= REDECLARE => {
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
async fn probe(live: &Live) -> Result<(), Fault> {
    let channel = within(PROBE, "any answer of the broker", live.connection.create_channel()).await?;
    within(PROBE, "any answer of the broker", channel.close(200, "done".into())).await
}

/// Keeps the connection while deliveries are in hand (their settling needs both connections), and the publisher's
/// until its batch is confirmed.
async fn wind_up(shared: &Shared, role: Role) -> Fault {
    shared.consuming.close();
    let _ = timeout(GRACE, shared.consuming.wait()).await;
    if role == Role::Publisher {
        shared.link(role).live.send_replace(None);
        drop(shared.desk.lock().await);
    }
    Fault::Ended("stopped".into())
}

async fn close(live: &Live) {
    if live.connection.status().connected() {
        // what comes of it does not matter: the broker takes an ended connection for closed as well
        let _ = timeout(CLOSE, live.connection.close(200, "bye".into())).await;
    }
}

/// Full jitter: a random part of a span that doubles from 200 ms to 15 s, and starts over after a minute that went well.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(15);
    const HEALTHY: Duration = Duration::from_mins(1);

    /// How long to wait after something that lasted `lived`. A refusal (wrong password, no such virtual host) is not
    /// mended by hurrying: it waits at least half of the longest span.
    pub(super) fn pause(&mut self, lived: Duration, refused: bool) -> Duration {
        if lived >= Self::HEALTHY {
            self.failures = 0;
        }
        let span = (Self::FIRST * 2_u32.pow(self.failures.min(10))).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        if refused { Self::LONGEST / 2 + part(Self::LONGEST / 2) } else { part(span) }
    }
}

/// A random part of `span`; all of it where the system has no randomness to give.
fn part(span: Duration) -> Duration {
    let nanoseconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
    getrandom::u64().map_or(span, |random| Duration::from_nanos(random % nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_never_pass_the_span_and_start_over_after_a_healthy_minute() {
        let mut backoff = Backoff::default();
        for span in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000] {
            assert!(backoff.pause(Duration::ZERO, false) <= Duration::from_millis(span));
        }
        assert!(backoff.pause(Backoff::HEALTHY, false) <= Backoff::FIRST);
    }

    #[test]
    fn a_refusal_is_not_hurried() {
        let mut backoff = Backoff::default();
        assert!(backoff.pause(Duration::ZERO, true) >= Duration::from_millis(7_500));
    }
}
