//! What may happen next, in the right protocol and with a bug in it, and what must hold.

use stateright::{Model, Property};

use super::action::{Action, Carry, Passing, Request, Work};
use super::state::{At, Business, Carrying, EVENTS, Event, Lease, Relay, Row, State, Worker};

/// Every committed event has its effect when nothing goes on any more.
pub const NOTHING_LOST: &str = "nothing lost";
/// No effect without its committed event.
pub const NO_GHOST: &str = "no ghost mail";
/// At most one row for an event, at any time.
pub const LOG_ONCE: &str = "log exactly once";
/// Mails of an event but for the first, at any time.
pub const MAIL_BOUND: &str = "mail duplicates <= crashes between 250 and the record";

/// Must be possible, or the bound on duplicates would hold for want of any.
const MAIL_TWICE: &str = "a mail can come twice";
/// Must be possible, or the rest would hold because faults stop everything.
const ALL_ARRIVED: &str = "all can arrive after all faults";

/// A mistake in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The event is written after the business commit, not in its transaction.
    EventAfterCommit,
    /// The event is written before the business commit, not in its transaction.
    EventBeforeCommit,
    /// A row is marked as published when it is sent, not when the broker has confirmed it.
    MarkBeforeConfirm,
    /// A delivery is acknowledged when it is taken, not when its effect is recorded.
    AckBeforeRecord,
    /// The inbox is marked in a transaction of its own, before the effect.
    InboxBeforeEffect,
    /// The inbox is asked first; the row is written later, and the mark does not decide.
    CheckThenInsert,
    /// The mail goes without another look at the lease.
    NoLeaseCheck,
    /// The inbox is asked before the lease is taken, not together with it.
    InboxApartFromLease,
    /// The inbox is asked, the mail sent and the inbox marked, without a lease.
    NoLease,
    /// Who finds another's lease acknowledges, and does not come later.
    AckWhenLeased,
    /// After a broker was wiped nothing is published again.
    NoReconciler,
    /// Who has lost the lease records the mail all the same. Looks like a bug, and is none.
    RecordWithoutLease,
}

/// The protocol and the world it runs in.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub bug: Option<Bug>,
    /// The requests that are under way at the beginning.
    pub events: &'static [Event],
    /// How many faults there may be, of any kind and at any time.
    pub faults: u8,
    /// Whether the broker may be wiped, once and beyond those faults. Then, and only then, there is the reconciler.
    pub wipes: bool,
}

impl Protocol {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn reconciles(&self) -> bool {
        self.wipes && !self.has(Bug::NoReconciler)
    }

    /// Whether the inbox is asked in a step of its own.
    fn asks_first(&self, event: Event) -> bool {
        match event {
            Event::Registration => self.has(Bug::InboxApartFromLease) || self.has(Bug::NoLease),
            Event::Login => self.has(Bug::CheckThenInsert) || self.has(Bug::InboxBeforeEffect),
        }
    }

    /// What goes on by itself.
    fn steps(&self, state: &State, steps: &mut Vec<Action>) {
        for event in EVENTS {
            let trail = state.of(event);
            match trail.business {
                Business::Open if self.has(Bug::EventBeforeCommit) && trail.row == Row::Missing => {
                    steps.push(Action::Web(Request::Append(event)));
                }
                Business::Open => {
                    steps.extend([Request::Commit(event), Request::RollBack(event)].map(Action::Web));
                }
                Business::Unwritten => steps.push(Action::Web(Request::Append(event))),
                Business::Committed | Business::RolledBack => {}
            }
            if trail.row == Row::Claimed && !state.is_carried(event) {
                steps.push(Action::Time(event, Passing::EndClaim));
            }
            if trail.lease == Lease::OfTheDead {
                steps.push(Action::Time(event, Passing::EndLease));
            }
            let is_gone = trail.queued == 0 && !state.is_worked_at(event);
            if self.reconciles() && trail.row == Row::Published && !trail.recorded && is_gone {
                steps.push(Action::Time(event, Passing::Reconcile));
            }
        }
        for (number, relay) in state.relays.iter().enumerate() {
            let next = match relay.carrying {
                Carrying::Nothing => {
                    let due = EVENTS.into_iter().filter(|event| state.of(*event).row == Row::Due);
                    steps.extend(due.map(|event| Action::Relay(number, Carry::Claim(event))));
                    continue;
                }
                Carrying::Claimed => Carry::Publish,
                Carrying::UnderWay => Carry::Confirm,
                Carrying::Confirmed => Carry::Mark,
            };
            steps.push(Action::Relay(number, next));
        }
        for (number, worker) in state.workers.iter().enumerate() {
            let next = match (worker.at, worker.event) {
                (At::Rest, _) => {
                    let queued = EVENTS.into_iter().filter(|event| state.of(*event).queued > 0);
                    steps.extend(queued.map(|event| Action::Worker(number, Work::Take(event))));
                    continue;
                }
                (At::Taken, event) if self.asks_first(event) => Work::AskInbox,
                (At::Taken | At::Passed, Event::Login) => Work::WriteLog,
                (At::Taken | At::Passed, Event::Registration) => Work::TakeLease,
                (At::Leased, _) => Work::CheckLease,
                (At::Sending, _) => Work::Send,
                (At::Sent, _) => Work::Record,
                (At::Done, _) => Work::Ack,
            };
            steps.push(Action::Worker(number, next));
        }
    }

