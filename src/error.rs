//! Errors that mean "not now" in every room: nothing is broken, and trying again later helps.

/// All permits are taken, and all places to wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many are waiting already")]
pub struct Overloaded;

/// A server that is needed cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Away(pub anyhow::Error);
