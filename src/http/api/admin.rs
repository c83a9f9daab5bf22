//! `/api/v1/admin`: what administrators' programs see and do. To everybody else nothing of it is there.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::user;
use crate::error::Away;
use crate::http::extract::query::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::messaging::operator::{DeadLetter, DeadLetterFilter, Hollow, OutboxState, QueueState};
use crate::messaging::topology::QueueKind;

/// What 404 means where there is nothing that could be missing.
const HIDDEN: &str = "Not an administrator";

/// The numbers of every queue.
#[derive(Serialize, ToSchema)]
pub struct Queues {
    /// One for each listener.
    items: Vec<QueueStats>,
    /// What is on its way to them.
    outbox: OutboxStats,
}

/// The numbers of the outbox.
#[derive(Serialize, ToSchema)]
pub struct OutboxStats {
    /// Events that wait for the broker.
    waiting: u64,
    /// Since when the oldest of them does.
    oldest: Option<DateTime<Utc>>,
    /// Events that are to happen later.
    later: u64,
    /// When the first of those is.
    next: Option<DateTime<Utc>>,
}

impl From<OutboxState> for OutboxStats {
    fn from(OutboxState { waiting, oldest, later, next }: OutboxState) -> Self {
        OutboxStats { waiting, oldest, later, next }
    }
}

/// The numbers of a listener's queue.
#[derive(Serialize, ToSchema)]
pub struct QueueStats {
    /// The queue's short name.
    queue: String,
    /// Messages that are ready to be taken; null while the broker is away.
    depth: Option<u64>,
    /// Messages that a consumer has and has not settled; null while the broker is away.
    unacked: Option<u64>,
    /// Messages that wait for another attempt.
    waiting: u64,
    /// When the first of them comes again …
    next_retry: Option<DateTime<Utc>>,
    /// … and the last.
    last_retry: Option<DateTime<Utc>>,
    /// Dead letters.
    dead: u64,
    /// When the oldest event happened that is neither done nor dead.
    oldest: Option<DateTime<Utc>>,
    /// Consumers, of all processes; null while the broker is away.
    consumers: Option<u64>,
    /// Messages done within the last minute.
    rate: u64,
}

impl From<QueueState> for QueueStats {
    fn from(state: QueueState) -> Self {
        let QueueState { queue, depth, unacked, waiting, next_retry, last_retry, dead, oldest, consumers, rate } =
            state;
        QueueStats { queue, depth, unacked, waiting, next_retry, last_retry, dead, oldest, consumers, rate }
    }
}

/// What was sent back to its queue.
#[derive(Serialize, ToSchema)]
pub struct Retried {
    /// How many messages.
    messages: usize,
}

/// Dead letters.
#[derive(Serialize, ToSchema)]
pub struct DeadLetters {
    /// Those that failed last first.
    items: Vec<DeadLetterDetails>,
}

/// A message that was given up.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterDetails {
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
    /// When it has been done since, by a repeat of the same event.
    done_at: Option<DateTime<Utc>>,
}

impl From<DeadLetter> for DeadLetterDetails {
    fn from(DeadLetter { queue, message, done_at }: DeadLetter) -> Self {
        let (first, last) = message.failure.as_ref().map(|failure| (failure.first_at, failure.last_at)).unzip();
        DeadLetterDetails {
            id: message.id,
            queue,
            r#type: message.kind,
            attempts: message.attempt,
            reason: message.failure.map(|failure| failure.reason),
            first_failed_at: first,
            last_failed_at: last,
            done_at,
        }
    }
}

/// The numbers of the queues
///
/// # Errors
/// 404 to everybody who is not an administrator, 503.
#[utoipa::path(get, path = "/api/v1/admin/queues", security(("session" = [])),
    responses((status = 200, description = "The numbers", body = Queues), (status = 404, description = HIDDEN)))]
pub async fn queues(State(state): State<Arc<AppState>>, visitor: Visitor) -> Result<Response, Problem> {
    require_admin(&state, &visitor).await?;
    let items = state.operator.queues().await.map_err(Away)?.into_iter().map(QueueStats::from).collect();
    let outbox = state.operator.outbox().await.map_err(Away)?.into();
    Ok(Answer(Queues { items, outbox }).into_response())
}

/// What waits for another attempt of a queue goes at once
///
/// Safe to repeat: what comes twice is done once.
///
/// # Errors
/// 404 to everybody who is not an administrator and for a queue that there is not, 503.
#[utoipa::path(post, path = "/api/v1/admin/queues/{queue}/retry-now",
    params(("queue" = String, Path, description = "the queue's short name", example = "confirmation")),
    security(("session" = [])),
    responses(
        (status = 202, description = "They go", body = Retried),
        (status = 404, description = "No such queue, or not an administrator")))]
