//! The link in a mail: the registration's random id and a code over what it may change.
//!
//! Nothing of it is stored, so no table, queue or log can give it away. It works once, because using it changes the state
//! it was made from. Its end of life stands in the row and moves when the mail is sent: a late mail is never dead, and
//! every copy of a mail holds the same link.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::account::credentials::keys::Keys;
use crate::account::credentials::keys::Purpose;

const ID: usize = 16;
const CODE: usize = 32;

/// A token as it came in a request: well-formed, not yet believed.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
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

impl Claim {
    /// Reads a token; one that is malformed becomes a claim on nothing, which is looked up and refused like any other.
    #[must_use]
    pub fn parse(token: &str) -> Self {
        Self::read(token).unwrap_or(Claim { key: 0, id: Uuid::nil(), code: [0; CODE] })
    }

    fn read(token: &str) -> Option<Self> {
        let bytes = (token.len() == 66).then(|| URL_SAFE_NO_PAD.decode(token).ok())??;
        let (key, rest) = bytes.split_first()?;
        let (id, code) = rest.split_at_checked(ID)?;
        Some(Claim { key: *key, id: Uuid::from_slice(id).ok()?, code: code.try_into().ok()? })
    }

    /// The registration it is about, if it is to be believed.
    #[must_use]
    pub fn registration(&self) -> Uuid {
        self.id
    }

    /// Whether it was made by us for this registration and address.
    #[must_use]
    pub fn is_genuine(&self, keys: &Keys, canonical: &str) -> bool {
        // always computes the code, whichever key is named
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
        let claim = Claim::parse(&token);
        assert_eq!((token.len(), claim.registration()), (66, id));
        assert!(claim.is_genuine(&keys, "a@b.example"));
        assert!(!claim.is_genuine(&keys, "c@b.example"));
        assert!(
            !claim.is_genuine(&Keys::new(&SecretString::from("another root secret of enough bytes")), "a@b.example")
        );
        assert_eq!(token, confirm_token(&keys, id, "a@b.example"), "every copy of a mail has the same link");
    }

    proptest! {
        #[test]
        fn no_other_text_is_genuine(text in ".{0,80}", flip in 0_usize..66, to in "[A-Za-z0-9_-]") {
            let (keys, id) = (keys(), Uuid::from_u128(7));
            prop_assert!(!Claim::parse(&text).is_genuine(&keys, "a@b.example"));
            let mut token = confirm_token(&keys, id, "a@b.example");
            let before = token.clone();
            token.replace_range(flip..=flip, &to);
            let claim = Claim::parse(&token);
            // the last character has bits to spare: other spellings of the same bytes are refused too
            prop_assert_eq!(claim.is_genuine(&keys, "a@b.example") && claim.registration() == id, token == before);
        }
    }
}
