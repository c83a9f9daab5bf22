//! Writes logins into the login log that users can read. Exactly once: the row and the inbox mark of the event are one
//! transaction.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Listener, ListenerContext};
use crate::account::login_log::LoginLog;
use crate::event;
use crate::messaging::consumer::layers::{self, Answer, Stack};
use crate::messaging::message::{Message, Outcome};

/// Short name of the queue.
pub const QUEUE: &str = "login-log";

/// In the table. Rows that wait while one transaction commits share the next one, so one consumer with many messages does.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "a row of the login log",
    keys: &[
        "login.succeeded",
        "login.failed",
        "user.confirmed",
        "password.changed",
        "email.changed",
        "user.deletion_scheduled",
        "user.restored",
    ],
    batch: Some(200),
    stack,
};

/// A row takes moments.
const TIME_LIMIT: Duration = Duration::from_secs(30);

fn stack(context: &ListenerContext) -> Stack {
    let log = LoginLog::new(&context.accounts, QUEUE);
    context.health.add(log.part());
    layers::transactional(QUEUE, TIME_LIMIT, move |message| handle(log.clone(), message))
}

async fn handle(log: LoginLog, message: Arc<Message>) -> Answer {
    match event::decode(message.id, &message.body) {
        Ok(received) => log.record(received).await?,
        Err(undecodable) => return Ok(Outcome::Reject(undecodable.to_string())),
    }
    Ok(Outcome::Ack)
}
