//! Reminds somebody who has not confirmed their registration, once. The event was scheduled when the first mail was sent; whether it
//! is still of use is looked up now.

use uuid::Uuid;

use super::context::{Listener, ListenerContext};
use super::delivery::{self, Composed, Recipient, deliver, say, stranger};
use super::letters;
use crate::account::credentials::link;
use crate::account::register::{self, Reminded};
use crate::event::{Event, MailFact, Received};
use crate::links;
use crate::locale::Locale;
use crate::mail::Handover;
use crate::messaging::consumer::layers::{Answer, LeasedMessage, Stack};
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "reminders";

/// In the table.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "the mail that reminds of a registration",
    keys: &["user.reminder_due"],
    batch: None,
    stack,
};

fn stack(context: &ListenerContext) -> Stack {
    delivery::stack(QUEUE, context, handle)
}

async fn handle(context: ListenerContext, leased: LeasedMessage, received: Received) -> Answer {
    let Event::UserReminderDue { registration } = received.event else {
        return Ok(stranger(&leased));
    };
    let Some(reminded) = register::remind(&context.accounts, registration).await? else { return Ok(Outcome::Ack) };
    let composed = compose(&context, received.id, reminded)?;
    let first = leased.message.attempt == 0;
    deliver(&context, leased, composed, async |attempt, event: Event| {
        say(&context.accounts, first, attempt, event).await
    })
    .await
}

fn compose(context: &ListenerContext, event: Uuid, reminded: Reminded) -> anyhow::Result<Composed> {
    let (accounts, Reminded { pending, expires_at }) = (&context.accounts, reminded);
    let locale = Locale::from_tag(&pending.locale).unwrap_or_default();
    let token = link::confirm_token(&accounts.keys, pending.id, &pending.email_canonical);
    let link = links::token_url(&context.public_url, links::CONFIRM, &token)?.into();
    let letter = letters::reminder(locale.text(), link, accounts.lifetimes.confirm, expires_at);
    let fact = MailFact { registration: Some(pending.id), template: "reminder".to_owned(), ..MailFact::default() };
    let to = Recipient { email: pending.email, name: None, locale };
    Ok(Composed::new(context, event, fact, to, letter.signed(&accounts.site)?, Handover::Whole))
}
