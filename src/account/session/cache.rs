//! The sessions that a running web node has looked up lately, so that a signed-in request costs no query.
//!
//! Revocations arrive on the node's own queue of the broadcast exchange. While that queue is not subscribed nothing is
//! served from here, and every gap empties the cache: a revocation may have been missed in it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::account::Accounts;
use crate::account::credentials::token::TokenHash;
use crate::account::session::{self, SignedIn};
use crate::clock::Timestamp;

/// How long an entry is valid. A revocation arrives within milliseconds; when the relay is away or behind, this keeps the
/// promise that it is known everywhere within a second.
const ENTRY_TTL: Duration = Duration::from_millis(900);

/// A few hundred bytes each; past that the cache is emptied.
const MAX_ENTRIES: usize = 50_000;

/// The cache of one node.
#[derive(Debug, Default)]
pub struct SessionCache {
    entries: RwLock<HashMap<TokenHash, Entry>>,
    /// Counts invalidations: a look-up that began before one must not be kept.
    invalidations: AtomicU64,
    /// The generation of the node's subscription plus one, 0 while there is none.
    subscription: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    signed_in: SignedIn,
    /// By both clocks: one never jumps, sessions are dated by the other.
    looked_up: (Instant, Timestamp),
}

impl SessionCache {
    /// Who is signed in with this token, from the cache or the database.
    ///
    /// # Errors
    /// When it is not cached and the database is away.
    pub async fn find(&self, accounts: &Accounts, token: TokenHash) -> anyhow::Result<Option<SignedIn>> {
        let subscribed = self.subscription.load(Ordering::Acquire) != 0;
        if subscribed && let Some(signed_in) = self.cached(accounts, token) {
            return Ok(Some(signed_in));
        }
        let invalidations = self.invalidations.load(Ordering::Acquire);
        let found = session::find(accounts, token).await?;
        if subscribed && let Some(signed_in) = &found {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            // revoked meanwhile? what was found may be older
            if self.invalidations.load(Ordering::Acquire) == invalidations {
                if entries.len() >= MAX_ENTRIES {
                    entries.clear();
                }
                let looked_up = (Instant::now(), accounts.clock.now());
                entries.insert(token, Entry { signed_in: signed_in.clone(), looked_up });
            }
        }
        Ok(found)
    }

    fn cached(&self, accounts: &Accounts, token: TokenHash) -> Option<SignedIn> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&token)?;
        let (instant, at) = entry.looked_up;
        let now = accounts.clock.now();
        let young = instant.elapsed() < ENTRY_TTL && (now - at).to_std().is_ok_and(|age| age < ENTRY_TTL);
        let fresh = young && now < entry.signed_in.until;
        fresh.then(|| entry.signed_in.clone())
    }

    /// Ends the session of a token in the table, and here before the revocation has been published.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn revoke(&self, accounts: &Accounts, token: TokenHash) -> anyhow::Result<()> {
        session::revoke(accounts, token).await?;
        self.forget_token(token);
        Ok(())
    }

    /// Forgets a session that was revoked on any node.
    pub fn forget(&self, session: Uuid) {
        self.forget_all(&[session]);
    }

    /// Forgets sessions that were revoked together.
    pub fn forget_all(&self, sessions: &[Uuid]) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        entries.retain(|_, entry| !sessions.contains(&entry.signed_in.session));
    }

    /// Forgets the sessions of a user, who has another name, language or address now.
    pub fn forget_user(&self, user: Uuid) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        entries.retain(|_, entry| entry.signed_in.user.id != user);
    }

    /// Forgets the session of a token that was revoked here.
    pub fn forget_token(&self, token: TokenHash) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        entries.remove(&token);
    }

    /// The node's queue is subscribed, in this generation; none while it is not.
    pub fn subscribed(&self, generation: Option<u64>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let now = generation.map_or(0, |generation| generation.saturating_add(1));
        if self.subscription.swap(now, Ordering::AcqRel) != now {
            self.invalidations.fetch_add(1, Ordering::AcqRel);
            entries.clear();
        }
    }
}
