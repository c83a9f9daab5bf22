//! Limits of the connections to either engine.

use std::time::Duration;

/// How long a request waits for a connection before it is answered that the service is busy.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Prepared statements of a connection; each costs a few KiB, and there are about a hundred in all.
pub(super) const STATEMENT_CACHE_CAPACITY: usize = 64;
