//! What can happen: the steps of requests, relays and workers, and what goes wrong with them.

use super::state::Event;

/// Something happens. Relays and workers have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Web(Request),
    Relay(usize, Carry),
    Worker(usize, Work),
    Time(Event, Passing),
    WipeBroker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Commit(Event),
    RollBack(Event),
    /// Of a seeded bug: the event is written apart.
    Append(Event),
    Crash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    Claim(Event),
    Publish,
    /// The broker takes it and says so.
    Confirm,
    Mark,
    Crash,
    /// It does not reach the broker, and the row is given back.
    LosePublication,
    /// The broker takes it, the relay does not hear it, and the row is given back.
    LoseConfirm,
    /// The relay is paused for longer than its claim.
    OutlastClaim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Take(Event),
    /// Of a seeded bug: the inbox is asked apart.
    AskInbox,
    /// Inbox and log, in one transaction.
    WriteLog,
    /// Inbox and lease, in one transaction.
    TakeLease,
    CheckLease,
    /// The mail server says 250.
    Send,
    /// Lease and inbox, in one transaction.
    Record,
    Ack,
    Crash,
    /// The mail server takes it, and the worker does not hear the 250.
    LoseAnswer,
    /// The broker believes that the worker is gone.
    Redeliver,
    /// The worker is paused for longer than its lease.
    OutlastLease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Of a relay that is gone.
    EndClaim,
    /// Of a worker that is gone.
    EndLease,
    /// Published, not recorded, and nobody has it: it is published again.
    Reconcile,
    /// The same while somebody has it: the reconciler did not wait long enough.
    ReconcileEarly,
}

impl Action {
    /// Whether it goes wrong, rather than on.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Web(request) => request == Request::Crash,
            Self::Relay(_, carry) => {
                matches!(carry, Carry::Crash | Carry::LosePublication | Carry::LoseConfirm | Carry::OutlastClaim)
            }
            Self::Worker(_, work) => {
                matches!(work, Work::Crash | Work::LoseAnswer | Work::Redeliver | Work::OutlastLease)
            }
            Self::Time(_, passing) => passing == Passing::ReconcileEarly,
            // happens once, and is counted apart
            Self::WipeBroker => false,
        }
    }
}
