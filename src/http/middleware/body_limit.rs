//! A request's body, bounded in size and in time before anybody reads it (OWASP Denial of Service cheat sheet).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use crate::http::problem::Problem;

/// How large a body may be and how slowly it may come.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes, chunk framing not counted.
    pub size: usize,
    /// From the first look at the body to its end, however fast it comes.
    pub total: Duration,
    /// How long a body may come slower than `rate`.
    pub grace: Duration,
    /// Bytes per second.
    pub rate: u32,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { size: 16 * 1_024, total: Duration::from_secs(15), grace: Duration::from_secs(5), rate: 240 }
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body crossed its limits: {self:?}")]
pub enum BodyLimitError {
    /// Longer than [`BodyLimits::size`].
    TooLarge,
    /// Slower than [`BodyLimits`] allow.
    TooSlow,
    /// The connection broke, or the chunks were malformed.
    Broken,
}

impl BodyLimitError {
    /// What is told of it: not by `From`, because a [`Problem`] made of any error is a 500.
    #[must_use]
    pub fn problem(self) -> Problem {
        match self {
            Self::TooLarge => Problem::of(StatusCode::PAYLOAD_TOO_LARGE),
            Self::TooSlow => Problem::of(StatusCode::REQUEST_TIMEOUT),
            Self::Broken => {
                Problem::new(StatusCode::BAD_REQUEST, "bad-request", "The body could not be read to its end.")
            }
        }
    }
}

/// The layer that limits the body. One that says it is too large is refused unread; one that lies, or does not say, is
/// cut where the limit is.
pub async fn limit_body(State(limits): State<BodyLimits>, request: Request, next: Next) -> Response {
    let told = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut response = if told.is_some_and(|told| told > limits.size) {
        BodyLimitError::TooLarge.problem().into_response()
    } else {
        let request =
            request.map(|body| if body.is_end_stream() { body } else { Body::new(LimitedBody::new(body, limits)) });
        next.run(request).await
    };
    if matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads a body to its end.
///
/// # Errors
/// When it crosses the limits that [`limit_body`] set, or breaks off.
pub async fn read(body: Body) -> Result<Bytes, BodyLimitError> {
    match body.collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) => Err(limit_error(&error)),
    }
}

/// Finds our error under the wrappers that axum put around it.
fn limit_error(error: &(dyn std::error::Error + 'static)) -> BodyLimitError {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref().copied())
        .unwrap_or(BodyLimitError::Broken)
}

/// A body that fails when it crosses its limits.
struct LimitedBody {
    inner: Body,
    limits: BodyLimits,
    received: usize,
    // Made when the body first keeps us waiting: most arrive with their headers.
    clock: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl LimitedBody {
    fn new(inner: Body, limits: BodyLimits) -> Self {
        Self { inner, limits, received: 0, clock: None }
    }

    /// Until when the next bytes must be here.
    fn deadline(&self, start: Instant) -> Instant {
        let earned = Duration::from_secs(self.received as u64) / self.limits.rate.max(1);
        start + self.limits.total.min(self.limits.grace + earned)
    }
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let start = this.clock.as_ref().map_or_else(Instant::now, |(start, _)| *start);
            let deadline = this.deadline(start);
            let (_, sleep) = this.clock.get_or_insert_with(|| (start, Box::pin(tokio::time::sleep_until(deadline))));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            return Poll::Ready(Some(Err(BodyLimitError::TooSlow.into())));
        };
        if let Some(Ok(frame)) = &frame {
            this.received = this.received.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if this.received > this.limits.size {
                return Poll::Ready(Some(Err(BodyLimitError::TooLarge.into())));
            }
            // Bytes that trickle in are always ready at once, so the time must be looked at here too.
            if this.clock.as_ref().is_some_and(|(start, _)| start.elapsed() > this.limits.total) {
                return Poll::Ready(Some(Err(BodyLimitError::TooSlow.into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
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
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt as _};

    use super::*;

    /// A body of `count` pieces of `size` bytes, each after `pause`.
    fn dribble(count: usize, size: usize, pause: Duration) -> Body {
        let pieces = stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from(vec![b'a'; size]))
        });
        Body::new(LimitedBody::new(Body::from_stream(pieces), BodyLimits::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_within_its_limits_arrives_whole() {
        let body = dribble(16, 1_024, Duration::from_millis(900));
        assert_eq!(read(body).await.unwrap().len(), 16 * 1_024);
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_too_many_is_too_large() {
        let exact = Body::new(LimitedBody::new(Body::from(vec![0; 16 * 1_024]), BodyLimits::default()));
        assert!(read(exact).await.is_ok());
        let over = Body::new(LimitedBody::new(Body::from(vec![0; 16 * 1_024 + 1]), BodyLimits::default()));
        assert_eq!(read(over).await, Err(BodyLimitError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_a_second_is_too_slow_soon_after_the_grace() {
        let start = Instant::now();
        assert_eq!(read(dribble(1_000, 1, Duration::from_secs(1))).await, Err(BodyLimitError::TooSlow));
        assert!((5..7).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_fast_enough_still_ends_with_the_total() {
        let start = Instant::now();
        assert_eq!(read(dribble(1_000, 250, Duration::from_secs(1))).await, Err(BodyLimitError::TooSlow));
        assert!((14..17).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_is_too_slow() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(read(Body::new(LimitedBody::new(body, BodyLimits::default()))).await, Err(BodyLimitError::TooSlow));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_broken() {
        let body = Body::from_stream(stream::iter([Ok(Bytes::from("a")), Err(std::io::Error::other("reset"))]));
        assert_eq!(read(Body::new(LimitedBody::new(body, BodyLimits::default()))).await, Err(BodyLimitError::Broken));
    }
}
