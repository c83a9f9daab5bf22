//! Errors that mean "not now" in every room: nothing is broken, and trying again later helps.

use std::time::Duration;

/// All permits are taken, and all places to wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many are waiting already")]
pub struct Overloaded;

/// So much has been used up that the next try is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too often; the next try is due in {0:?}")]
pub struct OverBudget(pub Duration);

/// A server that is needed cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Away(pub anyhow::Error);
