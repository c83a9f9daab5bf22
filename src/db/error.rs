//! What the errors of a database mean, in one table: which pass without a change of the program, what is said of them and
//! what becomes of the connection.

use std::error::Error;
use std::io::{self, ErrorKind};

use Outage::{Away, Busy, Crowded, Failing, Full, ReadOnly};

/// Why the database does not do what it was asked, through no fault of the statement. A request is answered 503, with
/// Retry-After; every other error is ours, and 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It cannot be reached, goes down, comes up or does not let us in.
    Away,
    /// Others are at the same rows, or it takes too long: the next try may do.
    Busy,
    /// It has no connection left for us.
    Crowded,
    /// It takes no writes: a standby, or a file or file system that is read only.
    ReadOnly,
    /// Its disk is full, or our share of it.
    Full,
    /// Its disk or its file system fails.
    Failing,
}

/// What follows from each.
struct Consequence {
    outage: Outage,
    /// Whether this process can take requests nevertheless; `/readyz` says so.
    ready: bool,
    /// Whether the connection is kept. One to a server that is not the primary any more would stay wrong for ever, and a
    /// file may have been replaced by another.
    keeps_connection: bool,
    /// For `/readyz` and the log. Strangers may read it: no names.
    words: &'static str,
    /// The kind of an error of the system that means the same, for copies of an error that many have caused.
    kind: ErrorKind,
}

#[rustfmt::skip]
const CONSEQUENCES: [Consequence; 6] = [
    row(Away,     false, false, "the database is away",                   ErrorKind::NotConnected),
    row(Busy,     true,  true,  "the database is busy",                   ErrorKind::ResourceBusy),
    row(Crowded,  false, true,  "the database has no connection left",    ErrorKind::AddrInUse),
    row(ReadOnly, false, false, "the database is read only",              ErrorKind::ReadOnlyFilesystem),
    row(Full,     false, true,  "the disk of the database is full",       ErrorKind::StorageFull),
    row(Failing,  false, false, "the disk of the database fails",         ErrorKind::StaleNetworkFileHandle),
];

const fn row(outage: Outage, ready: bool, keeps_connection: bool, words: &'static str, kind: ErrorKind) -> Consequence {
    Consequence { outage, ready, keeps_connection, words, kind }
}

/// `SQLSTATE`s and the beginnings of them (`PostgreSQL`, appendix A), the first that fits.
const SQLSTATES: &[(&str, Outage)] = &[
    // connection exceptions
    ("08", Away),
    // a standby, or default_transaction_read_only
    ("25006", ReadOnly),
    // it has ended a session that was idle inside a transaction, or whose transaction took too long
    ("25P03", Away),
    ("25P04", Away),
    // no entry in pg_hba.conf or a wrong password, no such database: as in the middle of a fail-over
    ("28", Away),
    ("3D000", Away),
    // serialization failures, deadlocks
    ("40", Busy),
    ("53100", Full),
    ("53300", Crowded),
    // out of memory, a limit of the configuration
    ("53", Busy),
    // a lock that was not to be had in time
    ("55P03", Busy),
    // it shuts down, crashed, comes up, or drops us: 57P01-05
    ("57P", Away),
    // a statement that took too long
    ("57", Busy),
    // errors of its system: input and output, a file that is missing
    ("58", Failing),
];

/// `SQLite`'s result codes; an extended one has the plain one in its lowest byte (sqlite.org/rescode.html). A full quota
/// and a file system that is read only come as 10, an input or output error.
const RESULT_CODES: &[(u32, Outage)] = &[
    // BUSY, LOCKED, PROTOCOL: other processes
    (5, Busy),
    (6, Busy),
    (15, Busy),
    // NOMEM
    (7, Busy),
    // READONLY
    (8, ReadOnly),
    // IOERR, CANTOPEN
    (10, Failing),
    (14, Failing),
    // FULL
    (13, Full),
];

/// Errors of the system, of the files beside the database as well.
const SYSTEM_ERRORS: &[(ErrorKind, Outage)] = &[
    (ErrorKind::NotConnected, Away),
    (ErrorKind::ResourceBusy, Busy),
    (ErrorKind::AddrInUse, Crowded),
    (ErrorKind::ReadOnlyFilesystem, ReadOnly),
    (ErrorKind::StorageFull, Full),
    (ErrorKind::QuotaExceeded, Full),
    (ErrorKind::FileTooLarge, Full),
    (ErrorKind::StaleNetworkFileHandle, Failing),
];
/// EIO has no kind of its own.
const INPUT_OUTPUT_ERROR: i32 = 5;

impl Outage {
    fn consequence(self) -> &'static Consequence {
        let [first, ..] = &CONSEQUENCES;
        CONSEQUENCES.iter().find(|row| row.outage == self).unwrap_or(first)
    }

    /// Whether requests can be taken nevertheless.
    #[must_use]
    pub fn is_ready(self) -> bool {
        self.consequence().ready
    }

    /// Whether a connection that says so may be used again.
    #[must_use]
    pub fn keeps_connection(self) -> bool {
        self.consequence().keeps_connection
    }

    /// For people; it holds no name of anything.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.consequence().words
    }

    /// An error of the same meaning, with the text of the one that it is a copy of.
    pub(super) fn copy(self, text: &str) -> sqlx::Error {
        sqlx::Error::Io(io::Error::new(self.consequence().kind, text.to_owned()))
    }
}

