//! Everything that goes wrong, in one type: [`render_problem`](super::middleware::render_problem) writes it out.
//!
//! An error that is ours (`?` on anything) becomes a 500 without details, or a 503 when it only says "not now".

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::db;
use crate::error::{Away, OverBudget, Overloaded};

/// When to come back to something that is overloaded or away.
const RETRY_SOON: Duration = Duration::from_secs(2);

/// What went wrong, in words that may be told to a stranger.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status of the answer, 4xx or 5xx.
    pub status: StatusCode,
    /// A word for programs, and the key of the page's text: `not-found`, `too-many-requests`.
    pub code: &'static str,
    /// One English sentence for the developer of a program; never made of user text, SQL, paths or versions.
    pub detail: Option<&'static str>,
    /// When to come back; told in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// The fields that were refused, each with a sentence why.
    pub fields: Vec<FieldProblem>,
    /// The error of ours behind it, for the log.
    pub(in crate::http) cause: Option<Arc<anyhow::Error>>,
}

/// Why a field was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field's name in the API.
    pub field: &'static str,
    /// A sentence for the person who filled it in.
    pub detail: String,
}

impl Problem {
    /// A problem with a code of its own.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { code, detail: Some(detail), ..Self::of(status) }
    }

    /// A problem of which there is no more to say than its status.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST => "bad-request",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not-found",
            StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
            StatusCode::REQUEST_TIMEOUT => "request-timeout",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
            StatusCode::MISDIRECTED_REQUEST => "misdirected",
            StatusCode::UNPROCESSABLE_ENTITY => "unprocessable",
            StatusCode::TOO_MANY_REQUESTS => "too-many-requests",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            status if status.is_client_error() => "refused",
            _ => "internal",
        };
        Self { status, code, detail: None, retry_after: None, fields: Vec::new(), cause: None }
    }

    /// Too many requests (429): come back after `wait`.
    #[must_use]
    pub fn too_many_requests(wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::of(StatusCode::TOO_MANY_REQUESTS) }
    }

    /// No capacity at the moment (503): come back after `wait`.
    #[must_use]
    pub fn unavailable(wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::of(StatusCode::SERVICE_UNAVAILABLE) }
    }

    /// Adds a field that was refused.
    #[must_use]
    pub fn with_field(mut self, field: &'static str, detail: impl Into<String>) -> Self {
        self.fields.push(FieldProblem { field, detail: detail.into() });
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        let error = error.into();
        if error.is::<Overloaded>() {
            // nothing is broken: there is just more to hash than threads to hash it
            return Self::unavailable(RETRY_SOON);
        }
        if let Some(OverBudget(wait)) = error.downcast_ref() {
            return Self::too_many_requests(*wait);
        }
        let status = if error.is::<Away>() || db::is_unavailable(&error) {
            Self::unavailable(RETRY_SOON)
        } else {
            Self::of(StatusCode::INTERNAL_SERVER_ERROR)
        };
        Self { cause: Some(Arc::new(error)), ..status }
    }
}

/// Says when to come back, in whole seconds and never in none.
#[must_use]
pub fn with_retry_after(mut response: Response, wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(wait) = self.retry_after {
            response = with_retry_after(response, wait);
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_told_in_whole_seconds_and_never_zero() {
        for (wait, told) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (61_500, "62")] {
            let response = Problem::too_many_requests(Duration::from_millis(wait)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], told);
        }
    }

    #[test]
    fn what_says_not_now_is_503_and_anything_else_500() {
        let of = |error: anyhow::Error| Problem::from(error);
        assert_eq!(of(Overloaded.into()).status, StatusCode::SERVICE_UNAVAILABLE);
        let away = of(anyhow::Error::from(Away(anyhow::anyhow!("no broker"))).context("cannot list the queues"));
        assert_eq!((away.status, away.cause.is_some()), (StatusCode::SERVICE_UNAVAILABLE, true));
        assert_eq!(of(anyhow::anyhow!("a mistake")).status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
