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

impl Cost {
    /// What this lacks to cost as much as `other`: the time of a hash follows memory times passes.
    pub(super) fn short_of(self, other: Cost) -> Option<Cost> {
        let blocks = |cost: Cost| u64::from(cost.memory) * u64::from(cost.passes);
        let lacking = blocks(other).saturating_sub(blocks(self));
        // in no more memory than the other, and no less than must be: a small one is quicker by the cache
        let passes = lacking.div_ceil(u64::from(other.memory.max(1))).max(1);
        let (memory, passes) = (u32::try_from(lacking / passes).ok()?, u32::try_from(passes).ok()?);
        // less than Argon2 can be asked for is not seen either (RFC 9106 section 3.1)
        (memory >= 8).then_some(Cost { memory, passes })
    }
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
    fn what_a_cost_lacks_makes_up_for_another() {
        let cost = |memory, passes| Cost { memory, passes };
        for (old, today, lacking) in [
            (cost(19_456, 2), cost(19_456, 2), None),
            (cost(65_536, 3), cost(19_456, 2), None),
            (cost(19_456, 2), cost(19_456, 4), Some(cost(19_456, 2))),
            (cost(19_456, 2), cost(20_480, 2), Some(cost(2_048, 1))),
            (cost(19_456, 2), cost(65_536, 3), Some(cost(52_565, 3))),
            (cost(64, 1), cost(65, 1), None),
        ] {
            assert_eq!(old.short_of(today), lacking, "{old:?} {today:?}");
        }
    }

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
