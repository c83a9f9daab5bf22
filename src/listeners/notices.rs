//! Tells a person by mail what was done with their account.

use uuid::Uuid;

use super::context::{Listener, ListenerContext};
use super::delivery::{self, Composed, Recipient, deliver, say, stranger};
use super::letters;
use super::mail_layout::Letter;
use crate::account::{change_email, deletion, disown, user};
use crate::event::{EmailChange, Event, MailFact, Origin, Received};
use crate::links;
use crate::locale::Locale;
use crate::mail::Handover;
use crate::messaging::consumer::layers::{Answer, LeasedMessage, Stack};
use crate::messaging::message::Outcome;

/// Short name of the queue.
pub const QUEUE: &str = "notices";

/// In the table.
pub const LISTENER: Listener = Listener {
    queue: QUEUE,
    purpose: "the mails that tell a person what was done",
    keys: &["password.changed", "email.changed", "user.deletion_scheduled", "login.new_device", "login.after_failures"],
    batch: None,
    stack,
};

fn stack(context: &ListenerContext) -> Stack {
    delivery::stack(QUEUE, context, handle)
}

/// What is to be said, to whom.
struct Notice {
    user: Uuid,
    template: &'static str,
    to: Recipient,
    letter: Letter,
}

async fn handle(context: ListenerContext, leased: LeasedMessage, received: Received) -> Answer {
    let notice = match received.event {
        Event::PasswordChanged { user, .. } => password_changed(&context, &received, user).await?,
        Event::EmailChanged { by: EmailChange::Undone, .. } => None,
        Event::EmailChanged { change, user, .. } => email_changed(&context, &received, change, user).await?,
        Event::UserDeletionScheduled { user, deletes_at, .. } => {
            let told = deletion::told(&context.accounts, user, deletes_at).await?;
            told.map(|told| deletion_scheduled(&context, told, deletes_at)).transpose()?
        }
        Event::LoginNewDevice { user, session, ref origin } => {
            signed_in(&context, &received, (user, session), ("new_device", origin)).await?
        }
        Event::LoginAfterFailures { user, session, ref origin } => {
            signed_in(&context, &received, (user, session), ("after_failures", origin)).await?
        }
        _ => return Ok(stranger(&leased)),
    };
    // gone or undone meanwhile: nobody is to be told
    let Some(Notice { user, template, to, letter }) = notice else { return Ok(Outcome::Ack) };
    let fact = MailFact { user: Some(user), template: template.to_owned(), ..MailFact::default() };
    let text = letter.signed(&context.accounts.site)?;
    let composed = Composed::new(&context, received.id, fact, to, text, Handover::Whole);
    let first = leased.message.attempt == 0;
    deliver(&context, leased, composed, async |attempt, event: Event| {
        say(&context.accounts, first, attempt, event).await
    })
    .await
}

async fn password_changed(context: &ListenerContext, received: &Received, id: Uuid) -> anyhow::Result<Option<Notice>> {
    let Some(user) = user::by_id(&context.accounts.db, id).await? else { return Ok(None) };
    let locale = Locale::from_tag(&user.locale).unwrap_or_default();
    let forgot_url = links::absolute(&context.public_url, links::FORGOT)?.into();
    let letter = letters::password_changed(locale.text(), &user.name, received.at, forgot_url);
    let to = Recipient { email: user.email, name: Some(user.name), locale };
    Ok(Some(Notice { user: id, template: "password_changed", to, letter }))
}

async fn email_changed(
    context: &ListenerContext,
    received: &Received,
    change: Uuid,
    user: Uuid,
) -> anyhow::Result<Option<Notice>> {
    let Some(told) = change_email::told(&context.accounts, change).await? else { return Ok(None) };
    let locale = Locale::from_tag(&told.locale).unwrap_or_default();
    let link = links::token_url(&context.public_url, links::EMAIL_UNDO, &told.token)?.into();
    let letter = letters::email_changed(locale.text(), &told.name, received.at, link, told.undo_until);
    let to = Recipient { email: told.email, name: Some(told.name), locale };
    Ok(Some(Notice { user, template: "email_changed", to, letter }))
}

fn deletion_scheduled(
    context: &ListenerContext,
    deletion::Told { user, token }: deletion::Told,
    deletes_at: crate::clock::Timestamp,
) -> anyhow::Result<Notice> {
    let locale = Locale::from_tag(&user.locale).unwrap_or_default();
    let link = links::token_url(&context.public_url, links::ACCOUNT_RESTORE, &token)?.into();
    let letter = letters::deletion_scheduled(locale.text(), &user.name, deletes_at, link);
    let to = Recipient { email: user.email, name: Some(user.name), locale };
    Ok(Notice { user: user.id, template: "deletion_scheduled", to, letter })
}

async fn signed_in(
    context: &ListenerContext,
    received: &Received,
    (id, session): (Uuid, Uuid),
    (template, origin): (&'static str, &Origin),
) -> anyhow::Result<Option<Notice>> {
    let Some(user) = user::by_id(&context.accounts.db, id).await? else { return Ok(None) };
    let locale = Locale::from_tag(&user.locale).unwrap_or_default();
    let token = disown::token(&context.accounts, id, session);
    let link = links::token_url(&context.public_url, links::DISOWN, &token)?.into();
    let letter = letters::signed_in(locale.text(), &user.name, template == "new_device", (received.at, origin), link);
    let to = Recipient { email: user.email, name: Some(user.name), locale };
    Ok(Some(Notice { user: id, template, to, letter }))
}
