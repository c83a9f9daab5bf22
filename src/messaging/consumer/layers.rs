//! The stack around a listener, as tower layers. The response is an [`Outcome`]; an error is a failure that may pass.

use std::fmt;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use governor::{DefaultDirectRateLimiter, Quota};
use tokio::time::Sleep;
use tower::layer::layer_fn;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::util::{BoxCloneSyncService, option_layer};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt as _, service_fn};
use tracing::Instrument as _;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::db::Db;
use crate::failpoint;
use crate::messaging::consumer::lease::{Acquired, EVENT_LEASE, Lease};
use crate::messaging::message::{Message, Outcome};
use crate::telemetry;

/// A listener with its stack.
pub type Stack = Next<Arc<Message>>;

/// What a listener or a layer answers.
pub type Answer = Result<Outcome, BoxError>;

/// The rest of a stack, as axum calls it.
type Next<R> = BoxCloneSyncService<R, Outcome, BoxError>;

/// A message whose listener has an effect outside the database, with the right to have it.
#[derive(Clone, Debug)]
pub struct LeasedMessage {
    /// What travels.
    pub message: Arc<Message>,
    /// Asked in the last moment before the effect: [`Lease::is_held`].
    pub lease: Arc<Lease>,
}

/// How many calls go through in a minute, evenly, whoever makes them. Clones share it.
#[derive(Clone, Debug)]
pub struct RateLimit(Arc<DefaultDirectRateLimiter>);

impl RateLimit {
    /// So many a minute, without a burst.
    #[must_use]
    pub fn per_minute(calls: NonZeroU32) -> Self {
        RateLimit(Arc::new(DefaultDirectRateLimiter::direct(Quota::per_minute(calls).allow_burst(NonZeroU32::MIN))))
    }
}

/// The stack around a listener that marks the event in the transaction of its effect: exactly once.
pub fn transactional<F, A>(queue: &'static str, limit: Duration, listener: F) -> Stack
where
    F: Fn(Arc<Message>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let stack = ServiceBuilder::new()
        // a span named after the queue, in the trace of the request that caused the event
        .layer(from_fn(move |message, next| trace(queue, message, next)))
        // a panic is an error of this message alone
        .layer(from_fn(catch_panic))
        // a hiccup is waited out here instead of in a queue
        .layer(RetryLayer::new(ImmediateRetry::default()))
        // a listener that hangs gives its consumer back
        .layer(TimeoutLayer::new(limit));
    Stack::new(stack.service(service_fn(listener)))
}

/// The stack around a listener with an effect outside the database. The event is marked after it succeeded: at least once.
pub fn after_success<F, A>(
    queue: &'static str,
    inbox: (Db, Clock),
    rate: Option<RateLimit>,
    limit: Duration,
    listener: F,
) -> Stack
where
    F: Fn(LeasedMessage) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let stack = ServiceBuilder::new()
        .layer(from_fn(move |message, next| trace(queue, message, next)))
        .layer(from_fn(catch_panic))
        // what was done before is not done again, and by one at a time
        .layer(from_fn(move |message, next| once(inbox.clone(), queue, message, next)))
        .layer(RetryLayer::new(ImmediateRetry::default()))
        // who pays by the mail, or has a quota, says how fast
        .layer(option_layer(rate.map(|rate| from_fn(move |message, next| wait_for_rate(rate.clone(), message, next)))))
        .layer(TimeoutLayer::new(limit));
    Stack::new(stack.service(service_fn(listener)))
}

/// A layer of an async function that is given the request and the rest of the stack.
fn from_fn<Q, R, F, A, S>(
    function: F,
) -> impl Layer<
    S,
    Service = impl Service<Q, Response = Outcome, Error = BoxError, Future = A> + Clone + Send + Sync + use<Q, R, F, A, S>,
> + Clone
+ use<Q, R, F, A, S>
where
    F: Fn(Q, Next<R>) -> A + Clone + Send + Sync,
    A: Future<Output = Answer> + Send,
    S: Service<R, Response = Outcome, Error = BoxError, Future: Send + 'static> + Clone + Send + Sync + 'static,
    R: 'static,
{
    layer_fn(move |rest: S| {
        let (function, next) = (function.clone(), Next::new(rest));
        service_fn(move |request| function(request, next.clone()))
    })
}

async fn trace(queue: &'static str, message: Arc<Message>, next: Next<Arc<Message>>) -> Answer {
    let span =
        tracing::info_span!("listener", queue, event = %message.id, kind = message.kind, attempt = message.attempt);
    let trace = message.traceparent.clone().unwrap_or_else(telemetry::new_traceparent);
    telemetry::traced(trace, next.oneshot(message).instrument(span)).await
}

