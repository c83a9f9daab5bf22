//! The mail to who registered: a link to a new address, a friendly word to one that has an account.
//!
//! Here, and not in the request, it is found out whether the address is taken. The link is born now, so a mail that
//! leaves a day late holds a link that lives; every copy of a mail has the same link and the same Message-ID.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use super::Desk;
use super::mail_text::{AlreadyRegistered, Confirmation, Rendered};
use crate::account::credentials::link;
use crate::account::register::{self, DeliveryStatus, LINK_LIFETIME, Pending};
use crate::account::user;
use crate::event::{self, Event, MailFact};
use crate::failpoint;
use crate::links;
use crate::locale::Locale;
use crate::mail::{Health, Mail, SendError};
use crate::messaging::consumer::layers::{Answer, LeasedMessage, retry_until_recorded};
use crate::messaging::consumer::lease::EVENT_LEASE;
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "confirmation";

/// Sends the mail of a registration.
///
/// # Errors
/// When the mail server or the database is away.
pub async fn confirmation(desk: Desk, LeasedMessage { message, lease }: LeasedMessage) -> Answer {
    let received = match event::decode(message.id, &message.body) {
        Ok(received) => received,
        Err(undecodable) => return Ok(Outcome::Reject(undecodable.to_string())),
    };
    let Event::UserRegistered { registration, .. } = received.event else {
        return Ok(Outcome::Reject(format!("{} does not belong in this queue", message.kind)));
    };
    // confirmed or purged since: nobody waits for this mail
    let Some(pending) = register::pending(&desk.accounts, registration).await? else { return Ok(Outcome::Ack) };
    let (template, mail) = match write(&desk, received.id, &pending).await? {
        ControlFlow::Continue(mail) => mail,
        ControlFlow::Break(outcome) => return Ok(outcome),
    };
    let fact = MailFact { registration, template: template.to_owned(), message_id: mail.message_id.clone() };
    let record = async |delivery, event: Event| {
        register::record_delivery(&desk.accounts, registration, delivery, Some(&event)).await
    };
    // a worker that was paused must not send what another one has taken over; where that cannot be known, it waits
    let may_send = move || {
        let lease = Arc::clone(&lease);
        async move { lease.is_held().await.unwrap_or(false) }
    };
    match desk.mail.send(&mail, may_send).await {
        Ok(_) => {
            failpoint::reach("mail.accepted");
            let sent = Event::MailSent { mail: fact };
            retry_until_recorded(|| {
                register::record_delivery(&desk.accounts, registration, DeliveryStatus::Sent, Some(&sent))
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
        // ours to mend (a wrong login, a policy): it waits for that
        Err(error @ (SendError::Temporary(_) | SendError::Permanent { .. })) => {
            let reason = error.to_string();
            record(DeliveryStatus::Delayed, Event::MailDelayed { mail: fact, reason: reason.clone() }).await?;
            Ok(Outcome::RetryLater(reason))
        }
    }
}

/// The one mail or the other, or what becomes of the message without one.
async fn write(
    desk: &Desk,
    event: Uuid,
    pending: &Pending,
) -> anyhow::Result<ControlFlow<Outcome, (&'static str, Mail)>> {
    let accounts = &desk.accounts;
    let site = accounts.site.to_string();
    let (template, to, name, locale, text) = if let Some(user) =
        user::by_canonical(&accounts.db, &pending.email_canonical).await?
    {
        if !register::may_remind(accounts, user.id, pending.id).await? {
            // while no mail leaves, this one must not look as if it had: the difference would tell who has an account
            match desk.mail.health() {
                Health::Failing { reason, .. } => {
                    register::record_delivery(accounts, pending.id, DeliveryStatus::Delayed, None).await?;
                    return Ok(ControlFlow::Break(Outcome::RetryLater(reason)));
                }
                // nor may it look as if a slow server had been quick
                Health::Working { took, .. } => tokio::time::sleep(took).await,
                Health::Untried => {}
            }
            // to the person who waits it looks as if it had been sent
            register::record_delivery(accounts, pending.id, DeliveryStatus::Sent, None).await?;
            return Ok(ControlFlow::Break(Outcome::Ack));
        }
        let locale = Locale::from_tag(&user.locale).unwrap_or_default();
        let login_url = links::absolute(&desk.public_url, links::LOGIN)?.into();
        let text = AlreadyRegistered { t: locale.text(), name: user.name.clone(), login_url, site }.render()?;
        ("already_registered", user.email, user.name, locale, text)
    } else {
        register::open_link(accounts, pending.id).await?;
        let token = link::confirm_token(&accounts.keys, pending.id, &pending.email_canonical);
        let link = links::confirm_url(&desk.public_url, &token)?;
        let locale = Locale::from_tag(&pending.locale).unwrap_or_default();
        let hours = u32::try_from(LINK_LIFETIME.as_secs() / 3_600)?;
        let name = pending.name.clone();
        let text = Confirmation { t: locale.text(), name: name.clone(), link: link.into(), hours, site }.render()?;
        ("confirmation", pending.email.clone(), name, locale, text)
    };
    let Rendered { subject, text, html } = text;
    let message_id = message_id(desk, event, template);
    let mail = Mail { to, to_name: Some(name), subject, text, html, message_id, language: locale.tag() };
    Ok(ControlFlow::Continue((template, mail)))
}

/// The same for every copy of a mail, so that mailboxes fold a rare repeat.
fn message_id(desk: &Desk, event: Uuid, template: &str) -> String {
    format!("<{event}.{template}@{}>", desk.mail_domain)
}
