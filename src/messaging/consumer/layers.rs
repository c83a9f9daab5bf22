//! The stack around a listener, as tower layers, outermost first: trace, catch panic, inbox, retry, pace, timeout.
//!
//! The request is a [`Message`], the response an [`Outcome`], an error means "try again later".

use std::fmt;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder};
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::db::Db;
use crate::failpoint;
use crate::messaging::consumer::lease::Asked;
use crate::messaging::consumer::lease::LEASE;
use crate::messaging::consumer::lease::Lease;
use crate::messaging::message::{Message, Outcome};
use crate::telemetry;

/// A listener with its stack.
pub type Stack = BoxCloneSyncService<Arc<Message>, Outcome, BoxError>;

/// How often a listener is tried again at once before its message is parked, and the first pause between.
const QUICK: u32 = 2;
const PAUSE: Duration = Duration::from_millis(50);

/// An error that quick tries cannot help: somebody outside said "later".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotNow(pub String);

/// When an event is marked as done by a listener.
#[derive(Clone, Debug)]
pub enum Inbox {
    /// By the listener itself, in the transaction of its effect: exactly once.
    InTransaction,
    /// After it succeeded, for effects outside the database: at least once.
    AfterSuccess(Db, Clock),
}

/// How fast calls go through: one every so often, whoever makes them. Clones share it.
#[derive(Clone, Debug)]
pub struct Pace {
    every: Duration,
    next: Arc<Mutex<Instant>>,
}

impl Pace {
    /// So many a minute, evenly; to be made inside a runtime.
    #[must_use]
    pub fn per_minute(calls: NonZeroU32) -> Self {
        Pace { every: Duration::from_mins(1) / calls.get(), next: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits for the next turn.
    async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + self.every;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

/// Puts the stack around a listener.
pub fn stack<S>(queue: &'static str, inbox: Inbox, pace: Option<Pace>, limit: Duration, listener: S) -> Stack
where
    S: Service<Arc<Message>, Response = Outcome, Error = BoxError, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            // a span named after the queue, in the trace of the request that caused the event
            .layer(Around { queue, wrap: trace })
            // a panic is an error of this message alone
            .layer(Around { queue, wrap: catch_panic })
            // what was done before is not done again
            .layer(MarkLayer { queue, inbox })
            // a hiccup is waited out here instead of in a queue
            .layer(tower::retry::RetryLayer::new(Quick { left: QUICK }))
            // who pays by the mail, or has a quota, says how fast
            .layer(tower::util::option_layer(pace))
            // a listener that hangs gives its consumer back
            .layer(tower::timeout::TimeoutLayer::new(limit))
            .service(listener),
    )
}

type Answer = Result<Outcome, BoxError>;
type Wrap = fn(&'static str, &Message, BoxFuture<'static, Answer>) -> BoxFuture<'static, Answer>;

/// A layer that wraps the future of each call.
#[derive(Clone, Copy)]
struct Around {
    queue: &'static str,
    wrap: Wrap,
}

#[derive(Clone)]
struct AroundService<S> {
    inner: S,
    around: Around,
}

impl<S> Layer<S> for Around {
    type Service = AroundService<S>;
    fn layer(&self, inner: S) -> Self::Service {
        AroundService { inner, around: *self }
    }
}

impl<S> Service<Arc<Message>> for AroundService<S>
where
    S: Service<Arc<Message>, Response = Outcome, Error = BoxError, Future: Send + 'static>,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, message: Arc<Message>) -> Self::Future {
        let answer = self.inner.call(Arc::clone(&message)).boxed();
        (self.around.wrap)(self.around.queue, &message, answer)
    }
}

fn trace(queue: &'static str, message: &Message, answer: BoxFuture<'static, Answer>) -> BoxFuture<'static, Answer> {
    let span =
        tracing::info_span!("listener", queue, event = %message.id, kind = message.kind, attempt = message.attempt);
    let trace = message.traceparent.clone().unwrap_or_else(telemetry::new_traceparent);
    telemetry::traced(trace, answer.instrument(span)).boxed()
}

fn catch_panic(_: &'static str, _: &Message, answer: BoxFuture<'static, Answer>) -> BoxFuture<'static, Answer> {
    AssertUnwindSafe(answer)
        .catch_unwind()
        .map(|caught| {
            caught.unwrap_or_else(|panic| {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned());
                // it would panic again: an operator must look at it
                Ok(Outcome::Reject(format!("panicked: {}", text.unwrap_or_default())))
            })
        })
        .boxed()
}

/// A service whose calls wait for their turn.
#[derive(Clone)]
pub struct Paced<S> {
    inner: S,
    pace: Pace,
}

impl<S> Layer<S> for Pace {
    type Service = Paced<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Paced { inner, pace: self.clone() }
    }
}

