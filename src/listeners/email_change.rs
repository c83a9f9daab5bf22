//! Sends the mail to the address that an account is to move to: a link, or a word to who has that address already.
//!
//! Which of them is looked up here and not in the request. The link's time begins here too; every copy of a mail has the same
//! link and the same Message-ID.

use uuid::Uuid;

use super::context::{Listener, ListenerContext};
use super::delivery::{self, Composed, Recipient, deliver, stranger};
use super::letters;
use crate::account::change_email::{self, Opened};
use crate::account::delivery::{Awaited, record};
use crate::event::{Event, MailFact, Received};
use crate::links;
use crate::locale::Locale;
use crate::mail::Handover;
use crate::messaging::consumer::layers::{Answer, LeasedMessage, Stack};
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "email-change";

/// In the table.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "the mail that confirms another address",
    keys: &["email.change_requested"],
    batch: None,
    stack,
};

fn stack(context: &ListenerContext) -> Stack {
    delivery::stack(QUEUE, context, handle)
}

async fn handle(context: ListenerContext, leased: LeasedMessage, received: Received) -> Answer {
    let Event::EmailChangeRequested { change, user, origin } = received.event else {
        return Ok(stranger(&leased));
    };
    // confirmed, overtaken or purged meanwhile: the mail is of no use any more
    let Some(opened) = change_email::open(&context.accounts, change, origin.ip).await? else { return Ok(Outcome::Ack) };
    let composed = compose(&context, received.id, (change, user), opened)?;
    deliver(&context, leased, composed, async |attempt, event: Event| {
        record(&context.accounts, Awaited::Change(change), attempt, &event).await
    })
    .await
}

fn compose(
    context: &ListenerContext,
    event: Uuid,
    (change, user): (Uuid, Uuid),
    opened: Opened,
) -> anyhow::Result<Composed> {
    let Opened { email, locale, token, may_send } = opened;
    // over its budget the server is asked all the same, or what is shown would tell who has an account
    let handover = if may_send { Handover::Whole } else { Handover::KeptBack };
    let locale = Locale::from_tag(&locale).unwrap_or_default();
    let (template, letter) = if let Some(token) = token {
        let link = links::token_url(&context.public_url, links::EMAIL_CONFIRM, &token)?.into();
        ("email_change", letters::email_change(locale.text(), link, context.accounts.lifetimes.confirm))
    } else {
        let login_url = links::absolute(&context.public_url, links::LOGIN)?.into();
        ("email_taken", letters::email_taken(locale.text(), login_url))
    };
    let (change, user) = (Some(change), Some(user));
    let fact = MailFact { change, user, template: template.to_owned(), ..MailFact::default() };
    let to = Recipient { email, name: None, locale };
    Ok(Composed::new(context, event, fact, to, letter.signed(&context.accounts.site)?, handover))
}
