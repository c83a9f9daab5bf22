//! Sends the mail of a registration: a link to a new address, a notice to one that has an account.
//!
//! Whether the address is taken is looked up here and not in the request. The link's time begins here too, so the link in
//! a mail that leaves a day late still works; every copy of a mail has the same link and the same Message-ID.

mod mails;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use self::mails::{AlreadyRegistered, Confirmation};
use super::context::{Listener, ListenerContext};
use super::mail_layout::RenderedMail;
use crate::account::credentials::link;
use crate::account::register::{self, DeliveryStatus, LINK_LIFETIME, Pending};
use crate::account::user;
use crate::event::{self, Event, MailFact};
use crate::failpoint;
use crate::links;
use crate::locale::Locale;
use crate::mail::{Health, Mail, SendError};
use crate::messaging::consumer::layers::{self, Answer, LeasedMessage, Stack, retry_until_recorded};
use crate::messaging::consumer::lease::EVENT_LEASE;
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "confirmation";

/// In the table.
pub const LISTENER: Listener = Listener { queue: QUEUE, keys: &["user.registered"], batch: None, stack };

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
    let (template, mail) = match compose(&context, received.id, &pending).await? {
        ControlFlow::Continue(mail) => mail,
        ControlFlow::Break(outcome) => return Ok(outcome),
    };
    let fact = MailFact { registration, template: template.to_owned(), message_id: mail.message_id.clone() };
    let record = async |delivery, event: Event| {
        register::record_delivery(&context.accounts, registration, delivery, Some(&event)).await
    };
    // a worker that was paused must not send what another one has taken over; if the database cannot say, it does not send
    let may_send = move || {
        let lease = Arc::clone(&lease);
        async move { lease.is_held().await.unwrap_or(false) }
    };
    match context.mail.send(&mail, may_send).await {
        Ok(_) => {
            failpoint::reach("mail.accepted");
            let sent = Event::MailSent { mail: fact };
            retry_until_recorded(|| {
                register::record_delivery(&context.accounts, registration, DeliveryStatus::Sent, Some(&sent))
            })
            .await?;
            failpoint::reach("delivery.recorded");
            Ok(Outcome::Ack)
        }
        // the person can correct the address, trying again cannot
        Err(SendError::Permanent { code, text, recipient: true }) => {
            tracing::warn!(code, text, "the mail server refuses the address");
            let reason = format!("{code} {text}");
            record(DeliveryStatus::Rejected, Event::MailRejected { mail: fact, reason }).await?;
            Ok(Outcome::Ack)
        }
        Err(SendError::Withdrawn) => Ok(Outcome::Snooze(EVENT_LEASE)),
        // an operator can mend it (a wrong login, a policy), and then it is sent
        Err(error @ (SendError::Temporary(_) | SendError::Permanent { .. })) => {
            let reason = error.to_string();
            record(DeliveryStatus::Delayed, Event::MailDelayed { mail: fact, reason: reason.clone() }).await?;
            Ok(Outcome::RetryLater(reason))
        }
    }
}

/// The mail to send, or the outcome without one.
async fn compose(
    context: &ListenerContext,
    event: Uuid,
    pending: &Pending,
) -> anyhow::Result<ControlFlow<Outcome, (&'static str, Mail)>> {
    let accounts = &context.accounts;
    let site = accounts.site.to_string();
    let (template, to, name, locale, text) = if let Some(user) =
        user::by_canonical(&accounts.db, &pending.email_canonical).await?
    {
        if !register::may_remind(accounts, user.id, pending.id).await? {
            // while mails fail, this one must not appear as sent: the difference would tell who has an account
            match context.mail.health() {
                Health::Failing { reason, .. } => {
                    register::record_delivery(accounts, pending.id, DeliveryStatus::Delayed, None).await?;
                    return Ok(ControlFlow::Break(Outcome::RetryLater(reason)));
                }
                // nor may it appear sooner than mails take
                Health::Working { took, .. } => tokio::time::sleep(took).await,
                Health::Untried => {}
            }
            // to the person who registered it appears as sent
            register::record_delivery(accounts, pending.id, DeliveryStatus::Sent, None).await?;
            return Ok(ControlFlow::Break(Outcome::Ack));
        }
        let locale = Locale::from_tag(&user.locale).unwrap_or_default();
        let login_url = links::absolute(&context.public_url, links::LOGIN)?.into();
        let text = AlreadyRegistered { t: locale.text(), name: user.name.clone(), login_url, site }.render()?;
        ("already_registered", user.email, user.name, locale, text)
    } else {
        register::open_link(accounts, pending.id).await?;
        let token = link::confirm_token(&accounts.keys, pending.id, &pending.email_canonical);
        let link = links::confirm_url(&context.public_url, &token)?;
        let locale = Locale::from_tag(&pending.locale).unwrap_or_default();
        let hours = u32::try_from(LINK_LIFETIME.as_secs() / 3_600)?;
        let name = pending.name.clone();
        let text = Confirmation { t: locale.text(), name: name.clone(), link: link.into(), hours, site }.render()?;
        ("confirmation", pending.email.clone(), name, locale, text)
    };
    let RenderedMail { subject, text, html } = text;
    let message_id = message_id(context, event, template);
    let mail = Mail { to, to_name: Some(name), subject, text, html, message_id, language: locale.tag() };
    Ok(ControlFlow::Continue((template, mail)))
}

/// The same for every copy of a mail, so that mailboxes fold a repeated one.
fn message_id(context: &ListenerContext, event: Uuid, template: &str) -> String {
    format!("<{event}.{template}@{}>", context.mail_domain)
}
