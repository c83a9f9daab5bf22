//! Random tokens for cookies: 256 bits from the system's generator, of which only the SHA-256 is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};

/// The secret in a cookie. `Debug` does not show it.
#[derive(Debug)]
pub struct Token(SecretBox<[u8; 32]>);

/// What is stored of a [`Token`]. Not a secret: it opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let mut bytes = Box::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        Ok(Token(SecretBox::new(bytes)))
    }

    /// One that follows from something else: a code of [`Keys`](super::keys::Keys), which nobody else can compute.
    #[must_use]
    pub fn derived(code: [u8; 32]) -> Self {
        Token(SecretBox::new(Box::new(code)))
    }

    /// Reads a cookie's value; none if it is not of our form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = (text.len() == 43).then(|| URL_SAFE_NO_PAD.decode(text).ok())??.try_into().ok()?;
        Some(Token(SecretBox::new(Box::new(bytes))))
    }

    /// For the cookie: 43 characters of base64url.
    #[must_use]
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose_secret())
    }

    /// For the table.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.expose_secret()).into())
    }
}

impl TokenHash {
    /// For a column of bytes.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Whether a stored hash is this one, in a time that does not depend on where they differ.
    #[must_use]
    pub fn equals(self, stored: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), stored).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_text_and_no_other_text_is_one() {
        let token = Token::new().unwrap();
        let text = token.reveal();
        assert_eq!(Token::parse(&text).map(|same| same.hash()), Some(token.hash()));
        assert!(!format!("{token:?}").contains(&text));
        for wrong in ["", "a", &text[1..], &format!("{text}A"), &text.replace(&text[..1], "*"), &"é".repeat(21)] {
            assert!(Token::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_stored_hash_is_the_same_only_if_every_byte_is() {
        let hash = Token::new().unwrap().hash();
        assert!(hash.equals(&hash.to_vec()));
        for at in 0..32 {
            let mut other = hash.to_vec();
            other[at] ^= 1;
            assert!(!hash.equals(&other), "byte {at}");
        }
        assert!(!hash.equals(&hash.0[..31]) && !hash.equals(&[&hash.0[..], &[0]].concat()) && !hash.equals(&[]));
    }

    #[test]
    fn a_hundred_thousand_tokens_are_distinct_and_their_bytes_are_even() {
        let mut seen = std::collections::HashSet::new();
        let mut counts = [0_u32; 256];
        for _ in 0..100_000 {
            let token = Token::new().unwrap();
            token.0.expose_secret().iter().for_each(|byte| counts[usize::from(*byte)] += 1);
            assert!(seen.insert(token.hash()));
        }
        let expected = 100_000.0 * 32.0 / 256.0;
        let chi: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: past 400 once in about 10^8 runs
        assert!(chi < 400.0, "chi-square {chi}");
    }
}
