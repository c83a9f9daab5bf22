//! Which errors of a database pass by themselves.

/// Whether an error means that the database is away, busy or out of connections, so that trying again may help: a
/// request is answered 503 instead of 500.
#[must_use]
pub fn is_unavailable(error: &anyhow::Error) -> bool {
    is_away(error.as_ref())
}

/// Whether the driver could not make sense of what the database answered. It is away for a moment when it is cut off while
/// a connection begins; what lasts is a fault of the program or of something between.
#[must_use]
pub fn is_protocol_error(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| matches!(error, sqlx::Error::Protocol(_)))
}

fn causes<'e>(error: &'e (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'e sqlx::Error> {
    std::iter::successors(Some(error), |error| error.source()).filter_map(|cause| cause.downcast_ref::<sqlx::Error>())
}

/// As [`is_unavailable`], of any error and its causes.
#[must_use]
pub fn is_away(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::BeginFailed
        // a connection that a proxy in front of a dead server closes at once
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        // 08 connection, 53 out of resources, 57 operator, 40 rolled back by the server, 55P03 lock not available;
        // SQLite 5 busy, 6 locked, 13 full and their extended codes
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57", "40", "55P03"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                || code.parse::<u32>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 5 | 6 | 13))
        }),
        _ => false,
    })
}
