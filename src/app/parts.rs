//! What runs in a process: everything, or what `--only` names.

use std::collections::BTreeSet;

use crate::config::ConfigError;
use crate::listeners::LISTENERS;

/// What runs in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// HTTP.
    pub web: bool,
    /// From the outbox to the broker.
    pub relay: bool,
    /// The queues that are consumed.
    pub queues: BTreeSet<&'static str>,
}

impl Parts {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Parts { web: true, relay: true, queues: queue_names().collect() }
    }

    /// The parts named by `--only`: `web`, `relay`, `listeners`, `listener:<queue>`. None named is everything.
    ///
    /// # Errors
    /// When a name is none of these.
    pub fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let mut parts = Parts { web: false, relay: false, queues: BTreeSet::new() };
        let mut any = false;
        for name in names {
            any = true;
            match (name, name.strip_prefix("listener:")) {
                ("web", _) => parts.web = true,
                ("relay", _) => parts.relay = true,
                ("listeners", _) => parts.queues.extend(queue_names()),
                (_, Some(queue)) if queue_names().any(|name| name == queue) => {
                    parts.queues.extend(queue_names().find(|name| *name == queue));
                }
                _ => {
                    let queues = queue_names().map(|queue| format!("listener:{queue}")).collect::<Vec<_>>().join(", ");
                    return Err(ConfigError::other(format!(
                        "--only {name}: there are web, relay, listeners, {queues}"
                    )));
                }
            }
        }
        Ok(if any { parts } else { Parts::all() })
    }
}

/// The short names of all queues.
pub(super) fn queue_names() -> impl Iterator<Item = &'static str> {
    LISTENERS.into_iter().map(|listener| listener.queue)
}