    /// What can go wrong.
    fn faults(&self, state: &State, faults: &mut Vec<Action>) {
        if self.wipes && !state.wiped {
            faults.push(Action::WipeBroker);
        }
        if state.faults == self.faults {
            return;
        }
        if state.trails.iter().any(|trail| matches!(trail.business, Business::Open | Business::Unwritten)) {
            faults.push(Action::Web(Request::Crash));
        }
        for (number, relay) in state.relays.iter().enumerate() {
            if relay.carrying == Carrying::Nothing {
                continue;
            }
            let mut fault = |fault| faults.push(Action::Relay(number, fault));
            fault(Carry::Crash);
            if relay.carrying == Carrying::UnderWay {
                fault(Carry::LosePublication);
                fault(Carry::LoseConfirm);
            }
            if state.of(relay.event).row == Row::Claimed {
                fault(Carry::OutlastClaim);
            }
        }
        for (number, worker) in state.workers.iter().enumerate() {
            if worker.at == At::Rest {
                continue;
            }
            let mut fault = |fault| faults.push(Action::Worker(number, fault));
            fault(Work::Crash);
            if worker.lent {
                fault(Work::Redeliver);
            }
            if worker.at == At::Sending {
                fault(Work::LoseAnswer);
            }
            if state.of(worker.event).lease == Lease::Of(number) {
                fault(Work::OutlastLease);
            }
        }
        for event in EVENTS {
            let trail = state.of(event);
            let is_there = trail.queued > 0 || state.is_worked_at(event);
            if self.reconciles() && trail.row == Row::Published && !trail.recorded && is_there {
                faults.push(Action::Time(event, Passing::ReconcileEarly));
            }
        }
    }

    fn request(&self, next: &mut State, request: Request) {
        match request {
            Request::Commit(event) if self.has(Bug::EventAfterCommit) => {
                next.of_mut(event).business = Business::Unwritten;
            }
            Request::Commit(event) => {
                let trail = next.of_mut(event);
                trail.business = Business::Committed;
                if trail.row == Row::Missing {
                    trail.row = Row::Due;
                }
            }
            Request::RollBack(event) => next.of_mut(event).business = Business::RolledBack,
            Request::Append(event) => {
                let trail = next.of_mut(event);
                trail.row = Row::Due;
                if trail.business == Business::Unwritten {
                    trail.business = Business::Committed;
                }
            }
            Request::Crash => {
                for trail in &mut next.trails {
                    match trail.business {
                        Business::Open => trail.business = Business::RolledBack,
                        Business::Unwritten => trail.business = Business::Committed,
                        Business::Committed | Business::RolledBack => {}
                    }
                }
            }
        }
    }

    fn carry(&self, next: &mut State, number: usize, carry: Carry) {
        if let Carry::Claim(event) = carry {
            next.of_mut(event).row = Row::Claimed;
            next.relays[number] = Relay { carrying: Carrying::Claimed, event };
            return;
        }
        let relay = &mut next.relays[number];
        let trail = &mut next.trails[relay.event as usize];
        if carry == Carry::Confirm || carry == Carry::LoseConfirm {
            trail.queued += 1;
        }
        if carry == Carry::Mark || (carry == Carry::Publish && self.has(Bug::MarkBeforeConfirm)) {
            trail.row = Row::Published;
        }
        if matches!(carry, Carry::LosePublication | Carry::LoseConfirm) && !self.has(Bug::MarkBeforeConfirm) {
            trail.row = Row::Due;
        }
        match carry {
            Carry::Claim(_) => {}
            Carry::Publish => relay.carrying = Carrying::UnderWay,
            Carry::Confirm => relay.carrying = Carrying::Confirmed,
            Carry::OutlastClaim => trail.row = Row::Due,
            Carry::Mark | Carry::Crash | Carry::LosePublication | Carry::LoseConfirm => *relay = Relay::IDLE,
        }
    }

