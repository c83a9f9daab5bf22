//! How far a mail has come that a browser waits for.

use uuid::Uuid;

use crate::account::Accounts;
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
}

impl DeliveryStatus {
    /// As it stands in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Queued => "queued",
            DeliveryStatus::Sent => "sent",
            DeliveryStatus::Delayed => "delayed",
            DeliveryStatus::Rejected => "rejected",
        }
    }

    /// From the table.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Sent, Self::Delayed, Self::Rejected].into_iter().find(|one| one.as_str() == text)
    }
}

/// What a browser waits for the mail of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A registration.
    Registration(Uuid),
    /// A password that was forgotten.
    Reset(Uuid),
}

/// Records how far the mail has come, and appends the event, if there is one, when that is a change. A mail that was sent
/// stays sent.
///
/// # Errors
/// When the database is away.
pub async fn record(
    accounts: &Accounts,
    awaited: Awaited,
    delivery: DeliveryStatus,
    event: Option<&Event>,
) -> anyhow::Result<()> {
    let (id, update) = match awaited {
        Awaited::Registration(id) => {
            (id, "update registrations set delivery = $2 where id = $1 and delivery <> $2 and delivery <> 'sent'")
        }
        Awaited::Reset(id) => {
            (id, "update resets set delivery = $2 where id = $1 and delivery <> $2 and delivery <> 'sent'")
        }
    };
    let mut tx = accounts.db.begin().await?;
    let changed = tx.query(update).bind(id).bind(delivery.as_str()).execute().await?;
    if changed == 1
        && let Some(event) = event
    {
        outbox::append(&mut tx, &accounts.clock, event).await?;
    }
    accounts.commit(tx).await
}
