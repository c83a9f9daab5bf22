//! Sends the mail to an address whose password was forgotten: a link to who has it, the link of the registration to who has not
//! confirmed it yet, a word to everybody else.
//!
//! Which of them is looked up here and not in the request. The link's time begins here too; every copy of a mail has the same
//! link and the same Message-ID.

use std::net::IpAddr;

use uuid::Uuid;

use super::confirmation;
use super::context::{Listener, ListenerContext};
use super::delivery::{self, Composed, deliver, stranger};
use super::letters;
use crate::account::delivery::{Awaited, record};
use crate::account::register;
use crate::account::reset::{self, Opened, Recipient};
use crate::event::{Event, MailFact, Received};
use crate::links;
use crate::locale::Locale;
use crate::mail::Handover;
use crate::messaging::consumer::layers::{Answer, LeasedMessage, Stack};
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "password-reset";

/// In the table.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "the mail for a forgotten password",
    keys: &["password.reset_requested"],
    batch: None,
    stack,
};

fn stack(context: &ListenerContext) -> Stack {
    delivery::stack(QUEUE, context, handle)
}

async fn handle(context: ListenerContext, leased: LeasedMessage, received: Received) -> Answer {
    let Event::PasswordResetRequested { reset, origin } = received.event else {
        return Ok(stranger(&leased));
    };
    // purged meanwhile: nobody waits any more
    let Some(opened) = reset::open(&context.accounts, reset, origin.ip).await? else { return Ok(Outcome::Ack) };
    let composed = compose(&context, received.id, (reset, origin.ip), opened).await?;
    deliver(&context, leased, composed, async |attempt, event: Event| {
        record(&context.accounts, Awaited::Reset(reset), attempt, &event).await
    })
    .await
}

async fn compose(
    context: &ListenerContext,
    event: Uuid,
    (reset, ip): (Uuid, IpAddr),
    opened: Opened,
) -> anyhow::Result<Composed> {
    let accounts = &context.accounts;
    let Opened { email, locale, recipient, may_send } = opened;
    // over its budget the server is asked all the same, or what is shown would tell who has an account
    let handover = if may_send { Handover::Whole } else { Handover::KeptBack };
    let pending = match recipient {
        Recipient::Registration(id) => register::pending(accounts, id).await?,
        _ => None,
    };
    let (template, to, text) = match (recipient, pending) {
        (Recipient::User(user, token), _) => {
            let locale = Locale::from_tag(&user.locale).unwrap_or_default();
            let link = links::token_url(&context.public_url, links::RESET, &token)?.into();
            let letter = letters::password_reset(locale.text(), &user.name, link, accounts.lifetimes.reset);
            let text = letter.signed(&accounts.site)?;
            ("password_reset", delivery::Recipient { email: user.email, name: Some(user.name), locale }, text)
        }
        (_, Some(pending)) => {
            let locale = Locale::from_tag(&pending.locale).unwrap_or_default();
            if may_send {
                register::open(accounts, &pending, ip).await?;
            }
            let text = confirmation::link_mail(context, &pending)?;
            ("confirmation", delivery::Recipient { email: pending.email, name: None, locale }, text)
        }
        (_, None) => {
            let locale = Locale::from_tag(&locale).unwrap_or_default();
            let register_url = links::absolute(&context.public_url, links::REGISTER)?.into();
            let text = letters::no_account(locale.text(), register_url).signed(&accounts.site)?;
            ("no_account", delivery::Recipient { email, name: None, locale }, text)
        }
    };
    let fact = MailFact { reset: Some(reset), template: template.to_owned(), ..MailFact::default() };
    Ok(Composed::new(context, event, fact, to, text, handover))
}