    fn work(&self, next: &mut State, number: usize, work: Work) {
        if let Work::Take(event) = work {
            next.of_mut(event).queued -= 1;
            next.workers[number] =
                Worker { at: At::Taken, event, lent: !self.has(Bug::AckBeforeRecord), ..Worker::RESTING };
            return;
        }
        let worker = &mut next.workers[number];
        let trail = &mut next.trails[worker.event as usize];
        let holds_lease = trail.lease == Lease::Of(number);
        // what may leave a mail at the mail server without a record; once for each mail
        let loses_mail = match work {
            Work::Crash => worker.at == At::Sent,
            Work::OutlastLease => matches!(worker.at, At::Sending | At::Sent),
            _ => work == Work::LoseAnswer,
        };
        if loses_mail && !worker.doubted {
            trail.in_doubt += 1;
            worker.doubted = true;
        }
        match work {
            Work::AskInbox | Work::TakeLease if trail.recorded && worker.at == At::Taken => worker.at = At::Done,
            Work::AskInbox => {
                trail.recorded = self.has(Bug::InboxBeforeEffect);
                worker.at = if self.has(Bug::NoLease) { At::Sending } else { At::Passed };
            }
            Work::WriteLog => {
                trail.effects += u8::from(!trail.recorded || worker.at == At::Passed);
                trail.recorded = true;
                worker.at = At::Done;
            }
            Work::TakeLease if trail.lease == Lease::Free => {
                trail.lease = Lease::Of(number);
                trail.recorded |= self.has(Bug::InboxBeforeEffect);
                worker.at = At::Leased;
            }
            Work::TakeLease if self.has(Bug::AckWhenLeased) => worker.at = At::Done,
            Work::CheckLease if holds_lease || self.has(Bug::NoLeaseCheck) => worker.at = At::Sending,
            Work::Send => {
                trail.effects += 1;
                worker.at = At::Sent;
            }
            Work::Record if holds_lease || self.has(Bug::NoLease) || self.has(Bug::RecordWithoutLease) => {
                trail.recorded = true;
                if holds_lease {
                    trail.lease = Lease::Free;
                }
                (worker.at, worker.doubted) = (At::Done, false);
            }
            Work::Take(_) | Work::Ack => *worker = Worker::RESTING,
            Work::OutlastLease => trail.lease = Lease::Free,
            Work::Redeliver => {
                trail.queued += 1;
                worker.lent = false;
            }
            Work::Crash => {
                trail.queued += u8::from(worker.lent);
                if holds_lease {
                    trail.lease = Lease::OfTheDead;
                }
                *worker = Worker::RESTING;
            }
            // it comes later: a copy returns to the queue when it has waited, and the delivery is acknowledged
            Work::TakeLease | Work::CheckLease | Work::Record | Work::LoseAnswer => {
                trail.effects += u8::from(work == Work::LoseAnswer);
                trail.queued += 1;
                if holds_lease {
                    trail.lease = Lease::Free;
                }
                *worker = Worker::RESTING;
            }
        }
    }

    /// Nothing goes on by itself any more.
    fn is_quiet(&self, state: &State) -> bool {
        // cheap, and enough for most states
        if state.workers.iter().any(|worker| worker.at != At::Rest) {
            return false;
        }
        let mut steps = Vec::new();
        self.steps(state, &mut steps);
        steps.is_empty()
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::beginning(self.events)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.steps(state, actions);
        self.faults(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        next.faults += u8::from(action.is_fault());
        match action {
            Action::Web(request) => self.request(&mut next, request),
            Action::Relay(number, carry) => self.carry(&mut next, number, carry),
            Action::Worker(number, work) => self.work(&mut next, number, work),
            Action::Time(event, Passing::EndLease) => next.of_mut(event).lease = Lease::Free,
            Action::Time(event, Passing::EndClaim | Passing::Reconcile | Passing::ReconcileEarly) => {
                next.of_mut(event).row = Row::Due;
            }
            Action::WipeBroker => {
                next.wiped = true;
                next.trails.iter_mut().for_each(|trail| trail.queued = 0);
                next.workers.iter_mut().for_each(|worker| worker.lent = false);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_LOST, |protocol: &Self, state: &State| {
                state.trails.iter().all(|trail| trail.business != Business::Committed || trail.effects > 0)
                    || !protocol.is_quiet(state)
            }),
            Property::always(NO_GHOST, |_, state: &State| {
                state.trails.iter().all(|trail| trail.effects == 0 || trail.business == Business::Committed)
            }),
            Property::always(LOG_ONCE, |_, state: &State| state.of(Event::Login).effects <= 1),
            Property::always(MAIL_BOUND, |_, state: &State| {
                let mails = state.of(Event::Registration);
                mails.effects <= 1 + mails.in_doubt
            }),
            Property::sometimes(MAIL_TWICE, |_, state: &State| state.of(Event::Registration).effects == 2),
            Property::sometimes(ALL_ARRIVED, |protocol: &Self, state: &State| {
                state.faults == protocol.faults
                    && state.wiped == protocol.wipes
                    && protocol.events.iter().all(|event| state.of(*event).recorded)
                    && protocol.is_quiet(state)
            }),
        ]
    }
}
