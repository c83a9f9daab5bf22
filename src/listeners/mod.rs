//! Door two: a message in, an effect out.
//!
//! Read [`all`] like a router: a queue, the routing keys it is bound to, the function that does the work.
//!
//! * [`confirmation`]: the mail to who registered
//! * [`login_log`]: what happened at the door
//! * [`node`]: what the running web nodes must forget
//! * [`mail_text`]: what our mails say

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::account::Accounts;
use crate::account::login_log::LoginLog;
use crate::mail::Transport;
use crate::messaging::consumer::layers::{self, RateLimit, Stack};

pub mod confirmation;
pub mod login_log;
pub mod mail_text;
pub mod node;

/// What the listeners need. Clones share everything.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The rows and whoever changes them.
    pub accounts: Accounts,
    /// What happened at the door.
    pub log: LoginLog,
    /// How mails leave.
    pub mail: Arc<Transport>,
    /// How fast they may, if somebody said so.
    pub mail_rate: Option<RateLimit>,
    /// The base of links.
    pub public_url: Url,
    /// The domain in the Message-IDs: the sender's.
    pub mail_domain: Arc<str>,
}

/// A queue and what is done about its messages.
#[derive(Clone)]
pub struct Listener {
    /// Short name of the queue.
    pub queue: &'static str,
    /// What the queue is bound to on the events exchange.
    pub keys: &'static [&'static str],
    /// The function with its stack.
    pub stack: Stack,
    /// How many messages one consumer works at at the same time unless the settings say otherwise; none is one after the
    /// other, by several consumers.
    pub batch: Option<u16>,
}

/// Every queue with the routing keys that it is bound to.
pub const QUEUES: [(&str, &[&str]); 2] =
    [(confirmation::QUEUE, &["user.registered"]), (login_log::QUEUE, &["login.*"])];

/// The listeners' table.
#[must_use]
pub fn all(desk: &Desk) -> Vec<Listener> {
    let (mailer, logger) = (desk.clone(), desk.clone());
    let inbox = (desk.accounts.db.clone(), desk.accounts.clock.clone());
    // the last dot of a mail may take ten minutes (RFC 5321 section 4.5.3.2.6); a row takes moments
    let (mail, row) = (Duration::from_mins(15), Duration::from_secs(30));
    vec![
        Listener::new(
            confirmation::QUEUE,
            layers::after_success(confirmation::QUEUE, inbox, desk.mail_rate.clone(), mail, move |message| {
                confirmation::confirmation(mailer.clone(), message)
            }),
        ),
        Listener {
            batch: Some(login_log::BATCH),
            ..Listener::new(
                login_log::QUEUE,
                layers::transactional(login_log::QUEUE, row, move |message| {
                    login_log::login_log(logger.clone(), message)
                }),
            )
        },
    ]
}

impl Listener {
    fn new(queue: &'static str, stack: Stack) -> Self {
        let keys = QUEUES.iter().find(|(name, _)| *name == queue).map_or(&[][..], |(_, keys)| keys);
        Listener { queue, keys, stack, batch: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;
    use crate::messaging::topology::matches;

    #[test]
    fn nodes_hear_nothing_that_a_listener_would_be_missed_for() {
        let is_bound = |keys: &[&str], kind: &str| keys.iter().any(|key| matches(key, kind));
        let heard: Vec<&str> = event::TYPES.into_iter().filter(|kind| is_bound(&node::KEYS, kind)).collect();
        let missed = |kind: &&str| QUEUES.iter().any(|(_, keys)| is_bound(keys, kind));
        assert_eq!(heard, node::KEYS);
        assert_eq!(heard.into_iter().find(missed), None);
    }
}
