//! What listeners need, and what one is made of.

use std::sync::Arc;

use url::Url;

use crate::account::Accounts;
use crate::config::RetryPolicy;
use crate::health::Health;
use crate::mail::Transport;
use crate::messaging::consumer::layers::{RateLimit, Stack};

/// The dependencies of all listeners. Clones share everything.
#[derive(Clone, Debug)]
pub struct ListenerContext {
    /// What the use cases need.
    pub accounts: Accounts,
    /// How mails leave.
    pub mail: Arc<Transport>,
    /// How fast they may leave, if it is limited.
    pub mail_rate: Option<RateLimit>,
    /// When a mail that is delayed is tried again.
    pub retry: RetryPolicy,
    /// The base of links.
    pub public_url: Url,
    /// Where their parts are counted.
    pub health: Health,
    /// The domain of Message-IDs: the sender's.
    pub mail_domain: Arc<str>,
}

/// A queue, what it is bound to, and who handles its messages.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Short name of the queue.
    pub queue: &'static str,
    /// What it does about a message, for operators.
    pub purpose: &'static str,
    /// The routing keys that it is bound to on the events exchange.
    pub keys: &'static [&'static str],
    /// How many messages one consumer handles concurrently unless the settings say otherwise; none is one at a time, by
    /// several consumers.
    pub batch: Option<u16>,
    /// The function with its layers; to be called inside a runtime.
    pub stack: fn(&ListenerContext) -> Stack,
}
