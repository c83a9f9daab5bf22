//! Sends the mail of a registration: a link to a new address, a notice to one that has an account.
//!
//! Whether the address is taken is looked up here and not in the request. The link's time begins here too, so the link in
//! a mail that leaves a day late still works; every copy of a mail has the same link and the same Message-ID.

use std::net::IpAddr;

use uuid::Uuid;

use super::context::{Listener, ListenerContext};
use super::delivery::{self, Composed, Recipient, deliver, stranger};
use super::letters;
use super::mail_layout::RenderedMail;
use crate::account::credentials::link;
use crate::account::delivery::{Awaited, record};
use crate::account::register::{self, Pending};
use crate::account::user;
use crate::event::{Event, MailFact, Received};
use crate::links;
use crate::locale::Locale;
use crate::mail::Handover;
use crate::messaging::consumer::layers::{Answer, LeasedMessage, Stack};
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "confirmation";

/// In the table.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "the mail that confirms an address",
    keys: &["user.registered", "confirmation.requested"],
    batch: None,
    stack,
};

fn stack(context: &ListenerContext) -> Stack {
    delivery::stack(QUEUE, context, handle)
}

async fn handle(context: ListenerContext, leased: LeasedMessage, received: Received) -> Answer {
    let (registration, mail, origin) = match received.event {
        Event::UserRegistered { registration, origin } => (registration, 1, origin),
        Event::ConfirmationRequested { registration, mail, origin } => (registration, mail, origin),
        _ => return Ok(stranger(&leased)),
    };
    // confirmed or purged meanwhile, or asked for again: this mail is of no use any more
    let pending = register::pending(&context.accounts, registration).await?;
    let Some(pending) = pending.filter(|pending| pending.mails == i64::from(mail)) else { return Ok(Outcome::Ack) };
    let composed = compose(&context, received.id, &pending, origin.ip).await?;
    deliver(&context, leased, composed, async |attempt, event: Event| {
        record(&context.accounts, Awaited::Registration(registration, mail), attempt, &event).await
    })
    .await
}

async fn compose(context: &ListenerContext, event: Uuid, pending: &Pending, ip: IpAddr) -> anyhow::Result<Composed> {
    let accounts = &context.accounts;
    let owner = user::by_canonical(&accounts.db, &pending.email_canonical).await?;
    let may_send = register::open(accounts, pending, ip).await?;
    // over its budget the server is asked all the same: what is shown must not change with it
    let handover = if may_send { Handover::Whole } else { Handover::KeptBack };
    let (template, to, text) = if let Some(user) = owner {
        let locale = Locale::from_tag(&user.locale).unwrap_or_default();
        let login_url = links::absolute(&context.public_url, links::LOGIN)?.into();
        let text = letters::already_registered(locale.text(), &user.name, login_url).signed(&accounts.site)?;
        ("already_registered", Recipient { email: user.email, name: Some(user.name), locale }, text)
    } else {
        // without a name: whoever registers a stranger's address chooses it
        let to = Recipient {
            email: pending.email.clone(),
            name: None,
            locale: Locale::from_tag(&pending.locale).unwrap_or_default(),
        };
        ("confirmation", to, link_mail(context, pending)?)
    };
    let fact = MailFact { registration: Some(pending.id), template: template.to_owned(), ..MailFact::default() };
    Ok(Composed::new(context, event, fact, to, text, handover))
}

/// The mail with the link of a registration.
pub(super) fn link_mail(context: &ListenerContext, pending: &Pending) -> anyhow::Result<RenderedMail> {
    let accounts = &context.accounts;
    let token = link::confirm_token(&accounts.keys, pending.id, &pending.email_canonical);
    let link = links::token_url(&context.public_url, links::CONFIRM, &token)?.into();
    let t = Locale::from_tag(&pending.locale).unwrap_or_default().text();
    Ok(letters::confirmation(t, link, accounts.lifetimes.confirm).signed(&accounts.site)?)
}
