//! Sends the mail of a registration: a link to a new address, a notice to one that has an account.
//!
//! Whether the address is taken is looked up here and not in the request. The link's time begins here too, so the link in
//! a mail that leaves a day late still works; every copy of a mail has the same link and the same Message-ID.

mod mails;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use self::mails::{AlreadyRegistered, Confirmation};
use super::context::{Listener, ListenerContext};
use super::mail_layout::RenderedMail;
use crate::account::credentials::link;
use crate::account::register::{self, DeliveryStatus, LINK_LIFETIME, Pending};
use crate::account::user;
use crate::event::{self, Event, MailFact, MailRefusal};
use crate::failpoint;
use crate::links;
use crate::locale::Locale;
use crate::mail::{Handover, Mail, SendError, Trouble};
use crate::messaging::consumer::layers::{self, Answer, LeasedMessage, Stack, retry_until_recorded};
use crate::messaging::consumer::lease::EVENT_LEASE;
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "confirmation";

/// In the table.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "the mail that confirms an address",
    keys: &["user.registered"],
    batch: None,
    stack,
};

/// A server may take ten minutes to reply to a mail's final dot (RFC 5321 section 4.5.3.2.6).
const TIME_LIMIT: Duration = Duration::from_mins(15);

fn stack(context: &ListenerContext) -> Stack {
    let inbox = (context.accounts.db.clone(), context.accounts.clock.clone());
    let (rate, context) = (context.mail_rate.clone(), context.clone());
    layers::after_success(QUEUE, inbox, rate, TIME_LIMIT, move |message| handle(context.clone(), message))
}

async fn handle(context: ListenerContext, LeasedMessage { message, lease }: LeasedMessage) -> Answer {
    let received = match event::decode(message.id, &message.body) {
        Ok(received) => received,
        Err(undecodable) => return Ok(Outcome::Reject(undecodable.to_string())),
    };
    let Event::UserRegistered { registration, .. } = received.event else {
        return Ok(Outcome::Reject(format!("{} does not belong in this queue", message.kind)));
    };
    // confirmed or purged meanwhile: the mail is of no use any more
    let Some(pending) = register::pending(&context.accounts, registration).await? else { return Ok(Outcome::Ack) };
    let Composed { template, mail, handover } = compose(&context, received.id, &pending).await?;
    let fact = MailFact { registration, template: template.to_owned(), message_id: mail.message_id.clone() };
    // of a mail that is kept back nothing has happened but what the browser that registered is shown
    let record = async |delivery, event: Event| {
        let event = (handover == Handover::Whole).then_some(&event);
        register::record_delivery(&context.accounts, registration, delivery, event).await
    };
    // a worker that was paused must not send what another one has taken over; if the database cannot say, it does not send
    let may_send = move || {
        let lease = Arc::clone(&lease);
        async move { lease.is_held().await.unwrap_or(false) }
    };
    match context.mail.send(&mail, handover, may_send).await {
        Ok(_) => {
            failpoint::reach("mail.accepted");
            retry_until_recorded(|| record(DeliveryStatus::Sent, Event::MailSent { mail: fact.clone() })).await?;
            failpoint::reach("delivery.recorded");
            Ok(Outcome::Ack)
        }
        // the person can correct the address, trying again cannot
        Err(SendError::Rejected(trouble)) => {
            log(&trouble, "the mail server refuses the address");
            let (reason, refusal) = (trouble.to_string(), refusal(&trouble));
            record(DeliveryStatus::Rejected, Event::MailRejected { mail: fact, reason, refusal }).await?;
            Ok(Outcome::Ack)
        }
        Err(SendError::Withdrawn) => Ok(Outcome::Snooze(EVENT_LEASE)),
        // it passes, or an operator can mend it (a wrong login, a policy), and then it is sent
        Err(SendError::Temporary(trouble)) => {
            log(&trouble, "a mail has to wait");
            let (reason, refusal) = (trouble.to_string(), refusal(&trouble));
            let delayed = Event::MailDelayed { mail: fact, reason: reason.clone(), refusal };
            record(DeliveryStatus::Delayed, delayed).await?;
            Ok(Outcome::RetryLater(reason))
        }
    }
}

/// For operators: what the server said is nowhere else.
fn log(trouble: &Trouble, what: &'static str) {
    let (class, said) = (trouble.class.as_str(), &trouble.said);
    tracing::warn!(class, reason = %trouble, said, "{what}");
}

fn refusal(trouble: &Trouble) -> MailRefusal {
    MailRefusal {
        class: Some(trouble.class.as_str().to_owned()),
        smtp_code: trouble.code,
        enhanced_code: trouble.enhanced.map(|code| code.to_string()),
    }
}

struct Composed {
    template: &'static str,
    mail: Mail,
    handover: Handover,
}

async fn compose(context: &ListenerContext, event: Uuid, pending: &Pending) -> anyhow::Result<Composed> {
    let accounts = &context.accounts;
    let site = accounts.site.to_string();
    let owner = user::by_canonical(&accounts.db, &pending.email_canonical).await?;
    let may_send = register::open(accounts, pending.id, owner.as_ref().map(|owner| owner.id)).await?;
    // the owner was told lately: the server is asked all the same, or what is shown would tell who has an account
    let handover = if may_send { Handover::Whole } else { Handover::KeptBack };
    let (template, to, to_name, locale, text) = if let Some(user) = owner {
        let locale = Locale::from_tag(&user.locale).unwrap_or_default();
        let login_url = links::absolute(&context.public_url, links::LOGIN)?.into();
        let text = AlreadyRegistered { t: locale.text(), name: user.name.clone(), login_url, site }.render()?;
        ("already_registered", user.email, Some(user.name), locale, text)
    } else {
        let token = link::confirm_token(&accounts.keys, pending.id, &pending.email_canonical);
        let link = links::confirm_url(&context.public_url, &token)?.into();
        let locale = Locale::from_tag(&pending.locale).unwrap_or_default();
        let hours = u32::try_from(LINK_LIFETIME.as_secs() / 3_600)?;
        let text = Confirmation { t: locale.text(), link, hours, site }.render()?;
        // without a name: whoever registers a stranger's address chooses it
        ("confirmation", pending.email.clone(), None, locale, text)
    };
    let RenderedMail { subject, text, html } = text;
    let message_id = message_id(context, event, template);
    let mail = Mail { to, to_name, subject, text, html, message_id, language: locale.tag() };
    Ok(Composed { template, mail, handover })
}

/// The same for every copy of a mail, so that mailboxes fold a repeated one.
fn message_id(context: &ListenerContext, event: Uuid, template: &str) -> String {
    format!("<{event}.{template}@{}>", context.mail_domain)
}
