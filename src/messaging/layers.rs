//! The stack around a listener, as tower layers, outermost first: trace, catch panic, inbox, retry, timeout.
//!
//! The request is a [`Message`], the response an [`Outcome`], an error means "try again later".

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder};
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::db::Db;
use crate::messaging::lease::{Asked, Lease};
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

/// Puts the stack around a listener.
pub fn stack<S>(queue: &'static str, inbox: Inbox, limit: Duration, listener: S) -> Stack
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
            let outcome = lease.hold(inner.call(message)).await;
            match outcome {
                Some(Ok(Outcome::Ack)) => mark_done(&lease, queue).await,
                Some(other) => {
                    // it ends by itself where this cannot be said
                    if let Err(error) = lease.give_up().await {
                        tracing::debug!(%error, queue, "cannot give a lease up");
                    }
                    other
                }
                None => Err(NotNow("somebody else has taken this event over".to_owned()).into()),
            }
        }
        .boxed()
    }
}

/// The effect is in the world: not being able to say so would repeat it, so this is worth some patience.
async fn mark_done(lease: &Lease, queue: &str) -> Answer {
    let mut pause = PAUSE;
    loop {
        match lease.mark().await {
            Ok(()) => return Ok(Outcome::Ack),
            Err(error) if pause > Duration::from_secs(10) => return Err(error.into()),
            Err(error) => tracing::warn!(%error, queue, "done, but cannot mark it as done; trying again"),
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
