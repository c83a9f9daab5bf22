//! The device cookie: a browser that signed in to an account before shows it at the next login, and has a budget of its own then
//! (OWASP, "Device Cookies"). It opens nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::account::credentials::keys::{Keys, Purpose};

/// Random bytes that tell one browser from another.
const NONCE: usize = 16;

/// A cookie for a browser that has just signed in to the account of this address.
///
/// # Errors
/// When the system gives no randomness.
pub fn new(keys: &Keys, canonical: &str) -> anyhow::Result<String> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let code = keys.code(Purpose::Device, &[&nonce, canonical.as_bytes()]);
    Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &code].concat()))
}

/// What the browser is known by, if the cookie is ours and of this account.
#[must_use]
pub fn of(keys: &Keys, cookie: &str, canonical: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    let (nonce, code) = bytes.split_at_checked(NONCE)?;
    keys.verify(Purpose::Device, &[nonce, canonical.as_bytes()], code).then(|| URL_SAFE_NO_PAD.encode(nonce))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_cookie_is_of_one_account_and_one_key() {
        let keys = Keys::new(&SecretString::from("one root secret of thirty-two bytes"));
        let other = Keys::new(&SecretString::from("another root secret of enough bytes"));
        let cookie = new(&keys, "ann@example.org").unwrap();
        assert!(of(&keys, &cookie, "ann@example.org").is_some());
        assert_ne!(
            of(&keys, &cookie, "ann@example.org"),
            of(&keys, &new(&keys, "ann@example.org").unwrap(), "ann@example.org")
        );
        assert_eq!(of(&keys, &cookie, "bob@example.org"), None);
        assert_eq!(of(&other, &cookie, "ann@example.org"), None);
        for wrong in ["", "x", &cookie[1..], &"A".repeat(64)] {
            assert_eq!(of(&keys, wrong, "ann@example.org"), None, "{wrong}");
        }
    }
}
