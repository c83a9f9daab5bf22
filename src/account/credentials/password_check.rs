//! Whether a password may be chosen: at a registration, a change, a reset. The estimate is work for a processor, so it
//! is made on a bounded number of threads, and a bounded number of people wait for one, in a fair queue.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::account::credentials::breached::Breached;
use crate::account::credentials::fair_pool::FairPool;
use crate::account::credentials::fair_queue::Client;
use crate::account::credentials::policy::{Context, DEFAULT_MIN_CODE_POINTS, Password, Weakness};
use crate::account::identity::address::Address;
use crate::account::identity::name::DisplayName;

/// The check of new passwords.
#[derive(Debug)]
pub struct PasswordCheck {
    pool: FairPool,
    breached: Option<Arc<Breached>>,
    /// The site's name as people know it: no password may consist of it.
    site: Arc<str>,
}

impl PasswordCheck {
    /// Checks `threads` at a time, with `queue` more to wait.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        threads: NonZeroUsize,
        queue: usize,
        breached: Option<Arc<Breached>>,
        site: Arc<str>,
    ) -> anyhow::Result<Self> {
        let pool = FairPool::start("password-check", threads, queue, || ())?;
        Ok(PasswordCheck { pool, breached, site })
    }

    /// What was typed as a password, or why it may not be chosen. The address and the name are the person's, as far as
    /// they are known.
    ///
    /// # Errors
    /// [`crate::error::Overloaded`] when there is no place for this client; the disk's, when the file of breached
    /// passwords cannot be read any more.
    pub async fn choose(
        &self,
        client: &Client,
        typed: &str,
        address: Option<&Address>,
        name: Option<&DisplayName>,
    ) -> anyhow::Result<Result<Password, Weakness>> {
        let place = self.pool.enter(client)?;
        let (typed, site, breached) = (typed.to_owned(), Arc::clone(&self.site), self.breached.clone());
        let (address, name) = (address.cloned(), name.cloned());
        let check = move || {
            let context = Context { site: &site, email: address.as_ref(), name: name.as_ref() };
            let chosen = Password::choose(&typed, DEFAULT_MIN_CODE_POINTS, &context);
            Ok(match (chosen, breached) {
                (Ok(password), Some(breached)) if breached.contains(&password)? => Err(Weakness::Common),
                (chosen, _) => chosen,
            })
        };
        place.run(check).await?
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::error::Overloaded;

    #[tokio::test]
    async fn past_the_queue_the_answer_is_overloaded() {
        let check = PasswordCheck::new(NonZeroUsize::MIN, 1, None, "id.example.org".into()).unwrap();
        let nobody = Client::default();
        let choose = || check.choose(&nobody, "marble teapot kestrel orbit", None, None);
        let (mut first, mut second) = (Box::pin(choose()), Box::pin(choose()));
        assert!(first.as_mut().now_or_never().is_none(), "it is checked");
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert!(choose().await.unwrap_err().is::<Overloaded>());
        assert!(first.await.unwrap().is_ok());
        assert!(second.await.unwrap().is_ok());
    }
}
