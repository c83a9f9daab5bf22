//! Requests that have begun to arrive and have not arrived whole: the memory that they hold is bounded in sum.
//!
//! A stranger who sends the first half of many requests would else fill memory with them until their time is over. Past the bound
//! the connections whose request has been on its way for longest are closed. Whoever sends a request whole is never among them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use hyper::Request;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

/// What half a request costs however little of it has come: the first buffer of a connection.
const MIN_BYTES: usize = 8 * 1_024;

/// How far the size of a head may be off that is worked out from what was parsed of it.
const SLACK: usize = 1_024;

/// The requests that are on their way, of all connections.
#[derive(Debug)]
pub(super) struct Arrivals {
    max_bytes: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: usize,
    next: u64,
    /// Longest waiting first.
    requests: BTreeMap<u64, Held>,
}

/// What a request holds, and how its connection is told to close.
#[derive(Debug)]
struct Held {
    bytes: usize,
    close: CancellationToken,
}

impl Arrivals {
    /// May hold `max_bytes` together.
    pub(super) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, waiting: Mutex::default() })
    }

    /// For a connection that has been opened.
    pub(super) fn connection(self: &Arc<Self>) -> Arc<Arrival> {
        Arc::new(Arrival { all: Arc::clone(self), close: CancellationToken::new(), progress: Mutex::default() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request that is waited for, behind all others.
    fn add(&self, bytes: usize, close: CancellationToken) -> u64 {
        let mut waiting = self.waiting();
        let place = waiting.next;
        waiting.next += 1;
        waiting.requests.insert(place, Held { bytes: 0, close });
        waiting.set(place, bytes, self.max_bytes);
        place
    }

    fn set(&self, place: u64, bytes: usize) {
        self.waiting().set(place, bytes, self.max_bytes);
    }

    fn remove(&self, place: u64) {
        let mut waiting = self.waiting();
        if let Some(held) = waiting.requests.remove(&place) {
            waiting.bytes -= held.bytes;
        }
    }
}

impl Waiting {
    fn set(&mut self, place: u64, bytes: usize, max_bytes: usize) {
        let Some(held) = self.requests.get_mut(&place) else { return };
        let bytes = bytes.max(MIN_BYTES);
        self.bytes = self.bytes - held.bytes + bytes;
        held.bytes = bytes;
        while self.bytes > max_bytes
            && let Some((_, oldest)) = self.requests.pop_first()
        {
            self.bytes -= oldest.bytes;
            oldest.close.cancel();
        }
    }
}

/// The request that is on its way on one connection, if one is.
#[derive(Debug)]
pub(super) struct Arrival {
    all: Arc<Arrivals>,
    close: CancellationToken,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Of a request that has not been handed on.
    bytes: usize,
    /// Among those that are waited for. One that comes at once never has one.
    place: Option<u64>,
}

impl Arrival {
    /// Ends when the connection is to be closed.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Bytes came.
    pub(super) fn received(&self, bytes: usize) {
        let mut progress = self.progress();
        progress.bytes += bytes;
        if let Some(place) = progress.place {
            self.all.set(place, progress.bytes);
        }
    }

    /// No more bytes are there for now.
    pub(super) fn waits(&self) {
        let mut progress = self.progress();
        if progress.bytes > 0 && progress.place.is_none() {
            progress.place = Some(self.all.add(progress.bytes, self.close.clone()));
        }
    }

    /// A request is here whole, or nobody wants the rest of it. It was so many bytes; what came beyond them is of the next one.
    fn arrived(&self, bytes: usize) {
        let mut progress = self.progress();
        let more = progress.bytes.saturating_sub(bytes);
        progress.bytes = if more < SLACK { 0 } else { more };
        if let Some(place) = progress.place.take() {
            self.all.remove(place);
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(place) = self.progress().place {
            self.all.remove(place);
        }
    }
}

/// A request whose head is here; what is still to come of its body is counted.
pub(super) fn with_body(arrival: &Arc<Arrival>, request: Request<Incoming>) -> Request<Body> {
    let head = head_bytes(&request);
    request.map(|body| {
        if body.is_end_stream() {
            arrival.arrived(head);
            Body::new(body)
        } else {
            Body::new(ArrivingBody { inner: body, bytes: head, arrival: Some(Arc::clone(arrival)) })
        }
    })
}

/// About the size of a request's line and headers, never more.
fn head_bytes<T>(request: &Request<T>) -> usize {
    let line = request.method().as_str().len() + request.uri().path().len() + request.uri().query().map_or(0, str::len);
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + headers.sum::<usize>()
}

/// A body that says when it has arrived.
struct ArrivingBody {
    inner: Incoming,
    /// Of the head, and of the body so far.
    bytes: usize,
    arrival: Option<Arc<Arrival>>,
}

impl ArrivingBody {
    fn end(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            arrival.arrived(self.bytes);
        }
    }
}

impl Drop for ArrivingBody {
    fn drop(&mut self) {
        self.end();
    }
}

impl http_body::Body for ArrivingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.bytes += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => self.end(),
        }
        if self.inner.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_bound_who_has_waited_longest_is_closed() {
        let all = Arrivals::new(40_000);
        let connections: Vec<_> = (0..4).map(|_| all.connection()).collect();
        for connection in &connections {
            connection.received(100);
            connection.waits();
        }
        let closed = || connections.iter().map(|connection| connection.close.is_cancelled()).collect::<Vec<_>>();
        assert_eq!((closed(), all.waiting().bytes), (vec![false; 4], 4 * MIN_BYTES));
        // 4 × 8,192 and another 11,808 for the third
        connections[2].received(19_900);
        assert_eq!(closed(), [true, false, false, false]);
        connections[0].received(1);
        connections[0].waits();
        assert_eq!(all.waiting().bytes, 20_000 + 2 * MIN_BYTES, "who is closed is not counted again");
        connections[2].arrived(20_000);
        assert_eq!(all.waiting().bytes, 2 * MIN_BYTES);
        drop(connections);
        let waiting = all.waiting();
        assert_eq!((waiting.bytes, waiting.requests.len()), (0, 0));
    }

    #[test]
    fn a_request_that_comes_at_once_is_not_waited_for_and_one_that_follows_it_is() {
        let all = Arrivals::new(0);
        let connection = all.connection();
        connection.waits();
        connection.received(500);
        connection.arrived(480);
        connection.waits();
        assert!(!connection.close.is_cancelled());
        connection.received(10_500);
        connection.arrived(500);
        connection.waits();
        assert!(connection.close.is_cancelled(), "the second one has begun and is not here");
    }
}
