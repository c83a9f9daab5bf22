//! Deletes an account when its time of grace is over. Exactly once: the deletion and the inbox mark of the event are one transaction.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Listener, ListenerContext};
use crate::account::{Accounts, deletion};
use crate::event::{self, Event};
use crate::messaging::consumer::layers::{self, Answer, Stack};
use crate::messaging::message::{Message, Outcome};

/// Short name of the queue.
pub const QUEUE: &str = "deletion";

/// In the table.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "the deletion of an account after its grace",
    keys: &["user.deletion_due", "user.deleted"],
    batch: None,
    stack,
};

/// The login log of one person may be long.
const TIME_LIMIT: Duration = Duration::from_mins(10);

fn stack(context: &ListenerContext) -> Stack {
    let accounts = context.accounts.clone();
    layers::transactional(QUEUE, TIME_LIMIT, move |message| handle(accounts.clone(), message))
}

async fn handle(accounts: Accounts, message: Arc<Message>) -> Answer {
    let received = match event::decode(message.id, &message.body) {
        Ok(received) => received,
        Err(undecodable) => return Ok(Outcome::Reject(undecodable.to_string())),
    };
    match received.event {
        Event::UserDeletionDue { user } => {
            deletion::delete(&accounts, QUEUE, (received.id, received.at), user).await?;
        }
        Event::UserDeleted { user } => deletion::finish(&accounts, QUEUE, received.id, user).await?,
        _ => return Ok(Outcome::Reject(format!("{} does not belong in this queue", message.kind))),
    }
    Ok(Outcome::Ack)
}