pub async fn retry_now(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Path(queue): Path<String>,
) -> Result<Response, Problem> {
    require_admin(&state, &visitor).await?;
    if !state.operator.topology.queues.iter().any(|known| known.kind == QueueKind::Work && known.name == queue) {
        return Err(Problem::of(StatusCode::NOT_FOUND));
    }
    let hurried = state.operator.retry_now(Some(queue)).await.map_err(Away)?;
    let messages = hurried.iter().map(|(_, messages)| messages).sum();
    Ok((StatusCode::ACCEPTED, Answer(Retried { messages })).into_response())
}

/// The dead letters with their reasons
///
/// # Errors
/// 404 to everybody who is not an administrator, 422 for a queue that there is not, 503.
#[utoipa::path(get, path = "/api/v1/admin/dead-letters",
    params(("queue" = Option<String>, Query, description = "only those of this queue", example = "confirmation")),
    security(("session" = [])),
    responses(
        (status = 200, description = "The dead letters", body = DeadLetters),
        (status = 404, description = HIDDEN),
        (status = 422, description = "No such queue, or text that is none")))]
pub async fn dead_letters(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Problem> {
    require_admin(&state, &visitor).await?;
    let queue = query.get("queue");
    let is_there = |name: &String| state.operator.topology.queues.iter().any(|queue| queue.name == *name);
    if queue.as_ref().is_some_and(|name| !is_there(name)) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-parameter", "There is no such queue."));
    }
    let letters =
        state.operator.dead_letters(&DeadLetterFilter { queue, ..DeadLetterFilter::default() }).await.map_err(Away)?;
    Ok(Answer(DeadLetters { items: letters.into_iter().map(DeadLetterDetails::from).collect() }).into_response())
}

/// Puts a dead letter back into the queue it failed in
///
/// Safe to repeat: what comes twice is done once.
///
/// # Errors
/// 404 to everybody who is not an administrator and for a letter that is not there, 503.
#[utoipa::path(post, path = "/api/v1/admin/dead-letters/{id}/redrive",
    params(("id" = Uuid, Path, description = "the event's id", example = "0198c0de-7a4f-7c1e-9b11-0f4d8a6c2e71")),
    security(("session" = [])),
    responses(
        (status = 202, description = "It is back in its queue", body = DeadLetters),
        (status = 409, description = "Its body was not kept"),
        (status = 404, description = "No such letter, or not an administrator")))]
pub async fn redrive(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let chosen = chosen(&state, &visitor, &id).await?;
    done(state.operator.redrive(&chosen).await, StatusCode::ACCEPTED)
}

/// Gives a dead letter up for good
///
/// # Errors
/// 404 to everybody who is not an administrator and for a letter that is not there, 503.
#[utoipa::path(post, path = "/api/v1/admin/dead-letters/{id}/discard",
    params(("id" = Uuid, Path, description = "the event's id", example = "0198c0de-7a4f-7c1e-9b11-0f4d8a6c2e71")),
    security(("session" = [])),
    responses(
        (status = 200, description = "It is gone", body = DeadLetters),
        (status = 404, description = "No such letter, or not an administrator")))]
pub async fn discard(
    State(state): State<Arc<AppState>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let chosen = chosen(&state, &visitor, &id).await?;
    done(state.operator.discard(&chosen).await, StatusCode::OK)
}

async fn chosen(state: &AppState, visitor: &Visitor, id: &str) -> Result<DeadLetterFilter, Problem> {
    require_admin(state, visitor).await?;
    let id = id.parse().map_err(|_| Problem::of(StatusCode::NOT_FOUND))?;
    Ok(DeadLetterFilter { id: Some(id), ..DeadLetterFilter::default() })
}

fn done(letters: anyhow::Result<Vec<DeadLetter>>, status: StatusCode) -> Result<Response, Problem> {
    let letters = letters.map_err(|error| {
        if error.is::<Hollow>() {
            let detail =
                "The letter's body was larger than an event can be and was not kept: it can only be discarded.";
            return Problem::new(StatusCode::CONFLICT, "no-body", detail);
        }
        Away(error).into()
    })?;
    if letters.is_empty() {
        return Err(Problem::of(StatusCode::NOT_FOUND));
    }
    let items = letters.into_iter().map(DeadLetterDetails::from).collect();
    Ok((status, Answer(DeadLetters { items })).into_response())
}

/// Lets administrators in. To others it looks as if there was nothing here, signed in or not.
async fn require_admin(state: &AppState, visitor: &Visitor) -> Result<(), Problem> {
    let signed_in = visitor.signed_in(state).await?;
    match signed_in {
        // asked each time: who is one no more is one no more at once
        Some(signed_in) if user::is_admin(&state.accounts.db, signed_in.user.id).await? => Ok(()),
        _ => Err(Problem::of(StatusCode::NOT_FOUND)),
    }
}
