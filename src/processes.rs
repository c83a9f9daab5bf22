//! What each process says of its parts, in the database: so that the one that is asked can tell of the others.

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::db::purge::Purge;
use crate::health::PartState;

/// How often a process gives a sign of life …
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// … and after how long without one it is gone.
const GONE_AFTER: Duration = Duration::from_secs(35);

/// Who is gone without a word is remembered for a day.
pub const PURGES: [Purge; 1] = [Purge {
    name: "processes that are gone",
    statement: "delete from process_part
                where (process, part) in (select process, part from process_part where seen_at < $1 limit $2)",
    keep: Duration::from_hours(24),
}];

/// A part of another process.
#[derive(Clone, Debug, FromRow)]
struct Row {
    process: Uuid,
    part: String,
    degraded: bool,
    since: Timestamp,
    seen_at: Timestamp,
}

/// What a process needs somebody to do, itself or another one, and since when it has been there to need it.
#[derive(Clone, Debug)]
pub struct Needs {
    /// The names of parts.
    pub parts: Vec<String>,
    /// Since when.
    pub since: Timestamp,
}

/// A part of another process, as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The other process; nil where there is none that does what is needed.
    pub process: Uuid,
    /// Its part.
    pub part: String,
    /// Whether it does not work as it should; also when it is gone without a word and nobody else does its work.
    pub degraded: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// Whether nobody does its work.
    pub is_missing: bool,
}

/// Writes down how the parts of `process` fare.
///
/// # Errors
/// When the database is away.
pub async fn report(db: &Db, clock: &Clock, process: Uuid, parts: &[PartState]) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    for part in parts {
        tx.query(
            "insert into process_part (process, part, degraded, since, reason, restarts, seen_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (process, part) do update
             set degraded = excluded.degraded, since = excluded.since, reason = excluded.reason,
                 restarts = excluded.restarts, seen_at = excluded.seen_at",
        )
        .bind(process)
        .bind(part.part.clone())
        .bind(part.degraded)
        .bind(part.since)
        .bind(part.trouble.clone())
        .bind(i64::try_from(part.restarts).unwrap_or(i64::MAX))
        .bind(clock.now())
        .execute_deferred()
        .await?;
    }
    tx.commit().await
}

/// A process that stops in order says nothing more.
///
/// # Errors
/// When the database is away; it is then gone without a word.
pub async fn leave(db: &Db, process: Uuid) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    tx.query("delete from process_part where process = $1").bind(process).execute_deferred().await?;
    tx.commit().await
}

/// The parts of all other processes. One that is gone without a word is named where nobody else, here (`own`) or elsewhere,
/// does its work; and so is what is needed and was never there.
///
/// # Errors
/// When the database is away.
pub async fn elsewhere(
    db: &Db,
    clock: &Clock,
    process: Uuid,
    own: &[PartState],
    needs: &Needs,
) -> sqlx::Result<Vec<Elsewhere>> {
    let rows: Vec<Row> = db
        .query("select process, part, degraded, since, seen_at from process_part where process <> $1 order by part, process")
        .bind(process)
        .all()
        .await?;
    let now = clock.now();
    let (alive, gone): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| (now - row.seen_at).to_std().unwrap_or_default() < GONE_AFTER);
    let is_done = |part: &str| own.iter().any(|own| own.part == part) || alive.iter().any(|row| row.part == part);
    let missing = gone.into_iter().filter(|row| !is_done(&row.part));
    let mut missing: Vec<Row> = missing.map(|row| Row { degraded: true, since: row.seen_at, ..row }).collect();
    // processes that start together find each other a moment later
    if (now - needs.since).to_std().unwrap_or_default() >= GONE_AFTER {
        for part in &needs.parts {
            if !is_done(part) && missing.iter().all(|row| row.part != *part) {
                let (since, process) = (needs.since, Uuid::nil());
                missing.push(Row { process, part: part.clone(), degraded: true, since, seen_at: since });
            }
        }
    }
    let all = alive.into_iter().map(|row| (row, false)).chain(missing.into_iter().map(|row| (row, true)));
    Ok(all
        .map(|(Row { process, part, degraded, since, .. }, is_missing)| Elsewhere {
            process,
            part,
            degraded,
            since,
            is_missing,
        })
        .collect())
}
