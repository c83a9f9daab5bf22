//! The link in a mail: a random id and a code over it and over what the link may change.
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
pub struct LinkToken {
    key: u8,
    id: Uuid,
    code: [u8; CODE],
}

/// The token of a link: 66 characters of base64url. Its code covers `parts`: what differs when the link has been used.
#[must_use]
pub fn link_token(keys: &Keys, purpose: Purpose, id: Uuid, parts: &[&[u8]]) -> String {
    let code = keys.code(purpose, &[&[id.as_bytes().as_slice()], parts].concat());
    URL_SAFE_NO_PAD.encode([&[keys.id()], id.as_bytes().as_slice(), &code].concat())
}

/// The token that confirms this registration.
#[must_use]
pub fn confirm_token(keys: &Keys, registration: Uuid, canonical: &str) -> String {
    link_token(keys, Purpose::ConfirmLink, registration, &[canonical.as_bytes()])
}

impl LinkToken {
    /// Reads a token; a malformed one becomes the token of nothing, which is looked up and refused like any other.
    #[must_use]
    pub fn parse(token: &str) -> Self {
        Self::read(token).unwrap_or(LinkToken { key: 0, id: Uuid::nil(), code: [0; CODE] })
    }

    fn read(token: &str) -> Option<Self> {
        let bytes = (token.len() == 66).then(|| URL_SAFE_NO_PAD.decode(token).ok())??;
        let (key, rest) = bytes.split_first()?;
        let (id, code) = rest.split_at_checked(ID)?;
        Some(LinkToken { key: *key, id: Uuid::from_slice(id).ok()?, code: code.try_into().ok()? })
    }

    /// The row that it claims to be for.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether we signed it, for this purpose, row and these parts.
    #[must_use]
    pub fn is_genuine(&self, keys: &Keys, purpose: Purpose, parts: &[&[u8]]) -> bool {
        // computed whichever key is named
        let right = keys.verify(purpose, &[&[self.id.as_bytes().as_slice()], parts].concat(), &self.code);
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

    fn genuine(token: &LinkToken, keys: &Keys, canonical: &str) -> bool {
        token.is_genuine(keys, Purpose::ConfirmLink, &[canonical.as_bytes()])
    }

    #[test]
    fn a_link_is_for_one_registration_and_one_address() {
        let (keys, id) = (keys(), Uuid::new_v4());
        let token = confirm_token(&keys, id, "a@b.example");
        let parsed = LinkToken::parse(&token);
        assert_eq!((token.len(), parsed.id()), (66, id));
        assert!(genuine(&parsed, &keys, "a@b.example"));
        assert!(!parsed.is_genuine(&keys, Purpose::ResetLink, &[b"a@b.example"]), "another purpose");
        assert!(!genuine(&parsed, &keys, "c@b.example"));
        assert!(!genuine(
            &parsed,
            &Keys::new(&SecretString::from("another root secret of enough bytes")),
            "a@b.example"
        ));
        assert_eq!(token, confirm_token(&keys, id, "a@b.example"), "every copy of a mail has the same link");
    }

    proptest! {
        #[test]
        fn no_other_text_is_genuine(text in ".{0,80}", flip in 0_usize..66, to in "[A-Za-z0-9_-]") {
            let (keys, id) = (keys(), Uuid::from_u128(7));
            prop_assert!(!genuine(&LinkToken::parse(&text), &keys, "a@b.example"));
            let mut token = confirm_token(&keys, id, "a@b.example");
            let before = token.clone();
            token.replace_range(flip..=flip, &to);
            let parsed = LinkToken::parse(&token);
            // the last character has bits to spare: other spellings of the same bytes are refused too
            prop_assert_eq!(genuine(&parsed, &keys, "a@b.example") && parsed.id() == id, token == before);
        }
    }
}
