//! How far a mail has come that a browser waits for.

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
