//! One moment: what is in the database, at the broker, in the hands of relays and workers, and out in the world.

/// What happens in the business: one effect outside the database (a mail), and one inside it (a log row).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Registration,
    Login,
}

pub const EVENTS: [Event; 2] = [Event::Registration, Event::Login];
const RELAYS: usize = 2;
const WORKERS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Business {
    Open,
    /// Of a seeded bug: committed, and the request has yet to write the event.
    Unwritten,
    Committed,
    RolledBack,
}

/// The event in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    Missing,
    Due,
    Claimed,
    Published,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lease {
    Free,
    Of(usize),
    /// Its holder is dead, and it has not ended yet.
    OfTheDead,
}

/// All there is of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trail {
    pub business: Business,
    pub row: Row,
    /// Copies that wait in the queue.
    pub queued: u8,
    /// Who may send the mail.
    pub lease: Lease,
    /// The inbox is marked.
    pub recorded: bool,
    /// Mails at the mail server, or rows of the log.
    pub effects: u8,
    /// How often a worker had a mail at the mail server, or past its last look at the lease, and lost what it needs to
    /// record it: its life, its lease, or the answer.
    pub in_doubt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrying {
    Nothing,
    Claimed,
    UnderWay,
    Confirmed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relay {
    pub carrying: Carrying,
    pub event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    Rest,
    Taken,
    /// Of a seeded bug: the inbox has let it pass.
    Passed,
    Leased,
    Sending,
    Sent,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    pub at: At,
    pub event: Event,
    /// Whether the broker still counts the delivery as in this worker's hands.
    pub lent: bool,
    /// Whether the mail it is at was counted as in doubt.
    pub doubted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub trails: [Trail; EVENTS.len()],
    pub relays: [Relay; RELAYS],
    pub workers: [Worker; WORKERS],
    /// How many faults there have been.
    pub faults: u8,
    pub wiped: bool,
}

impl Relay {
    pub const IDLE: Self = Self { carrying: Carrying::Nothing, event: Event::Registration };
}

impl Worker {
    pub const RESTING: Self = Self { at: At::Rest, event: Event::Registration, lent: false, doubted: false };
}

impl State {
    /// Nothing but requests for these events, which are under way.
    pub fn beginning(events: &[Event]) -> Self {
        let trails = EVENTS.map(|event| Trail {
            business: if events.contains(&event) { Business::Open } else { Business::RolledBack },
            row: Row::Missing,
            queued: 0,
            lease: Lease::Free,
            recorded: false,
            effects: 0,
            in_doubt: 0,
        });
        Self { trails, relays: [Relay::IDLE; RELAYS], workers: [Worker::RESTING; WORKERS], faults: 0, wiped: false }
    }

    pub fn of(&self, event: Event) -> &Trail {
        &self.trails[event as usize]
    }

    pub fn of_mut(&mut self, event: Event) -> &mut Trail {
        &mut self.trails[event as usize]
    }

    pub fn is_carried(&self, event: Event) -> bool {
        self.relays.iter().any(|relay| relay.carrying != Carrying::Nothing && relay.event == event)
    }

    pub fn is_worked_at(&self, event: Event) -> bool {
        self.workers.iter().any(|worker| worker.at != At::Rest && worker.event == event)
    }
}
