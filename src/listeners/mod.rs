//! The inbound adapter for messages: each is handled by the listener of the queue it is in.
//!
//! A listener is a file with its queue, the routing keys it is bound to, and the function that does the work; [`LISTENERS`]
//! has them all.
//!
//! * [`confirmation`]: sends the mail of a registration
//! * [`login_log`]: writes logins into the login log
//! * [`password_reset`]: sends the mail for a forgotten password
//! * [`email_change`]: sends the mail to the address that an account is to move to
//! * [`notices`]: tells a person by mail what was done with their account
//! * [`reminders`], [`deletion`]: what was scheduled and is due
//! * [`node`]: not in the table, as its queue comes and goes with a web node: drops ended sessions from its cache and wakes its pages

use self::context::Listener;

pub mod confirmation;
pub mod context;
pub mod deletion;
mod delivery;
pub mod email_change;
mod letters;
pub mod login_log;
mod mail_layout;
pub mod node;
pub mod notices;
pub mod password_reset;
pub mod reminders;

/// Every listener.
pub const LISTENERS: [Listener; 7] = [
    confirmation::LISTENER,
    login_log::LISTENER,
    password_reset::LISTENER,
    email_change::LISTENER,
    notices::LISTENER,
    reminders::LISTENER,
    deletion::LISTENER,
];

/// Every listener's queue and the routing keys that it is bound to.
#[must_use]
pub fn bindings() -> [(&'static str, &'static [&'static str]); LISTENERS.len()] {
    LISTENERS.map(|listener| (listener.queue, listener.keys))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;
    use crate::messaging::topology::matches;

    #[test]
    fn web_nodes_hear_no_event_that_the_reconciler_would_miss_at_a_listener() {
        let is_bound = |keys: &[&str], kind: &str| keys.iter().any(|key| matches(key, kind));
        let heard: Vec<&str> = event::TYPES.into_iter().filter(|kind| is_bound(&node::KEYS, kind)).collect();
        let missed = |kind: &&str| LISTENERS.iter().any(|listener| is_bound(listener.keys, kind));
        assert_eq!(heard, node::KEYS);
        assert_eq!(heard.into_iter().find(missed), None);
    }
}
