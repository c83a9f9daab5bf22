//! Chance that can be had again: every test that uses it prints its seed.

/// `SplitMix64` (Steele, Lea and Flood, 2014): small, and good enough to choose moments and orders.
pub struct Chance {
    pub seed: u64,
    state: u64,
}

impl Chance {
    /// From the seed in `TEST_SEED`, or a fresh one.
    pub fn new() -> Self {
        let seed = match std::env::var("TEST_SEED") {
            Ok(seed) => seed.parse().expect("TEST_SEED is a number"),
            Err(_) => getrandom::u64().expect("randomness"),
        };
        println!("seed={seed} (TEST_SEED={seed} runs it again)");
        Self::from(seed)
    }

    /// From this seed, for a part of a test that has one.
    pub fn from(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// From nothing to one less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Puts them into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).expect("an index");
            items.swap(last, other);
        }
    }
}