/// Why the database could not do what it was asked, if that is behind an error.
#[must_use]
pub fn outage(error: &(dyn Error + 'static)) -> Option<Outage> {
    causes(error).find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return of_system(error);
        }
        of_driver(cause.downcast_ref()?)
    })
}

/// Whether an error means that trying again later may help: a request is answered 503 instead of 500.
#[must_use]
pub fn is_unavailable(error: &anyhow::Error) -> bool {
    outage(error.as_ref()).is_some()
}

/// Whether the driver could not make sense of what the database answered. It is away for a moment when it is cut off while
/// a connection begins; what lasts is a fault of the program or of something between.
#[must_use]
pub fn is_protocol_error(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(sqlx::Error::Protocol(_))))
}

/// Says why something that is tried again and again did not work; not while the database is away, which is said once, by who
/// watches it.
pub fn report_failed_poll(what: &str, error: &anyhow::Error) {
    if is_unavailable(error) {
        tracing::debug!(what, error = format!("{error:#}"), "the database is away; trying again");
    } else {
        tracing::warn!(what, error = format!("{error:#}"), "does not work; trying again");
    }
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

fn of_driver(error: &sqlx::Error) -> Option<Outage> {
    match error {
        sqlx::Error::Io(error) => Some(of_system(error).unwrap_or(Away)),
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Tls(_)
        | sqlx::Error::BeginFailed
        // a connection that a proxy in front of a dead server closes at once
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => Some(Away),
        sqlx::Error::Database(error) => of_code(&error.code()?),
        _ => None,
    }
}

/// A `SQLSTATE` has five characters, a result code of `SQLite` fewer.
fn of_code(code: &str) -> Option<Outage> {
    if code.len() == 5 {
        return SQLSTATES.iter().find(|(class, _)| code.starts_with(class)).map(|(_, outage)| *outage);
    }
    let plain = code.parse::<u32>().ok()? & 0xff;
    RESULT_CODES.iter().find(|(code, _)| *code == plain).map(|(_, outage)| *outage)
}

fn of_system(error: &io::Error) -> Option<Outage> {
    let by_kind = SYSTEM_ERRORS.iter().find(|(kind, _)| *kind == error.kind()).map(|(_, outage)| *outage);
    by_kind.or_else(|| (error.raw_os_error() == Some(INPUT_OUTPUT_ERROR)).then_some(Failing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outage_has_its_row_and_a_copy_means_the_same() {
        for outage in [Away, Busy, Crowded, ReadOnly, Full, Failing] {
            assert_eq!(outage.consequence().outage, outage);
            let copy = anyhow::Error::from(outage.copy("as it was")).context("cannot write");
            assert_eq!(super::outage(copy.as_ref()), Some(outage), "{copy:#}");
            assert!(format!("{copy:#}").contains("as it was"));
        }
    }

    /// F6, F7, F62: IOERR, READONLY and CANTOPEN were 500, and none of them was told apart from "away".
    #[test]
    fn result_codes_of_sqlite_are_told_by_their_lowest_byte() {
        #[rustfmt::skip]
        let told = [
            ("5", Busy), ("261", Busy), ("517", Busy), ("6", Busy), ("262", Busy), ("15", Busy), ("7", Busy),
            ("8", ReadOnly), ("264", ReadOnly), ("1032", ReadOnly), ("1544", ReadOnly),
            ("10", Failing), ("266", Failing), ("778", Failing), ("1034", Failing), ("4874", Failing), ("3850", Failing),
            ("14", Failing), ("270", Failing), ("13", Full),
        ];
        for (code, outage) in told {
            assert_eq!(of_code(code), Some(outage), "{code}");
        }
        for ours in ["1", "11", "19", "2067", "20", "26"] {
            assert_eq!(of_code(ours), None, "{ours}");
        }
    }

    #[test]
    fn errors_of_the_system_are_told_by_their_number() {
        // EIO, EROFS, ENOSPC, EFBIG, ESTALE, EDQUOT
        for (number, outage) in [(5, Failing), (30, ReadOnly), (28, Full), (27, Full), (116, Failing), (122, Full)] {
            let error = io::Error::from_raw_os_error(number);
            let behind = anyhow::Error::from(io::Error::from_raw_os_error(number)).context("cannot keep the mail");
            let from_driver = sqlx::Error::Io(error);
            assert_eq!(super::outage(behind.as_ref()), Some(outage), "{behind:#}");
            assert_eq!(super::outage(&from_driver), Some(outage), "{from_driver}");
        }
        let missing = io::Error::from(ErrorKind::NotFound);
        assert_eq!(super::outage(&missing), None, "a file of ours that is missing");
        assert_eq!(super::outage(&sqlx::Error::Io(missing)), Some(Away), "a socket");
    }
}
