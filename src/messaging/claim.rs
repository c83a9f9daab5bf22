//! How rows are claimed: each by one of those who look at the same time.

/// The statement `$select … $rest` for both databases. On `PostgreSQL` the select, which ends before `$rest`, passes over
/// rows that another transaction is just claiming; `SQLite` has one writer at a time.
macro_rules! claim {
    ($select:expr, $rest:expr) => {
        crate::db::Sql { sqlite: concat!($select, $rest), postgres: concat!($select, " for update skip locked", $rest) }
    };
}
pub(super) use claim;
