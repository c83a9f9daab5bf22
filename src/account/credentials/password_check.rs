//! Whether a password may be chosen: at a registration, a change, a reset. The estimate is work for a processor, so it is
//! made on a bounded number of threads, and a bounded number of people wait for one.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::account::credentials::breached::Breached;
use crate::account::credentials::policy::{Context, DEFAULT_MIN_CODE_POINTS, Password, Weakness};
use crate::account::identity::address::Address;
use crate::account::identity::name::DisplayName;
use crate::error::Overloaded;

/// The check of new passwords.
#[derive(Debug)]
pub struct PasswordCheck {
    permits: Semaphore,
    /// Those who have a permit, and those who wait for one.
    places: Semaphore,
    breached: Option<Arc<Breached>>,
    /// The site's name as people know it: no password may consist of it.
    site: Arc<str>,
}

impl PasswordCheck {
    /// Checks `permits` at a time, with `queue` more to wait.
    #[must_use]
    pub fn new(permits: usize, queue: usize, breached: Option<Arc<Breached>>, site: Arc<str>) -> Self {
        let places = permits.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        PasswordCheck { permits: Semaphore::new(permits), places: Semaphore::new(places), breached, site }
    }

    /// What was typed as a password, or why it may not be chosen. The address and the name are the person's, as far as they
    /// are known.
    ///
    /// # Errors
    /// [`Overloaded`] when the queue is full; the disk's, when the file of breached passwords cannot be read any more.
    pub async fn choose(
        &self,
        typed: &str,
        address: Option<&Address>,
        name: Option<&DisplayName>,
    ) -> anyhow::Result<Result<Password, Weakness>> {
        let _place = self.places.try_acquire().map_err(|_| Overloaded)?;
        let _permit = self.permits.acquire().await?;
        let (typed, site, breached) = (typed.to_owned(), Arc::clone(&self.site), self.breached.clone());
        let (address, name) = (address.cloned(), name.cloned());
        tokio::task::spawn_blocking(move || {
            let context = Context { site: &site, email: address.as_ref(), name: name.as_ref() };
            let chosen = Password::choose(&typed, DEFAULT_MIN_CODE_POINTS, &context);
            Ok(match (chosen, breached) {
                (Ok(password), Some(breached)) if breached.contains(&password)? => Err(Weakness::Common),
                (chosen, _) => chosen,
            })
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn past_the_queue_the_answer_is_overloaded() {
        let check = PasswordCheck::new(1, 1, None, "id.example.org".into());
        let choose = || check.choose("marble teapot kestrel orbit", None, None);
        let (mut first, mut second) = (Box::pin(choose()), Box::pin(choose()));
        assert!(first.as_mut().now_or_never().is_none(), "it is checked");
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert!(choose().await.unwrap_err().is::<Overloaded>());
        assert!(first.await.unwrap().is_ok());
        assert!(second.await.unwrap().is_ok());
    }
}
