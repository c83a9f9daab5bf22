//! How far a mail has come that a browser waits for.

use anyhow::Context as _;
use sqlx::FromRow;
use uuid::Uuid;

use crate::account::Accounts;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::event::Event;
use crate::messaging::outbox;

/// How far the mail has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// On its way.
    Queued,
    /// A mail server has it.
    Sent,
    /// Not handed over yet; it is tried again.
    Delayed,
    /// Refused for good: the address is wrong.
    Rejected,
    /// Its link was used: there is nothing to wait for any more. Never in the table, where who was confirmed stands beside it.
    Confirmed,
}

impl DeliveryStatus {
    /// As it stands in the table and in what programs are told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Queued => "queued",
            DeliveryStatus::Sent => "sent",
            DeliveryStatus::Delayed => "delayed",
            DeliveryStatus::Rejected => "rejected",
            DeliveryStatus::Confirmed => "confirmed",
        }
    }

    /// From the table.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Sent, Self::Delayed, Self::Rejected].into_iter().find(|one| one.as_str() == text)
    }
}

/// How far a mail has come, since when, and what keeps it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// How far.
    pub status: DeliveryStatus,
    /// Since when.
    pub at: Timestamp,
    /// What it is about that it is delayed or was rejected: a word of [`crate::event::MailRefusal`]'s `class`.
    pub trouble: Option<String>,
    /// About when a delayed one is tried again.
    pub next_try: Option<Timestamp>,
}

impl Delivery {
    /// There is nothing to wait for any more.
    #[must_use]
    pub fn confirmed(at: Timestamp) -> Self {
        Delivery { status: DeliveryStatus::Confirmed, at, trouble: None, next_try: None }
    }
}

/// The columns of a row with a mail that is waited for.
#[derive(Clone, Debug, FromRow)]
pub(in crate::account) struct DeliveryColumns {
    delivery: String,
    delivery_at: Option<Timestamp>,
    trouble: Option<String>,
    next_try_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl DeliveryColumns {
    /// None for a status that this program does not know.
    pub(in crate::account) fn delivery(self) -> Option<Delivery> {
        let DeliveryColumns { delivery, delivery_at, trouble, next_try_at, created_at } = self;
        let status = DeliveryStatus::parse(&delivery)?;
        Some(Delivery { status, at: delivery_at.unwrap_or(created_at), trouble, next_try: next_try_at })
    }
}

/// What a browser waits for the mail of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A registration, and which of its mails.
    Registration(Uuid, u32),
    /// A password that was forgotten.
    Reset(Uuid),
    /// An account that is to move to another address.
    Change(Uuid),
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How far the mail has come by it.
    pub status: DeliveryStatus,
    /// What it is about, if it failed.
    pub trouble: Option<&'static str>,
    /// When the next one will be, as far as is known.
    pub next_try: Option<Timestamp>,
}

/// Records how far the mail has come, and appends the event when that is a change. A mail that was sent stays
/// sent, and of one in whose place another was asked for nothing is recorded any more.
///
/// # Errors
/// When the database is away.
pub async fn record(accounts: &Accounts, awaited: Awaited, attempt: Attempt, event: &Event) -> anyhow::Result<()> {
    let Attempt { status, trouble, next_try } = attempt;
    let now = accounts.clock.now();
    let mut tx = accounts.db.begin().await?;
    let (statement, id, mail) = match awaited {
        Awaited::Registration(id, mail) => (
            "update registrations
             set delivery = $2, delivery_at = case when delivery = $2 then delivery_at else $3 end,
               trouble = $4, next_try_at = $5
             where id = $1 and delivery <> 'sent' and mails = $6
             returning delivery_at = $3",
            id,
            Some(i64::from(mail)),
        ),
        Awaited::Reset(id) => (
            "update resets
             set delivery = $2, delivery_at = case when delivery = $2 then delivery_at else $3 end,
               trouble = $4, next_try_at = $5
             where id = $1 and delivery <> 'sent'
             returning delivery_at = $3",
            id,
            None,
        ),
        Awaited::Change(id) => (
            "update email_changes
             set delivery = $2, delivery_at = case when delivery = $2 then delivery_at else $3 end,
               trouble = $4, next_try_at = $5
             where id = $1 and delivery <> 'sent'
             returning delivery_at = $3",
            id,
            None,
        ),
    };
    let update = tx.query(statement).bind(id).bind(status.as_str()).bind(now).bind(trouble).bind(next_try);
    let update = match mail {
        Some(mail) => update.bind(mail),
        None => update,
    };
    let updated: Option<(Option<bool>,)> = update.optional().await.context("cannot record how far a mail has come")?;
    if let Some((Some(true),)) = updated {
        outbox::append(&mut tx, &accounts.clock, event).await?;
    }
    if let (Awaited::Registration(id, _), DeliveryStatus::Sent) = (awaited, status) {
        schedule_reminder(&mut tx, accounts, id).await?;
    }
    accounts.commit(tx).await
}

/// Schedules the reminder of a registration, once: whoever has the address, so that it takes as long.
async fn schedule_reminder(tx: &mut Tx, accounts: &Accounts, id: Uuid) -> anyhow::Result<()> {
    let due: Timestamp = accounts.clock.now() + accounts.lifetimes.reminder_after;
    let scheduled = tx
        .query("update registrations set reminder_at = $2 where id = $1 and reminder_at is null")
        .bind(id)
        .bind(due)
        .execute()
        .await
        .context("cannot schedule the reminder")?;
    if scheduled == 1 {
        outbox::append_at(tx, &accounts.clock, &Event::UserReminderDue { registration: id }, due).await?;
    }
    Ok(())
}
