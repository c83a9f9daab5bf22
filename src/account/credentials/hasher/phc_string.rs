//! A hash in the form in which it is stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Bytes of a salt.
pub(super) const SALT: usize = 16;
/// Bytes of a hash.
pub(super) const OUTPUT: usize = 32;

/// What a hash costs. The memory is in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB; at least 19,456 outside tests (OWASP Password Storage).
    pub memory: u32,
    /// Passes over it; at least 2 outside tests.
    pub passes: u32,
}

/// A hash with its salt and its cost; [`ToString`] writes it as a PHC string.
#[derive(Debug)]
pub(super) struct PhcString {
    pub cost: Cost,
    pub salt: [u8; SALT],
    pub hash: [u8; OUTPUT],
}

impl std::fmt::Display for PhcString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cost { memory, passes } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(self.salt), STANDARD_NO_PAD.encode(self.hash));
        write!(f, "$argon2id$v=19$m={memory},t={passes},p=1${salt}${hash}")
    }
}

impl PhcString {
    /// None for what is no hash of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("$argon2id$v=19$m=")?.split('$');
        let (memory, rest) = fields.next()?.split_once(",t=")?;
        let passes = rest.strip_suffix(",p=1")?;
        let salt = STANDARD_NO_PAD.decode(fields.next()?).ok()?.try_into().ok()?;
        let hash = STANDARD_NO_PAD.decode(fields.next()?).ok()?.try_into().ok()?;
        fields.next().is_none().then_some(())?;
        Some(PhcString { cost: Cost { memory: memory.parse().ok()?, passes: passes.parse().ok()? }, salt, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_hash_of_ours_is_none() {
        let good = PhcString { cost: Cost { memory: 64, passes: 2 }, salt: [1; SALT], hash: [2; OUTPUT] }.to_string();
        assert!(PhcString::parse(&good).is_some());
        for wrong in [
            "",
            "$2b$12$abc",
            &good.replace("argon2id", "argon2i"),
            &good.replace("p=1", "p=2"),
            &good[..good.len() - 1],
            &format!("{good}$x"),
        ] {
            assert!(PhcString::parse(wrong).is_none(), "{wrong}");
        }
    }
}
