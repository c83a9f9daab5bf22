//! `/api/v1/admin`: what administrators' programs see and do. To everybody else nothing of it is there.

use axum::Json as Answer;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::user;
use crate::error::Away;
use crate::http::api::ProblemDetails;
use crate::http::problem::Problem;
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::http::state::query;
use crate::messaging::operator::{DeadLetter, DeadLetterFilter, QueueState};

/// How every queue fares.
#[derive(Serialize, ToSchema)]
pub struct Queues {
    /// One for each listener.
    items: Vec<Fares>,
}

/// How a listener's queue fares.
#[derive(Serialize, ToSchema)]
pub struct Fares {
    /// The queue's short name.
    queue: String,
    /// Messages that are ready to be taken.
    depth: u64,
    /// Messages that a consumer has and has not settled.
    in_hand: u64,
    /// Messages that wait for another attempt.
    waiting: u64,
    /// Dead letters.
    dead: u64,
    /// When the oldest event happened that is neither done nor dead.
    oldest: Option<DateTime<Utc>>,
    /// Consumers, of all processes.
    consumers: u64,
    /// Messages done within the last minute.
    rate: u64,
}

impl From<QueueState> for Fares {
    fn from(state: QueueState) -> Self {
        let QueueState { queue, depth, unacked: in_hand, waiting, dead, oldest, consumers, rate } = state;
        Fares { queue, depth, in_hand, waiting, dead, oldest, consumers, rate }
    }
}

/// Dead letters.
#[derive(Serialize, ToSchema)]
pub struct Letters {
    /// Those that failed last first.
    items: Vec<Letter>,
}

/// A message that was given up.
#[derive(Serialize, ToSchema)]
pub struct Letter {
    /// The event's id.
    id: Uuid,
    /// The queue it failed in.
    queue: String,
    /// The event's type.
    r#type: String,
    /// How often it was tried.
    attempts: u32,
    /// The last error.
    reason: Option<String>,
    /// When it failed first.
    first_failed_at: Option<DateTime<Utc>>,
    /// When it failed last.
    last_failed_at: Option<DateTime<Utc>>,
}

impl From<DeadLetter> for Letter {
    fn from(DeadLetter { queue, message }: DeadLetter) -> Self {
        let (first, last) = message.failure.as_ref().map(|failure| (failure.first_at, failure.last_at)).unzip();
        Letter {
            id: message.id,
            queue,
            r#type: message.kind,
            attempts: message.attempt,
            reason: message.failure.map(|failure| failure.reason),
            first_failed_at: first,
            last_failed_at: last,
        }
    }
}

/// How the queues fare
///
/// # Errors
/// 404 to everybody who is not an administrator, 503.
#[utoipa::path(get, path = "/api/v1/admin/queues", responses(
    (status = 200, body = Queues), (status = 404, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn queues(State(web): State<Web>, visitor: Visitor) -> Result<Response, Problem> {
    admit(&web, &visitor).await?;
    let items = web.operator.queues().await.map_err(Away)?.into_iter().map(Fares::from).collect();
    Ok(Answer(Queues { items }).into_response())
}

/// The dead letters with their reasons
///
/// # Errors
/// 404 to everybody who is not an administrator, 422 for a queue that there is not, 503.
#[utoipa::path(get, path = "/api/v1/admin/dead-letters",
    params(("queue" = Option<String>, Query, description = "only those of this queue")),
    responses((status = 200, body = Letters), (status = 404, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn dead_letters(
    State(web): State<Web>,
    visitor: Visitor,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    admit(&web, &visitor).await?;
    let queue = query(raw.as_deref(), "queue");
    let is_there = |name: &String| web.operator.topology.queues.iter().any(|queue| queue.name == *name);
    if queue.as_ref().is_some_and(|name| !is_there(name)) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-parameter", "There is no such queue."));
    }
    let letters = web.operator.dead_letters(&DeadLetterFilter { queue, id: None }).await.map_err(Away)?;
    Ok(Answer(Letters { items: letters.into_iter().map(Letter::from).collect() }).into_response())
}

/// Puts a dead letter back into the queue it failed in
///
/// Safe to repeat: what comes twice is done once.
///
/// # Errors
/// 404 to everybody who is not an administrator and for a letter that is not there, 503.
#[utoipa::path(post, path = "/api/v1/admin/dead-letters/{id}/redrive",
    params(("id" = Uuid, Path, description = "the event's id")),
    responses((status = 202, body = Letters), (status = 404, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn redrive(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Problem> {
    let chosen = chosen(&web, &visitor, &id).await?;
    done(web.operator.redrive(&chosen).await, StatusCode::ACCEPTED)
}

/// Gives a dead letter up for good
///
/// # Errors
/// 404 to everybody who is not an administrator and for a letter that is not there, 503.
#[utoipa::path(post, path = "/api/v1/admin/dead-letters/{id}/discard",
    params(("id" = Uuid, Path, description = "the event's id")),
    responses((status = 200, body = Letters), (status = 404, body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn discard(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Problem> {
    let chosen = chosen(&web, &visitor, &id).await?;
    done(web.operator.discard(&chosen).await, StatusCode::OK)
}

async fn chosen(web: &Web, visitor: &Visitor, id: &str) -> Result<DeadLetterFilter, Problem> {
    admit(web, visitor).await?;
    let id = id.parse().map_err(|_| Problem::of(StatusCode::NOT_FOUND))?;
    Ok(DeadLetterFilter { queue: None, id: Some(id) })
}

fn done(letters: anyhow::Result<Vec<DeadLetter>>, status: StatusCode) -> Result<Response, Problem> {
    let letters = letters.map_err(Away)?;
    if letters.is_empty() {
        return Err(Problem::of(StatusCode::NOT_FOUND));
    }
    let items = letters.into_iter().map(Letter::from).collect();
    Ok((status, Answer(Letters { items })).into_response())
}

/// Lets administrators in. To others it looks as if there was nothing here, signed in or not.
async fn admit(web: &Web, visitor: &Visitor) -> Result<(), Problem> {
    let signed_in = visitor.signed_in(web).await?;
    match signed_in {
        // asked each time: who is one no more is one no more at once
        Some(signed_in) if user::is_admin(&web.accounts.db, signed_in.user.id).await? => Ok(()),
        _ => Err(Problem::of(StatusCode::NOT_FOUND)),
    }
}