async fn catch_panic(message: Arc<Message>, next: Next<Arc<Message>>) -> Answer {
    // the call itself too: a listener may panic before its future exists
    let answer = AssertUnwindSafe(async { next.oneshot(message).await }).catch_unwind().await;
    answer.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        // it would panic again: an operator must look at it
        Ok(Outcome::Reject(format!("panicked: {}", text.unwrap_or_default())))
    })
}

async fn once(
    (db, clock): (Db, Clock),
    queue: &'static str,
    message: Arc<Message>,
    next: Next<LeasedMessage>,
) -> Answer {
    let lease = match Lease::acquire(&db, &clock, queue, message.id).await? {
        Acquired::Held(lease) => Arc::new(lease),
        Acquired::Done => return Ok(Outcome::Ack),
        // somebody else is at it, or ended while at it: whichever, it is tried when the lease ends
        Acquired::Contended(until) => return Ok(Outcome::Snooze((until - clock.now()).to_std().unwrap_or_default())),
    };
    failpoint::reach("lease.taken");
    let call = next.oneshot(LeasedMessage { message, lease: Arc::clone(&lease) });
    match lease.renewed_during(call).await {
        Some(Ok(Outcome::Ack)) => {
            retry_until_recorded(|| lease.mark()).await?;
            failpoint::reach("inbox.marked");
            Ok(Outcome::Ack)
        }
        Some(answer) => {
            // it ends by itself where this cannot be said
            if let Err(error) = lease.release().await {
                tracing::debug!(%error, queue, "cannot release a lease");
            }
            answer
        }
        // somebody else has taken this event over
        None => Ok(Outcome::Snooze(EVENT_LEASE)),
    }
}

async fn wait_for_rate<R>(rate: RateLimit, request: R, next: Next<R>) -> Answer {
    rate.0.until_ready().await;
    next.oneshot(request).await
}

/// Writes down an effect that is in the world. Not being able to say so would repeat it, so it is retried for about a
/// quarter of a minute.
///
/// # Errors
/// The last one of `write`.
pub async fn retry_until_recorded<E, W>(write: impl Fn() -> W) -> Result<(), E>
where
    E: fmt::Display,
    W: Future<Output = Result<(), E>>,
{
    for pause in Backoff::new(Duration::from_millis(50), Duration::from_secs(10)).take(8) {
        match write().await {
            Ok(()) => return Ok(()),
            // the last one is the caller's, who says so
            Err(error) => tracing::debug!(error = format!("{error:#}"), "done, but cannot write it down; trying again"),
        }
        tokio::time::sleep(pause).await;
    }
    write().await
}

/// Two tries more, at once, before a message is parked.
#[derive(Clone)]
struct ImmediateRetry(std::iter::Take<Backoff>);

impl Default for ImmediateRetry {
    fn default() -> Self {
        ImmediateRetry(Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).take(2))
    }
}

impl<R: Clone> tower::retry::Policy<R, Outcome, BoxError> for ImmediateRetry {
    type Future = Sleep;

