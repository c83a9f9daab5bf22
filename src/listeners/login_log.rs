//! What happened at the door, as rows that its owner can read. Exactly once: the row and the mark of the event are one
//! transaction.

use std::sync::Arc;

use tower::BoxError;

use super::Desk;
use crate::event;
use crate::messaging::message::{Message, Outcome};

/// Short name of the queue.
pub const QUEUE: &str = "login-log";

/// Messages that are unacknowledged at a time unless the settings say otherwise: those that are there together are written together, and while one
/// transaction is under way the next one's come.
pub const BATCH: u16 = 200;

/// Writes the row of a login that succeeded or failed.
///
/// # Errors
/// When the database is away.
pub async fn login_log(desk: Desk, message: Arc<Message>) -> Result<Outcome, BoxError> {
    match event::decode(message.id, &message.body) {
        Ok(received) => desk.log.record(received).await?,
        Err(undecodable) => return Ok(Outcome::Reject(undecodable.to_string())),
    }
    Ok(Outcome::Ack)
}
