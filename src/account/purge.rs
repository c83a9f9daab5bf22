//! What expires: registrations that nobody confirmed, sessions, forgotten passwords, budgets, the login log.

use std::time::Duration;

use crate::account::budget::LONGEST_SPAN;
use crate::account::{devices, disown};
use crate::config::LifetimeConfig;
use crate::db::purge::Purge;

/// Which rows are deleted, and when.
#[must_use]
pub const fn purges(lifetimes: &LifetimeConfig) -> [Purge; 9] {
    [
        Purge {
            name: "registrations past their time",
            statement: "delete from registrations
                    where id in (select id from registrations where expires_at <= $1 limit $2)",
            keep: Duration::ZERO,
        },
        Purge {
            name: "sessions past their lifetime",
            statement: "delete from sessions where id in (select id from sessions where expires_at <= $1 limit $2)",
            keep: Duration::ZERO,
        },
        Purge {
            name: "sessions without use",
            statement: "delete from sessions
                    where id in (select id from sessions where last_seen_at <= $1 and not kept limit $2)",
            keep: lifetimes.session_idle,
        },
        Purge {
            name: "forgotten passwords past their time",
            statement: "delete from resets where id in (select id from resets where expires_at <= $1 limit $2)",
            keep: Duration::ZERO,
        },
        Purge {
            name: "changes of an address past their time",
            statement: "delete from email_changes where id in (select id from email_changes where expires_at <= $1 limit $2)",
            keep: Duration::ZERO,
        },
        Purge {
            name: "budgets that are full again",
            statement: "delete from budgets where key in (select key from budgets where used_at <= $1 limit $2)",
            keep: LONGEST_SPAN,
        },
        Purge {
            name: "rows of the login log past their time",
            statement: "delete from login_log where id in (select id from login_log where at <= $1 limit $2)",
            keep: lifetimes.log_retention,
        },
        devices::PURGE,
        disown::PURGE,
    ]
}