    fn retry(&mut self, _: &mut R, answer: &mut Answer) -> Option<Sleep> {
        let error = answer.as_ref().err()?;
        // a listener that hung once will not be quick the second time
        if error.is::<tower::timeout::error::Elapsed>() {
            return None;
        }
        let pause = self.0.next()?;
        tracing::debug!(error, "trying again at once");
        Some(tokio::time::sleep(pause))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tempfile::TempDir;
    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;
    use tokio_util::task::TaskTracker;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::db::Location;

    /// A stack whose listener answers when it is let.
    struct Mails {
        db: Db,
        clock: Clock,
        stack: Stack,
        calls: Arc<AtomicUsize>,
        begun: Arc<Semaphore>,
        may_end: Arc<Semaphore>,
        answer: Arc<Mutex<Outcome>>,
        _folder: TempDir,
    }

    impl Mails {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let db = Db::open(&Location::Sqlite(folder.path().join("a.sqlite")), 2).await.unwrap();
            db.migrate().await.unwrap();
            let clock = Clock::default();
            let calls = Arc::new(AtomicUsize::new(0));
            let (begun, may_end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
            let answer = Arc::new(Mutex::new(Outcome::Ack));
            let stack = {
                let (calls, begun, may_end) = (Arc::clone(&calls), Arc::clone(&begun), Arc::clone(&may_end));
                let answer = Arc::clone(&answer);
                after_success("mail", (db.clone(), clock.clone()), None, Duration::from_hours(1), move |_| {
                    let (calls, begun, may_end) = (Arc::clone(&calls), Arc::clone(&begun), Arc::clone(&may_end));
                    let answer = Arc::clone(&answer);
                    async move {
                        calls.fetch_add(1, Ordering::SeqCst);
                        begun.add_permits(1);
                        may_end.acquire().await?.forget();
                        Ok(answer.lock().unwrap().clone())
                    }
                })
            };
            Mails { db, clock, stack, calls, begun, may_end, answer, _folder: folder }
        }

        async fn deliver(&self) -> Outcome {
            self.stack.clone().oneshot(message()).await.unwrap()
        }

        /// A delivery on a task of its own, whose listener is at it.
        async fn begin(&self) -> JoinHandle<Outcome> {
            let call = self.stack.clone().oneshot(message());
            let task = TaskTracker::new().spawn(async { call.await.unwrap() });
            self.begun.acquire().await.unwrap().forget();
            task
        }

        async fn leased_until(&self) -> Timestamp {
            self.db.query("select until from lease").one::<(Timestamp,)>().await.unwrap().0
        }
    }

    /// So much time passes for whoever sleeps.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn while_one_is_at_it_others_come_later_and_when_it_is_done_it_is_not_done_again() {
        let mails = Mails::new().await;
        let first = mails.begin().await;
        let second = mails.deliver().await;
        let Outcome::Snooze(wait) = second else { panic!("it must come again: {second:?}") };
        assert!(wait > EVENT_LEASE / 2 && wait <= EVENT_LEASE, "when the lease ends: {wait:?}");
        mails.may_end.add_permits(9);
        assert_eq!(first.await.unwrap(), Outcome::Ack);
        assert_eq!(mails.deliver().await, Outcome::Ack);
        assert_eq!(mails.calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_fails_keeps_nobody_waiting() {
        let mails = Mails::new().await;
        mails.may_end.add_permits(9);
        let later = Outcome::RetryLater { reason: "451".to_owned(), said: String::new() };
        *mails.answer.lock().unwrap() = later.clone();
        assert_eq!((mails.deliver().await, mails.deliver().await), (later.clone(), later));
        *mails.answer.lock().unwrap() = Outcome::Ack;
        assert_eq!(mails.deliver().await, Outcome::Ack);
        assert_eq!(mails.calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_lease_is_renewed_while_its_holder_works_and_who_has_lost_it_comes_later() {
        let mails = Mails::new().await;
        let first = mails.begin().await;
        mails.clock.advance(EVENT_LEASE * 9 / 10);
        let before = mails.leased_until().await;
        pass(EVENT_LEASE / 3).await;
        let renewed = async {
            while mails.leased_until().await == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("it is renewed");
        assert!(mails.leased_until().await > before + EVENT_LEASE / 2, "for a whole lease");

        // it stands still for longer than that, and somebody else acts
        mails.clock.advance(EVENT_LEASE * 2);
        let other = Lease::acquire(&mails.db, &mails.clock, "mail", Uuid::nil()).await.unwrap();
        assert!(matches!(other, Acquired::Held(_)), "{other:?}");
        pass(EVENT_LEASE / 3).await;
        assert_eq!(
            first.await.unwrap(),
            Outcome::Snooze(EVENT_LEASE),
            "it is not done: the other may end in the middle"
        );
    }

    fn message() -> Arc<Message> {
        let (id, kind) = (uuid::Uuid::nil(), "user.registered".to_owned());
        Arc::new(Message { id, kind, body: Vec::new(), traceparent: None, attempt: 0, failure: None })
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_tried_twice_more_at_once_and_what_hung_or_was_refused_is_not() {
        let calls = Arc::new(AtomicUsize::new(0));
        let called = async |listener: fn() -> Answer, hangs: bool| {
            calls.store(0, Ordering::SeqCst);
            let counted = Arc::clone(&calls);
            let stack = transactional("log", Duration::from_secs(30), move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move { if hangs { std::future::pending().await } else { listener() } }
            });
            let answer = stack.oneshot(message()).await;
            (answer.map_err(drop), calls.load(Ordering::SeqCst))
        };
        let began = tokio::time::Instant::now();
        assert_eq!(called(|| Err("hiccup".into()), false).await, (Err(()), 3));
        assert!(began.elapsed() < Duration::from_secs(1), "at once");
        assert_eq!(called(|| Ok(Outcome::Ack), true).await, (Err(()), 1));
        let refused = Outcome::Reject("no event".to_owned());
        assert_eq!(called(|| Ok(Outcome::Reject("no event".to_owned())), false).await, (Ok(refused), 1));
        assert_eq!(called(|| Ok(Outcome::Ack), false).await, (Ok(Outcome::Ack), 1));
    }

    #[tokio::test]
    async fn a_rate_limit_is_shared_by_its_clones_and_has_no_burst() {
        let rate = RateLimit::per_minute(NonZeroU32::MIN);
        let ack = |_: Arc<Message>| async { Ok::<_, BoxError>(Outcome::Ack) };
        let limited = |rate: RateLimit| wait_for_rate(rate, message(), Next::new(service_fn(ack)));
        assert_eq!(limited(rate.clone()).await.unwrap(), Outcome::Ack, "the first at once");
        assert!(limited(rate).now_or_never().is_none(), "the second when its time has come");
    }
}