impl<S> Service<Arc<Message>> for Paced<S>
where
    S: Service<Arc<Message>, Response = Outcome, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, message: Arc<Message>) -> Self::Future {
        let waiting = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, waiting);
        let pace = self.pace.clone();
        async move {
            pace.turn().await;
            inner.call(message).await
        }
        .boxed()
    }
}

#[derive(Clone)]
struct MarkLayer {
    queue: &'static str,
    inbox: Inbox,
}

#[derive(Clone)]
struct Mark<S> {
    inner: S,
    layer: MarkLayer,
}

impl<S> Layer<S> for MarkLayer {
    type Service = Mark<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Mark { inner, layer: self.clone() }
    }
}

impl<S> Service<Arc<Message>> for Mark<S>
where
    S: Service<Arc<Message>, Response = Outcome, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, message: Arc<Message>) -> Self::Future {
        let Inbox::AfterSuccess(db, clock) = self.layer.inbox.clone() else { return self.inner.call(message).boxed() };
        let queue = self.layer.queue;
        // the one that is ready goes into the future, its clone waits for the next call
        let waiting = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, waiting);
        async move {
            let lease = match Lease::ask(&db, &clock, queue, message.id).await? {
                Asked::Taken(lease) => Arc::new(lease),
                Asked::Done => return Ok(Outcome::Ack),
                // somebody else is at it, or ended while at it: whichever, this one's turn is when the lease ends
                Asked::Theirs(until) => return Ok(Outcome::Later((until - clock.now()).to_std().unwrap_or_default())),
            };
            failpoint::reach("lease.taken");
            let outcome = lease.hold(inner.call(message)).await;
            match outcome {
                Some(Ok(Outcome::Ack)) => mark_done(&lease).await,
                Some(other) => {
                    // it ends by itself where this cannot be said
                    if let Err(error) = lease.give_up().await {
                        tracing::debug!(%error, queue, "cannot give a lease up");
                    }
                    other
                }
                // somebody else has taken this event over
                None => Ok(Outcome::Later(LEASE)),
            }
        }
        .boxed()
    }
}

async fn mark_done(lease: &Lease) -> Answer {
    insist(|| lease.mark()).await?;
    failpoint::reach("inbox.marked");
    Ok(Outcome::Ack)
}

/// Writes down an effect that is in the world. Not being able to say so would repeat it, so this is worth some patience: about
/// a quarter of a minute.
///
/// # Errors
/// The last one of `write`.
pub async fn insist<E, W>(write: impl Fn() -> W) -> Result<(), E>
where
    E: fmt::Display,
    W: Future<Output = Result<(), E>>,
{
    let mut pause = PAUSE;
    loop {
        match write().await {
            Err(error) if pause <= Duration::from_secs(10) => {
                tracing::warn!(error = format!("{error:#}"), "done, but cannot write it down; trying again");
            }
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// A few quick tries.
#[derive(Clone, Copy)]
struct Quick {
    left: u32,
}

impl tower::retry::Policy<Arc<Message>, Outcome, BoxError> for Quick {
    type Future = BoxFuture<'static, ()>;

    fn retry(&mut self, _: &mut Arc<Message>, result: &mut Answer) -> Option<Self::Future> {
        let error = result.as_ref().err()?;
        // a listener that hung once will not be quick the second time
        if self.left == 0 || error.is::<tower::timeout::error::Elapsed>() || error.is::<NotNow>() {
            return None;
        }
        let pause = PAUSE * 4_u32.pow(QUICK - self.left);
        self.left -= 1;
        tracing::debug!(error, "trying again at once");
        Some(tokio::time::sleep(pause).boxed())
    }

    fn clone_request(&mut self, message: &Arc<Message>) -> Option<Arc<Message>> {
        Some(Arc::clone(message))
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    fn message() -> Arc<Message> {
        let (id, kind) = (uuid::Uuid::nil(), "user.registered".to_owned());
        Arc::new(Message { id, kind, body: Vec::new(), traceparent: None, attempt: 0, failure: None })
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_even_and_shared() {
        let pace = Pace::per_minute(NonZeroU32::new(120).unwrap());
        let done = tower::service_fn(|_: Arc<Message>| async { Ok::<_, BoxError>(Outcome::Ack) });
        let (one, other) = (pace.layer(done), pace.layer(done));
        let began = Instant::now();
        let calls = (0..6).map(|n| if n % 2 == 0 { one.clone() } else { other.clone() }.oneshot(message()));
        for outcome in futures_util::future::join_all(calls).await {
            assert_eq!(outcome.unwrap(), Outcome::Ack);
        }
        assert_eq!(began.elapsed(), Duration::from_millis(2_500), "the first at once, the others every half second");
        tokio::time::sleep(Duration::from_mins(5)).await;
        let later = Instant::now();
        one.clone().oneshot(message()).await.unwrap();
        assert_eq!(later.elapsed(), Duration::ZERO, "a quiet time is not saved up");
        one.oneshot(message()).await.unwrap();
        assert_eq!(later.elapsed(), Duration::from_millis(500));
    }
}
