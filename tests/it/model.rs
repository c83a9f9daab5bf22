//! A model of how an event travels, and every order in which its steps and faults can come.
//!
//! Outbox, relay, broker, lease and inbox as a protocol of small steps; stateright walks through all states that can be
//! reached with two requests (one makes a mail, one a log row), two relays, two workers, three faults at any time, and a
//! broker that is wiped once. It must hold: nothing is lost, no ghost mail, one log row, and no more copies of a mail than
//! there were crashes between the server's 250 and the record. Each of a list of bugs, put into the protocol, must break
//! exactly one of these: what cannot fail proves nothing.
//!
//! What the walk taught:
//!
//! * Inbox and lease are one question. Who asks the inbox and then takes the lease may find it free because another has
//!   just finished.
//! * The look at the lease that counts is the one before the mail goes. After that, a record written without the lease
//!   breaks nothing, and spares a copy.
//! * The reconciler heals more than a wiped broker: also a mark before the confirm and an early acknowledgement. So everything
//!   is checked without it as well, or it would hide them.
//!
//! What the model leaves out:
//!
//! * It is not the code. That the code takes these steps is for the tests that kill it.
//! * A transaction is one step, so a database that dies is a process that dies before or after it. Answers to requests,
//!   and requests sent twice, are not here; neither are batches, retention, dead letters, and mails that are refused.
//! * Time has no length. A claim or lease whose holder is dead ends; that one ends while its holder is paused is a fault,
//!   and so is a reconciliation that comes while the message is still somewhere. Who checks the lease must have time enough left
//!   for the mail: a pause between that look and the record counts as a crash, as does a 250 that is not heard.
//! * The broker keeps what it confirmed until it is wiped. It has no order, and no routing that could be wrong. "Later" is
//!   one step; a crash between its copy and its acknowledgement is a redelivery.
//! * The second guards are not here: a listener looks whether the registration still waits before it sends.
//! * Only ends are judged: that the parts come to one, and do not for ever put a message off, is not.

use std::time::Instant;

use stateright::{Checker, Expectation, Model as _};

use self::protocol::{Bug, LOG_ONCE, MAIL_BOUND, NO_GHOST, NOTHING_LOST, Protocol};
use self::state::{EVENTS, Event};

mod action;
mod protocol;
mod state;

/// A bug, the event that shows it, the property that it breaks, and whether the reconciler heals it.
const SEEDED: [(Bug, Event, &str, bool); 12] = [
    (Bug::EventAfterCommit, Event::Registration, NOTHING_LOST, false),
    (Bug::EventBeforeCommit, Event::Registration, NO_GHOST, false),
    (Bug::MarkBeforeConfirm, Event::Registration, NOTHING_LOST, true),
    (Bug::AckBeforeRecord, Event::Login, NOTHING_LOST, true),
    (Bug::InboxBeforeEffect, Event::Registration, NOTHING_LOST, false),
    (Bug::InboxBeforeEffect, Event::Login, NOTHING_LOST, false),
    (Bug::CheckThenInsert, Event::Login, LOG_ONCE, false),
    (Bug::NoLeaseCheck, Event::Registration, MAIL_BOUND, false),
    (Bug::InboxApartFromLease, Event::Registration, MAIL_BOUND, false),
    (Bug::NoLease, Event::Registration, MAIL_BOUND, false),
    (Bug::AckWhenLeased, Event::Registration, NOTHING_LOST, true),
    (Bug::NoReconciler, Event::Login, NOTHING_LOST, false),
];

/// Walks through all states and tells how many there are.
fn walk(protocol: Protocol) -> usize {
    let began = Instant::now();
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), began.elapsed());
    let rate = states as u128 * 1_000 / took.as_millis().max(1);
    println!("{states} states in {took:.1?}, {rate} states/s: {protocol:?}");
    checker.assert_properties();
    states
}

/// The properties that do not hold.
fn broken(protocol: Protocol) -> Vec<&'static str> {
    let checker = protocol.checker().spawn_bfs().join();
    let always = protocol.properties().into_iter().filter(|property| property.expectation == Expectation::Always);
    always.map(|property| property.name).filter(|name| checker.discovery(name).is_some()).collect()
}

/// The shortest way to break a property. (A whole walk keeps the last one it finds.)
fn shortest(protocol: Protocol, property: &'static str) -> String {
    let within = |depth| protocol.checker().target_max_depth(depth).spawn_bfs().join().discovery(property);
    let path = (1..100).find_map(within).unwrap_or_else(|| panic!("{protocol:?} does not break {property}"));
    path.into_actions().iter().map(|action| format!("\n    {action:?}")).collect()
}

#[test]
fn the_protocol_loses_nothing_and_doubles_no_row() {
    let states = walk(Protocol { bug: None, events: &EVENTS, faults: 3, wipes: true });
    assert!(states >= 1_000_000, "{states} states are too few to say so");
}

#[test]
fn the_protocol_needs_no_reconciler_while_the_broker_keeps_what_it_has() {
    walk(Protocol { bug: None, events: &EVENTS, faults: 3, wipes: false });
}

#[test]
fn the_model_finds_each_seeded_bug() {
    for (bug, event, property, healed) in &SEEDED {
        let events = std::slice::from_ref(event);
        let protocol = Protocol { bug: Some(*bug), events, faults: 2, wipes: *bug == Bug::NoReconciler };
        println!("{bug:?} breaks \"{property}\":{}", shortest(protocol, property));
        assert_eq!(broken(protocol), [*property], "{bug:?}");
        let reconciled = broken(Protocol { wipes: true, ..protocol });
        let expected: &[&str] = if *healed { &[] } else { &[property] };
        assert_eq!(reconciled, expected, "{bug:?} with the reconciler");
    }
}

#[test]
fn a_mail_may_be_recorded_by_who_has_lost_its_lease() {
    walk(Protocol { bug: Some(Bug::RecordWithoutLease), events: &[Event::Registration], faults: 4, wipes: true });
}
