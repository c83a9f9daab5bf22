//! How events travel to the listeners.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;

pub(super) const SECTION: Section = Section {
    title: "Messages",
    settings: &[
        Setting::new("BROKER_URL", Fallback::Described("queues in the database"), "amqp://… or amqps://…")
            .secret()
            .example("amqp://user:password@localhost:5672/vhost"),
        Setting::new(
            "TOPOLOGY",
            Fallback::Value("apply"),
            "apply, or verify: only check the broker's exchanges, queues and bindings",
        ),
        Setting::new("PREFETCH", Fallback::Described("1; login-log 200"), "messages a consumer may hold")
            .per_queue()
            .example("10"),
        Setting::new(
            "LISTENER_CONCURRENCY",
            Fallback::Described("4; login-log 1"),
            "consumers of a queue in this process",
        )
        .per_queue()
        .example("4"),
        Setting::new(
            "RETRY_HOURS",
            Fallback::Value("48"),
            "hours that a failing message is tried again before it becomes a dead letter, at least 24",
        ),
    ],
};

/// How events travel to the listeners.
#[derive(Clone, Debug)]
pub struct MessagingConfig {
    /// `BELLHOP_BROKER_URL`; none is queues in the database.
    pub broker_url: Option<SecretString>,
    /// `BELLHOP_TOPOLOGY`
    pub topology: TopologyMode,
    /// `BELLHOP_PREFETCH` and `BELLHOP_PREFETCH_<QUEUE>`
    pub prefetch: PerQueue,
    /// `BELLHOP_LISTENER_CONCURRENCY` and `BELLHOP_LISTENER_CONCURRENCY_<QUEUE>`
    pub concurrency: PerQueue,
    /// When a message that fails is tried again, and for how long (`BELLHOP_RETRY_HOURS`).
    pub retry: RetryPolicy,
}

/// What to do about the broker's exchanges, queues and bindings at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyMode {
    /// Declare them.
    Apply,
    /// Only look whether they are there, for users without the configure right.
    Verify,
}

/// A number that may differ by queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerQueue {
    all: Option<u16>,
    queues: BTreeMap<String, u16>,
}

impl PerQueue {
    /// The same for every queue.
    #[must_use]
    pub fn all(number: u16) -> Self {
        PerQueue { all: Some(number), queues: BTreeMap::new() }
    }

    /// For the queue of this short name, which has a default of its own.
    #[must_use]
    pub fn of(&self, queue: &str, default: u16) -> u16 {
        self.queues.get(queue).copied().or(self.all).unwrap_or(default)
    }

    /// The queues that are set apart, by short name.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    fn parse(values: &mut Values, name: &str) -> Result<Self, ConfigError> {
        let at_least_one = |name: &str, number: u16| {
            if number == 0 { Err(ConfigError::value(name, "0 is not at least 1")) } else { Ok(number) }
        };
        let all = values.take_optional(name)?.map(|number| at_least_one(name, number)).transpose()?;
        let mut queues = BTreeMap::new();
        for (name, queue) in values.queues_of(name) {
            if let Some(number) = values.take_optional(&name)? {
                queues.insert(queue, at_least_one(&name, number)?);
            }
        }
        Ok(PerQueue { all, queues })
    }
}

/// When a message that fails is tried again, for how long, and how long one that is silent is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wait of each tier, shortest first.
    pub tiers: [Duration; 5],
    /// Since the first failure; past that it becomes a dead letter.
    pub total: Duration,
    /// How long after its publication an event may go unrecorded before it is missed.
    pub grace: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            tiers: [10, 60, 600, 3_600, 21_600].map(Duration::from_secs),
            total: Duration::from_hours(48),
            grace: Duration::from_mins(5),
        }
    }
}

impl RetryPolicy {
    /// How long what has just failed waits until it is tried again; none when it has been failing for too long.
    #[must_use]
    pub fn next_wait(&self, attempt: u32, failing_for: Duration) -> Option<Duration> {
        if failing_for >= self.total {
            return None;
        }
        let attempt = usize::try_from(attempt).unwrap_or(usize::MAX);
        self.tiers.get(attempt).or(self.tiers.last()).copied()
    }

    /// A mail server may be away for a day: to give up sooner would lose mails for nothing. And the inbox must remember for
    /// longer than an event may come again.
    fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        let hours = values.take_in("RETRY_HOURS", 24..=336_u32, "")?;
        Ok(RetryPolicy { total: Duration::from_hours(hours.into()), ..RetryPolicy::default() })
    }
}

impl MessagingConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        Ok(MessagingConfig {
            broker_url: values.take_secret("BROKER_URL"),
            topology: values
                .take_word("TOPOLOGY", &[("apply", TopologyMode::Apply), ("verify", TopologyMode::Verify)])?,
            prefetch: PerQueue::parse(values, "PREFETCH")?,
            concurrency: PerQueue::parse(values, "LISTENER_CONCURRENCY")?,
            retry: RetryPolicy::parse(values)?,
        })
    }
}
