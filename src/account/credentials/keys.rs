//! Keys for each purpose, all derived from one root secret (HKDF-SHA-256, RFC 5869): none tells anything of another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a key is for. The same input has another code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Links that confirm an address.
    ConfirmLink,
    /// Pseudonyms of addresses that were tried at the login.
    Attempted,
    /// What a database keeps of the key that it belongs to.
    Fingerprint,
    /// The token of the browser that sent a form to register or to reset.
    Form,
    /// Links that set a password.
    ResetLink,
    /// What budgets are counted by.
    Budget,
    /// Cookies of browsers that signed in before.
    Device,
    /// Links that move an account to another address.
    EmailLink,
    /// Links that undo that.
    UndoLink,
    /// Links that call the deletion of an account off.
    RestoreLink,
    /// What a device is known by in the table.
    KnownDevice,
    /// Links that end a session.
    DisownLink,
    /// What the forms of a session carry.
    FormToken,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Purpose::ConfirmLink => b"bellhop confirm link v1",
            Purpose::Attempted => b"bellhop attempted address v1",
            Purpose::Fingerprint => b"bellhop key fingerprint v1",
            Purpose::Form => b"bellhop form v1",
            Purpose::ResetLink => b"bellhop reset link v1",
            Purpose::Budget => b"bellhop budget v1",
            Purpose::Device => b"bellhop device v1",
            Purpose::EmailLink => b"bellhop email link v1",
            Purpose::UndoLink => b"bellhop undo link v1",
            Purpose::RestoreLink => b"bellhop restore link v1",
            Purpose::KnownDevice => b"bellhop known device v1",
            Purpose::DisownLink => b"bellhop disown link v1",
            Purpose::FormToken => b"bellhop form token v1",
        }
    }
}

/// The root secret and what is derived from it. `Debug` shows no secret; it is wiped when dropped.
pub struct Keys {
    root: Zeroizing<[u8; 32]>,
    id: u8,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys of this root secret.
    #[must_use]
    pub fn new(root: &SecretString) -> Self {
        let (extracted, _) = Hkdf::<Sha256>::extract(Some(b"bellhop root v1"), root.expose_secret().as_bytes());
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&extracted);
        let id = Sha256::digest([bytes.as_slice(), b"key id"].concat()).first().copied().unwrap_or_default();
        Keys { root: bytes, id }
    }

    /// Identifies the root secret in what it signs, so that two can be in use while one replaces the other.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Tells two root secrets apart and nothing about either, in base64url.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.code(Purpose::Fingerprint, &[]))
    }

    /// The HMAC-SHA-256 of `parts`. Each part goes in with its length, so that moving a byte from one to the next gives
    /// another code.
    #[must_use]
    pub fn code(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        let mut key = Zeroizing::new([0; 32]);
        // neither can fail: expand takes up to 8,160 bytes, and HMAC takes any key length
        let expanded = Hkdf::<Sha256>::from_prk(self.root.as_slice())
            .is_ok_and(|hkdf| hkdf.expand(purpose.label(), key.as_mut_slice()).is_ok());
        debug_assert!(expanded, "HKDF takes a root of 32 bytes");
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_slice()) else { return [0; 32] };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether `code` is the code of `parts`, in a time that does not depend on where they differ.
    #[must_use]
    pub fn verify(&self, purpose: Purpose, parts: &[&[u8]], code: &[u8]) -> bool {
        self.code(purpose, parts).ct_eq(code).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_purpose_root_or_split_gives_another_code() {
        let keys = Keys::new(&SecretString::from("one root secret of thirty-two bytes"));
        let other = Keys::new(&SecretString::from("another root secret of enough bytes"));
        let code = keys.code(Purpose::ConfirmLink, &[b"ab", b"c"]);
        assert!(keys.verify(Purpose::ConfirmLink, &[b"ab", b"c"], &code));
        assert!(!keys.verify(Purpose::Attempted, &[b"ab", b"c"], &code));
        assert!(!other.verify(Purpose::ConfirmLink, &[b"ab", b"c"], &code));
        assert!(!keys.verify(Purpose::ConfirmLink, &[b"a", b"bc"], &code));
        assert!(!keys.verify(Purpose::ConfirmLink, &[b"ab", b"c"], &code[..31]));
        for at in 0..32 {
            let mut other = code;
            other[at] ^= 1;
            assert!(!keys.verify(Purpose::ConfirmLink, &[b"ab", b"c"], &other), "byte {at}");
        }
        assert!(!format!("{keys:?}").contains("root secret"));
    }
}
