//! Warns a person by mail of what was done with their account.

mod mails;

use uuid::Uuid;

use self::mails::PasswordChanged;
use super::context::{Listener, ListenerContext};
use super::delivery::{self, Composed, Recipient, deliver};
use crate::account::delivery::{Attempt, DeliveryStatus};
use crate::account::user::{self, User};
use crate::clock::Timestamp;
use crate::event::{self, Event, MailFact};
use crate::links;
use crate::locale::Locale;
use crate::mail::Handover;
use crate::messaging::consumer::layers::{Answer, LeasedMessage, Stack};
use crate::messaging::message::Outcome;
use crate::messaging::outbox;

/// Short name of the queue.
pub const QUEUE: &str = "notices";

/// In the table.
pub const LISTENER: Listener =
    Listener { queue: QUEUE, purpose: "the mails that warn a person", keys: &["password.changed"], batch: None, stack };

fn stack(context: &ListenerContext) -> Stack {
    delivery::stack(QUEUE, context, handle)
}

async fn handle(context: ListenerContext, leased: LeasedMessage) -> Answer {
    let message = &leased.message;
    let received = match event::decode(message.id, &message.body) {
        Ok(received) => received,
        Err(undecodable) => return Ok(Outcome::Reject(undecodable.to_string())),
    };
    let Event::PasswordChanged { user, .. } = received.event else {
        return Ok(Outcome::Reject(format!("{} does not belong in this queue", message.kind)));
    };
    let accounts = &context.accounts;
    // gone meanwhile: nobody is to be warned
    let Some(user) = user::by_id(&accounts.db, user).await? else { return Ok(Outcome::Ack) };
    let composed = compose(&context, received.id, user, received.at)?;
    let first = message.attempt == 0;
    deliver(&context, leased, composed, async |attempt: Attempt, event: Event| {
        // nobody waits for it in a browser: that it is late is said once
        if attempt.status == DeliveryStatus::Delayed && !first {
            return Ok(());
        }
        let mut tx = accounts.db.begin().await?;
        outbox::append(&mut tx, &accounts.clock, &event).await?;
        accounts.commit(tx).await
    })
    .await
}

fn compose(context: &ListenerContext, event: Uuid, user: User, at: Timestamp) -> anyhow::Result<Composed> {
    let locale = Locale::from_tag(&user.locale).unwrap_or_default();
    let mail = PasswordChanged {
        t: locale.text(),
        name: user.name.clone(),
        moment: at.format("%Y-%m-%d %H:%M UTC").to_string(),
        forgot_url: links::absolute(&context.public_url, links::FORGOT)?.into(),
        site: context.accounts.site.to_string(),
    };
    let fact = MailFact { user: Some(user.id), template: "password_changed".to_owned(), ..MailFact::default() };
    let to = Recipient { email: user.email, name: Some(user.name), locale };
    Ok(Composed::new(context, event, fact, to, mail.render()?, Handover::Whole))
}
