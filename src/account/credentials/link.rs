//! The link in a mail: the registration's random id and a code over what it may change.
//!
//! The token is not stored, so no table, queue or log can leak it. It works once, because using it changes the state it
//! was made from. Its expiry stands in the row and moves when the mail is sent: the link of a late mail still works, and
//! every copy of a mail has the same link.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::account::credentials::keys::Keys;
use crate::account::credentials::keys::Purpose;

const ID: usize = 16;
const CODE: usize = 32;

/// A token from a request: decoded, not yet verified.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmToken {
    key: u8,
    id: Uuid,
    code: [u8; CODE],
}

/// The token that confirms this registration: 66 characters of base64url.
#[must_use]
pub fn confirm_token(keys: &Keys, registration: Uuid, canonical: &str) -> String {
    let code = keys.code(Purpose::ConfirmLink, &[registration.as_bytes(), canonical.as_bytes()]);
    URL_SAFE_NO_PAD.encode([&[keys.id()], registration.as_bytes().as_slice(), &code].concat())
}

impl ConfirmToken {
    /// Reads a token; a malformed one becomes the token of no registration, which is looked up and refused like any other.
    #[must_use]
    pub fn parse(token: &str) -> Self {
        Self::read(token).unwrap_or(ConfirmToken { key: 0, id: Uuid::nil(), code: [0; CODE] })
    }

    fn read(token: &str) -> Option<Self> {
        let bytes = (token.len() == 66).then(|| URL_SAFE_NO_PAD.decode(token).ok())??;
        let (key, rest) = bytes.split_first()?;
        let (id, code) = rest.split_at_checked(ID)?;
        Some(ConfirmToken { key: *key, id: Uuid::from_slice(id).ok()?, code: code.try_into().ok()? })
    }

    /// The registration that it claims to be for.
    #[must_use]
    pub fn registration(&self) -> Uuid {
        self.id
    }

    /// Whether we signed it, for this registration and address.
    #[must_use]
    pub fn is_genuine(&self, keys: &Keys, canonical: &str) -> bool {
        // computed whichever key is named
        let right = keys.verify(Purpose::ConfirmLink, &[self.id.as_bytes(), canonical.as_bytes()], &self.code);
        right && self.key == keys.id()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    fn keys() -> Keys {
        Keys::new(&SecretString::from("one root secret of thirty-two bytes"))
    }

    #[test]
    fn a_link_is_for_one_registration_and_one_address() {
        let (keys, id) = (keys(), Uuid::new_v4());
        let token = confirm_token(&keys, id, "a@b.example");
        let parsed = ConfirmToken::parse(&token);
        assert_eq!((token.len(), parsed.registration()), (66, id));
        assert!(parsed.is_genuine(&keys, "a@b.example"));
        assert!(!parsed.is_genuine(&keys, "c@b.example"));
        assert!(
            !parsed.is_genuine(&Keys::new(&SecretString::from("another root secret of enough bytes")), "a@b.example")
        );
        assert_eq!(token, confirm_token(&keys, id, "a@b.example"), "every copy of a mail has the same link");
    }

    proptest! {
        #[test]
        fn no_other_text_is_genuine(text in ".{0,80}", flip in 0_usize..66, to in "[A-Za-z0-9_-]") {
            let (keys, id) = (keys(), Uuid::from_u128(7));
            prop_assert!(!ConfirmToken::parse(&text).is_genuine(&keys, "a@b.example"));
            let mut token = confirm_token(&keys, id, "a@b.example");
            let before = token.clone();
            token.replace_range(flip..=flip, &to);
            let parsed = ConfirmToken::parse(&token);
            // the last character has bits to spare: other spellings of the same bytes are refused too
            prop_assert_eq!(parsed.is_genuine(&keys, "a@b.example") && parsed.registration() == id, token == before);
        }
    }
}
