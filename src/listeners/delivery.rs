//! Hands a mail over and records what became of it: the same for every listener that sends mails.

use std::sync::Arc;
use std::time::Duration;

use super::context::ListenerContext;
use super::mail_layout::RenderedMail;
use crate::account::Accounts;
use crate::account::delivery::{Attempt, DeliveryStatus};
use crate::event::{self, Event, MailFact, MailRefusal, Received};
use crate::failpoint;
use crate::locale::Locale;
use crate::mail::{Handover, Mail, SendError, Trouble};
use crate::messaging::consumer::layers::{self, Answer, LeasedMessage, Stack, retry_until_recorded};
use crate::messaging::consumer::lease::EVENT_LEASE;
use crate::messaging::message::Outcome;
use crate::messaging::outbox;

/// A server may take ten minutes to reply to a mail's final dot (RFC 5321 section 4.5.3.2.6).
const TIME_LIMIT: Duration = Duration::from_mins(15);

/// The stack around a listener that sends mails. What is no event of ours is rejected here.
pub(super) fn stack<A>(
    queue: &'static str,
    context: &ListenerContext,
    handle: fn(ListenerContext, LeasedMessage, Received) -> A,
) -> Stack
where
    A: Future<Output = Answer> + Send + 'static,
{
    let inbox = (context.accounts.db.clone(), context.accounts.clock.clone());
    let (rate, context) = (context.mail_rate.clone(), context.clone());
    layers::after_success(queue, inbox, rate, TIME_LIMIT, move |leased: LeasedMessage| {
        let context = context.clone();
        async move {
            match event::decode(leased.message.id, &leased.message.body) {
                Ok(received) => handle(context, leased, received).await,
                Err(undecodable) => Ok(Outcome::Reject(undecodable.to_string())),
            }
        }
    })
}

/// What is said of an event that a queue is not bound to.
pub(super) fn stranger(leased: &LeasedMessage) -> Outcome {
    Outcome::Reject(format!("{} does not belong in this queue", leased.message.kind))
}

/// A mail that is ready.
pub(super) struct Composed {
    /// What it is about, with its template.
    pub fact: MailFact,
    /// The mail.
    pub mail: Mail,
    /// Whether it goes all the way.
    pub handover: Handover,
}

/// To whom a mail goes.
pub(super) struct Recipient {
    /// The address.
    pub email: String,
    /// The name, of somebody who has confirmed the address.
    pub name: Option<String>,
    /// The language.
    pub locale: Locale,
}

impl Composed {
    /// A mail of these texts. Every copy of it, for one event, has the same Message-ID, so that mailboxes fold a repeated one.
    pub(super) fn new(
        context: &ListenerContext,
        event: uuid::Uuid,
        fact: MailFact,
        to: Recipient,
        text: RenderedMail,
        handover: Handover,
    ) -> Self {
        let message_id = format!("<{event}.{}@{}>", fact.template, context.mail_domain);
        let RenderedMail { subject, text, html } = text;
        let Recipient { email, name, locale } = to;
        let mail = Mail {
            to: email,
            to_name: name,
            subject,
            text,
            html,
            message_id: message_id.clone(),
            language: locale.tag(),
        };
        Composed { fact: MailFact { message_id, ..fact }, mail, handover }
    }
}

/// Hands a mail over, as long as the lease is held, and has `record` write what became of it. Of a mail that is kept back nothing
/// else is told than that it was: what a browser is shown all the same stands in its row.
pub(super) async fn deliver<R, F>(
    context: &ListenerContext,
    LeasedMessage { message, lease }: LeasedMessage,
    composed: Composed,
    record: R,
) -> Answer
where
    R: Fn(Attempt, Event) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let Composed { fact, mail, handover } = composed;
    let kept_back = Event::MailKeptBack { mail: fact.clone() };
    let record =
        |attempt, event: Event| record(attempt, if handover == Handover::Whole { event } else { kept_back.clone() });
    // a worker that was paused must not send what another one has taken over; if the database cannot say, it does not send
    let may_send = move || {
        let lease = Arc::clone(&lease);
        async move { lease.is_held().await.unwrap_or(false) }
    };
    match context.mail.send(&mail, handover, may_send).await {
        Ok(_) => {
            failpoint::reach("mail.accepted");
            let sent = Attempt { status: DeliveryStatus::Sent, trouble: None, next_try: None };
            retry_until_recorded(|| record(sent, Event::MailSent { mail: fact.clone() })).await?;
            failpoint::reach("delivery.recorded");
            Ok(Outcome::Ack)
        }
        // the person can correct the address, trying again cannot
        Err(SendError::Rejected(trouble)) => {
            // for operators: what the server said is nowhere else
            let (class, said) = (trouble.class.as_str(), Some(&trouble.said).filter(|said| !said.is_empty()));
            tracing::warn!(class, reason = %trouble, said, "the mail server refuses the address");
            let (reason, refusal) = (trouble.to_string(), refusal(&trouble));
            let trouble = Some(trouble.class.as_str());
            let rejected = Attempt { status: DeliveryStatus::Rejected, trouble, next_try: None };
            record(rejected, Event::MailRejected { mail: fact, reason, refusal }).await?;
            Ok(Outcome::Ack)
        }
        Err(SendError::Withdrawn) => Ok(Outcome::Snooze(EVENT_LEASE)),
        // it passes, or an operator can mend it (a wrong login, a policy), and then it is sent
        Err(SendError::Temporary(trouble)) => {
            let (reason, refusal) = (trouble.to_string(), refusal(&trouble));
            let now = context.accounts.clock.now();
            let wait = context.retry.next_wait(message.attempt, message.failing_for(now));
            let (class, next_try) = (Some(trouble.class.as_str()), wait.map(|wait| now + wait));
            let delayed = Attempt { status: DeliveryStatus::Delayed, trouble: class, next_try };
            record(delayed, Event::MailDelayed { mail: fact, reason: reason.clone(), refusal }).await?;
            Ok(Outcome::RetryLater { reason, said: trouble.said })
        }
    }
}

/// Records what became of a mail that nobody waits for in a browser. That it is late is said once, at the `first` try.
pub(super) async fn say(accounts: &Accounts, first: bool, attempt: Attempt, event: Event) -> anyhow::Result<()> {
    if attempt.status == DeliveryStatus::Delayed && !first {
        return Ok(());
    }
    let mut tx = accounts.db.begin().await?;
    outbox::append(&mut tx, &accounts.clock, &event).await?;
    accounts.commit(tx).await
}

fn refusal(trouble: &Trouble) -> MailRefusal {
    MailRefusal {
        class: Some(trouble.class.as_str().to_owned()),
        smtp_code: trouble.code,
        enhanced_code: trouble.enhanced.map(|code| code.to_string()),
    }
}
