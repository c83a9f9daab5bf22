//! What a person types to register, checked field by field: the same rules for the page and for the API.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::account::credentials::policy::Context;
use crate::account::credentials::policy::DEFAULT_MIN_CODE_POINTS;
use crate::account::credentials::policy::Password;
use crate::account::credentials::policy::Weakness;
use crate::account::identity::address::Address;
use crate::account::identity::address::AddressError;
use crate::account::identity::name::DisplayName;
use crate::account::identity::name::NameError;
use crate::account::register::NewRegistration;
use crate::error::Overloaded;
use crate::http::pages::view::RegisterErrors;
use crate::http::problem::Problem;
use crate::http::state::Visitor;
use crate::http::state::Web;
use crate::locale::Text;

/// Who may rate a password now, and a bounded waiting room for the others, as before the hash threads.
#[derive(Debug)]
pub struct Raters {
    turns: Semaphore,
    /// Those whose turn it is, too.
    places: Semaphore,
}

impl Raters {
    /// As many at a time as `turns`, and `seats` to wait.
    #[must_use]
    pub fn new(turns: usize, seats: usize) -> Self {
        Raters { turns: Semaphore::new(turns), places: Semaphore::new(turns.saturating_add(seats)) }
    }

    /// Waits for a turn, which lasts as long as what is returned.
    ///
    /// # Errors
    /// [`Overloaded`] when the waiting room is full.
    async fn turn(&self) -> anyhow::Result<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        let place = self.places.try_acquire().map_err(|_| Overloaded)?;
        Ok((self.turns.acquire().await?, place))
    }
}

/// A registration, or what is wrong with it in the words of `t`.
///
/// # Errors
/// When the check itself cannot be made.
pub async fn check(
    web: &Web,
    visitor: &Visitor,
    t: Text,
    [email, password, name]: [&str; 3],
) -> Result<Result<NewRegistration, RegisterErrors>, Problem> {
    let address = Address::parse(email);
    let display_name = DisplayName::parse(name);
    let password = {
        let _turn = web.raters.turn().await?;
        let (typed, site) = (password.to_owned(), web.accounts.site.clone());
        let (address, name) = (address.clone().ok(), display_name.clone().ok());
        let breached = web.accounts.breached.clone();
        tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let context = Context { site: &site, email: address.as_ref(), name: name.as_ref() };
            let chosen = Password::choose(&typed, DEFAULT_MIN_CODE_POINTS, &context);
            Ok(match (chosen, breached) {
                (Ok(password), Some(breached)) if breached.contains(&password)? => Err(Weakness::Common),
                (chosen, _) => chosen,
            })
        })
        .await??
    };
    Ok(match (address, display_name, password) {
        (Ok(address), Ok(name), Ok(password)) => {
            let locale = visitor.locale.tag();
            Ok(NewRegistration { address, name, password, locale, origin: visitor.origin.clone() })
        }
        (address, name, chosen) => Err(RegisterErrors {
            email: address.err().map(|error| t.get(about_address(error))),
            name: name.err().map(|error| t.get(about_name(error))),
            password: chosen.err().map(|error| t.get(about_password(error))),
            form: None,
        }),
    })
}

fn about_address(error: AddressError) -> &'static str {
    match error {
        AddressError::Empty => "mistake-email-missing",
        AddressError::TooLong => "mistake-email-long",
        AddressError::Malformed | AddressError::LocalNotAscii | AddressError::Domain => "mistake-email-invalid",
    }
}

fn about_name(error: NameError) -> &'static str {
    match error {
        NameError::Empty => "mistake-name-missing",
        NameError::TooLong => "mistake-name-long",
        NameError::Control | NameError::Invisible => "mistake-name-characters",
    }
}

fn about_password(error: Weakness) -> &'static str {
    match error {
        Weakness::TooShort { .. } => "mistake-password-short",
        Weakness::TooLong => "mistake-password-long",
        Weakness::Nul => "mistake-password-characters",
        Weakness::Common => "mistake-password-common",
        Weakness::Context => "mistake-password-personal",
        Weakness::Guessable => "mistake-password-weak",
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn past_the_waiting_room_nobody_waits_for_a_rater() {
        let raters = Raters::new(1, 1);
        let first = raters.turn().await.unwrap();
        let mut second = Box::pin(raters.turn());
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert!(raters.turn().await.unwrap_err().is::<Overloaded>());
        drop(first);
        drop(second.await.unwrap());
    }
}
