//! The sessions that a running web node has seen lately, so that a signed-in request costs no query.
//!
//! Revocations come by the node's own queue on the broadcast exchange. While that queue is not subscribed nothing is
//! served from here, and after every gap everything is forgotten: a node that could not hear is a node that asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::token::TokenHash;
use crate::account::session::{self, SignedIn};
use crate::clock::Timestamp;

/// How long an entry is believed without having been looked up again. A revocation comes within milliseconds; when the
/// relay is away or behind, this keeps the promise that it is known everywhere within a second.
const BELIEVED: Duration = Duration::from_millis(900);

/// Entries at the most, a few hundred bytes each; past that all are forgotten.
const MOST: usize = 50_000;

/// The cache of one node.
#[derive(Debug, Default)]
pub struct SessionCache {
    entries: RwLock<HashMap<TokenHash, Entry>>,
    /// Counts what made entries invalid: a look-up that began before such a moment must not be kept.
    changes: AtomicU64,
    /// The generation of the node's subscription plus one, 0 while there is none.
    subscription: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    signed_in: SignedIn,
    /// By both clocks: one does not jump, the other one is what sessions are dated by.
    looked_up: (Instant, Timestamp),
}

impl SessionCache {
    /// Who is signed in with this token, from here or from the database.
    ///
    /// # Errors
    /// When it is not known here and the database is away.
    pub async fn find(&self, accounts: &Accounts, token: TokenHash) -> anyhow::Result<Option<SignedIn>> {
        let subscribed = self.subscription.load(Ordering::Acquire) != 0;
        if subscribed && let Some(signed_in) = self.remembered(accounts, token) {
            return Ok(Some(signed_in));
        }
        let changes = self.changes.load(Ordering::Acquire);
        let found = session::find(accounts, token).await?;
        if subscribed && let Some(signed_in) = &found {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            // revoked while we were looking: what we found may be older than that
            if self.changes.load(Ordering::Acquire) == changes {
                if entries.len() >= MOST {
                    entries.clear();
                }
                let looked_up = (Instant::now(), accounts.clock.now());
                entries.insert(token, Entry { signed_in: signed_in.clone(), looked_up });
            }
        }
        Ok(found)
    }

    fn remembered(&self, accounts: &Accounts, token: TokenHash) -> Option<SignedIn> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&token)?;
        let (instant, at) = entry.looked_up;
        let now = accounts.clock.now();
        let young = instant.elapsed() < BELIEVED && (now - at).to_std().is_ok_and(|age| age < BELIEVED);
        let fresh = young && now < entry.signed_in.until;
        fresh.then(|| entry.signed_in.clone())
    }

    /// Forgets a session that was revoked, here or on another node.
    pub fn forget(&self, session: Uuid) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::AcqRel);
        entries.retain(|_, entry| entry.signed_in.session != session);
    }

    /// Forgets the session of a token at once, before the revocation has made its round.
    pub fn forget_token(&self, token: TokenHash) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::AcqRel);
        entries.remove(&token);
    }

    /// The node's queue is subscribed in this generation, or not at all.
    pub fn subscribed(&self, generation: Option<u64>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let now = generation.map_or(0, |generation| generation.saturating_add(1));
        if self.subscription.swap(now, Ordering::AcqRel) != now {
            self.changes.fetch_add(1, Ordering::AcqRel);
            entries.clear();
        }
    }
}
