//! How far a mail has come, for programs and for the scripts of pages.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::account::delivery::Delivery;

/// How far a mail has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeliveryState {
    /// `queued`, `sent`, `delayed` (it is tried again), `rejected` (the address is wrong), `confirmed`, or `unknown` where this browser
    /// waits for nothing.
    #[schema(example = "delayed")]
    pub state: &'static str,
    /// Since when.
    pub at: Option<DateTime<Utc>>,
    /// What it is about that it is delayed or was rejected: `recipient`, `sender`, `login`, `policy`, `quota`, `message`, `protocol`,
    /// `server`, `busy`, `unreachable`.
    #[schema(example = "unreachable")]
    pub reason: Option<String>,
    /// About when it is tried again.
    pub next_try: Option<DateTime<Utc>>,
}

impl DeliveryState {
    /// Where nothing is waited for.
    pub const UNKNOWN: Self = DeliveryState { state: "unknown", at: None, reason: None, next_try: None };

    /// Of a mail, if one is waited for.
    #[must_use]
    pub fn of(delivery: Option<&Delivery>) -> Self {
        delivery.map_or(Self::UNKNOWN, |delivery| DeliveryState {
            state: delivery.status.as_str(),
            at: Some(delivery.at),
            reason: delivery.trouble.clone(),
            next_try: delivery.next_try,
        })
    }
}
