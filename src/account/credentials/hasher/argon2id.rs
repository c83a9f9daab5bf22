//! The hash itself (RFC 9106): everything else in Bellhop waits for it.
//!
//! Two programs compute it. The argon2 crate runs everywhere; bellhop-argon2id is about twice as fast where the processor
//! has AVX2 or AVX-512, and serves only if it was seen to agree with the other at the start.

use std::time::Instant;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bellhop_argon2id::{Inputs, Kernel};

use super::phc_string::{Cost, OUTPUT, SALT};
use crate::config::HashKernel;

/// The one that serves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argon2id {
    /// bellhop-argon2id
    Fast(Kernel),
    /// the argon2 crate
    Portable,
}

/// What was chosen, for the log.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    kernel: &'static str,
    reason: String,
    /// The fast one was seen to be wrong.
    is_wrong: bool,
}

impl Choice {
    pub fn log(&self) {
        let Choice { kernel, reason, is_wrong } = self;
        if *is_wrong {
            tracing::warn!(kernel, reason, "the hash kernel is chosen");
        } else {
            tracing::info!(kernel, reason, "the hash kernel is chosen");
        }
    }
}

/// Memory for hashes, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    fast: bellhop_argon2id::Memory,
    portable: Vec<Block>,
}

/// One that may serve if it passes the test.
trait Candidate: Copy {
    fn name(self) -> &'static str;
    fn hash(
        self,
        inputs: &Inputs<'_>,
        cost: bellhop_argon2id::Cost,
        memory: &mut bellhop_argon2id::Memory,
    ) -> Option<[u8; OUTPUT]>;
}

impl Argon2id {
    /// The fastest that may serve, and why it is the one; `seed` is for the inputs of the test.
    pub fn choose(setting: HashKernel, cost: Cost, seed: [u8; 8]) -> (Self, Choice) {
        let began = Instant::now();
        match chosen(setting, Kernel::available().first().copied(), cost, seed) {
            Ok(kernel) => {
                let reason = format!("the fastest here, and right: tested in {} ms", began.elapsed().as_millis());
                (Argon2id::Fast(kernel), Choice { kernel: kernel.name(), reason, is_wrong: false })
            }
            Err(refusal) => {
                let (reason, is_wrong) = match refusal {
                    Refusal::Wrong(kernel, problem) => (format!("{kernel} {problem}"), true),
                    Refusal::Absent(reason) => (reason.to_owned(), false),
                };
                (Argon2id::Portable, Choice { kernel: PORTABLE, reason, is_wrong })
            }
        }
    }

    /// None when there can be no such cost, or when the system has no memory for it.
    pub fn hash(self, password: &[u8], salt: &[u8; SALT], cost: Cost, memory: &mut Memory) -> Option<[u8; OUTPUT]> {
        match self {
            Argon2id::Fast(kernel) => {
                let inputs = Inputs { password, salt, ..Inputs::default() };
                kernel.hash(&inputs, one_lane(cost), &mut memory.fast)
            }
            Argon2id::Portable => portable(password, salt, cost, &mut memory.portable),
        }
    }
}

impl Memory {
    /// Overwrites what the last hash has left.
    pub fn wipe(&mut self) {
        self.fast.wipe();
        self.portable.fill(Block::new());
    }

    /// Whether nothing is in it.
    #[cfg(test)]
    pub fn is_wiped(&self) -> bool {
        self.fast.is_wiped() && self.portable.iter().flat_map(AsRef::as_ref).all(|&word| word == 0)
    }
}

impl Candidate for Kernel {
    fn name(self) -> &'static str {
        Kernel::name(self)
    }

    fn hash(
        self,
        inputs: &Inputs<'_>,
        cost: bellhop_argon2id::Cost,
        memory: &mut bellhop_argon2id::Memory,
    ) -> Option<[u8; OUTPUT]> {
        Kernel::hash(self, inputs, cost, memory)
    }
}

/// The argon2 crate's name in the log.
const PORTABLE: &str = "portable";

/// Why the argon2 crate serves.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Absent(&'static str),
    Wrong(&'static str, String),
}

fn chosen<C: Candidate>(setting: HashKernel, fastest: Option<C>, cost: Cost, seed: [u8; 8]) -> Result<C, Refusal> {
    if setting == HashKernel::Portable {
        return Err(Refusal::Absent("the setting says so"));
    }
    let candidate = fastest.ok_or(Refusal::Absent("the processor has neither AVX-512 nor AVX2"))?;
    test(candidate, cost, u64::from_le_bytes(seed)).map_err(|problem| Refusal::Wrong(candidate.name(), problem))?;
    Ok(candidate)
}

/// KiB that the test goes over at most, times the passes: twice as much would take longer than a start may.
const MAX_TEST_WORK: u32 = 2 * 19_456;
const SMALL_INPUTS: usize = 24;

/// Holds a candidate against RFC 9106, and against the argon2 crate on random inputs: many at small costs, and one at the
/// cost in use, as far as it goes.
fn test(candidate: impl Candidate, cost: Cost, seed: u64) -> Result<(), String> {
    let (mut random, mut memory) = (SplitMix(seed), Memory::default());
    let of_rfc = candidate.hash(&RFC_INPUTS, RFC_COST, &mut memory.fast);
    if of_rfc != Some(RFC_TAG) {
        return Err("gives another hash than RFC 9106".to_owned());
    }
    let in_use = Cost { memory: cost.memory.min(MAX_TEST_WORK / cost.passes.max(1)).max(8), ..cost };
    let small = (0..SMALL_INPUTS).map(|_| Cost { memory: 8 + random.below(248), passes: 1 + random.below(3) });
    for cost in small.collect::<Vec<_>>().into_iter().chain([in_use]) {
        let mut password = vec![0; random.below(150) as usize];
        let mut salt = [0; SALT];
        password.iter_mut().chain(&mut salt).for_each(|byte| *byte = random.byte());
        let inputs = Inputs { password: &password, salt: &salt, ..Inputs::default() };
        let Memory { fast, portable: blocks } = &mut memory;
        // side by side, or a start would take as long as both
        let (hash, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| portable(&password, &salt, cost, blocks));
            (candidate.hash(&inputs, one_lane(cost), fast), other.join().ok().flatten())
        });
        if hash.is_none() || hash != other {
            return Err(format!("gives another hash than the argon2 crate (seed {seed}, {cost:?})"));
        }
    }
    Ok(())
}

/// Steele, Lea and Flood's generator: the inputs of the test need no better one.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// RFC 9106, 5.3.
const RFC_INPUTS: Inputs<'static> =
    Inputs { password: &[1; 32], salt: &[2; 16], secret: &[3; 8], associated_data: &[4; 12] };
const RFC_COST: bellhop_argon2id::Cost = bellhop_argon2id::Cost { memory: 32, passes: 3, lanes: 4 };
const RFC_TAG: [u8; OUTPUT] = [
    0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9, 0xd0, 0x1e, 0xf0,
    0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
];

const fn one_lane(cost: Cost) -> bellhop_argon2id::Cost {
    bellhop_argon2id::Cost { memory: cost.memory, passes: cost.passes, lanes: 1 }
}

fn portable(password: &[u8], salt: &[u8], cost: Cost, blocks: &mut Vec<Block>) -> Option<[u8; OUTPUT]> {
    let params = Params::new(cost.memory, cost.passes, 1, Some(OUTPUT)).ok()?;
    if blocks.len() < params.block_count() {
        blocks.resize(params.block_count(), Block::new());
    }
    let mut hash = [0; OUTPUT];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, &mut hash, blocks.as_mut_slice())
        .ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use argon2::{AssociatedData, ParamsBuilder};
    use proptest::prelude::*;

    use super::*;

    const PRODUCTION: Cost = Cost { memory: 19_456, passes: 2 };

    #[test]
    fn every_kernel_of_this_processor_gives_the_hash_of_rfc_9106() {
        for kernel in Kernel::available() {
            let hash = kernel.hash(&RFC_INPUTS, RFC_COST, &mut bellhop_argon2id::Memory::default());
            assert_eq!(hash, Some(RFC_TAG), "{}", kernel.name());
        }
    }

    #[test]
    fn the_argon2_crate_gives_the_hash_of_rfc_9106() {
        let data = AssociatedData::new(RFC_INPUTS.associated_data).unwrap();
        let mut params = ParamsBuilder::new();
        params.m_cost(RFC_COST.memory).t_cost(RFC_COST.passes).p_cost(RFC_COST.lanes).data(data);
        let argon2 = Argon2::new_with_secret(
            RFC_INPUTS.secret,
            Algorithm::Argon2id,
            Version::V0x13,
            params.output_len(OUTPUT).build().unwrap(),
        );
        let mut hash = [0; OUTPUT];
        argon2.unwrap().hash_password_into(RFC_INPUTS.password, RFC_INPUTS.salt, &mut hash).unwrap();
        assert_eq!(hash, RFC_TAG);
    }

    #[test]
    fn all_agree_with_the_reference_program() {
        // echo -n password | argon2 0123456789abcdef -id -t 2 -k 256 -p 1 -l 32 -r
        let expected = "af68303f330618efe38c8691de4066aff59f8e075c48609c0df5f257419e0809";
        for argon2id in Kernel::available().into_iter().map(Argon2id::Fast).chain([Argon2id::Portable]) {
            let mut memory = Memory::default();
            for _ in 0..2 {
                // the second time in memory that was used before
                let cost = Cost { memory: 256, passes: 2 };
                let hash = argon2id.hash(b"password", b"0123456789abcdef", cost, &mut memory).unwrap();
                assert_eq!(hash.map(|byte| format!("{byte:02x}")).concat(), expected, "{argon2id:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_of_this_processor_agrees_with_the_argon2_crate(
            password in prop::collection::vec(any::<u8>(), 0..300),
            salt: [u8; SALT],
            costs in prop::collection::vec((8_u32..700, 1_u32..5), 1..4),
        ) {
            for kernel in Kernel::available() {
                // used again at another cost, smaller or larger
                let mut memory = Memory::default();
                for &(kib, passes) in &costs {
                    let cost = Cost { memory: kib, passes };
                    let fast = Argon2id::Fast(kernel).hash(&password, &salt, cost, &mut memory);
                    let portable = Argon2id::Portable.hash(&password, &salt, cost, &mut memory);
                    prop_assert!(fast.is_some());
                    prop_assert_eq!(fast, portable, "{} {:?}", kernel.name(), cost);
                }
            }
        }
    }

    #[test]
    fn a_cost_that_there_cannot_be_gives_no_hash() {
        for kernel in Kernel::available() {
            for (memory, passes) in [(7, 1), (8, 0), (0, 0)] {
                let hash =
                    Argon2id::Fast(kernel).hash(b"", &[0; SALT], Cost { memory, passes }, &mut Memory::default());
                assert_eq!(hash, None);
            }
        }
    }

    #[test]
    fn wiped_memory_holds_nothing_and_serves_again() {
        for argon2id in Kernel::available().into_iter().map(Argon2id::Fast).chain([Argon2id::Portable]) {
            let mut memory = Memory::default();
            let hash = argon2id.hash(b"password", &[7; SALT], PRODUCTION, &mut memory);
            assert!(!memory.is_wiped());
            memory.wipe();
            assert!(memory.is_wiped());
            assert_eq!(argon2id.hash(b"password", &[7; SALT], PRODUCTION, &mut memory), hash);
        }
    }

    /// A kernel with something wrong.
    #[derive(Clone, Copy)]
    enum Broken {
        /// One bit, always.
        Bit,
        /// Only where the references hang on what was computed, which the RFC's example has little of.
        SecondPass,
        /// Only at the cost in use.
        Large,
    }

    impl Candidate for Broken {
        fn name(self) -> &'static str {
            "broken"
        }

        fn hash(
            self,
            inputs: &Inputs<'_>,
            cost: bellhop_argon2id::Cost,
            memory: &mut bellhop_argon2id::Memory,
        ) -> Option<[u8; OUTPUT]> {
            let cost_here = match self {
                Broken::SecondPass if cost.lanes == 1 && cost.passes > 1 => {
                    bellhop_argon2id::Cost { passes: cost.passes - 1, ..cost }
                }
                _ => cost,
            };
            let mut hash = match Kernel::available().first() {
                Some(kernel) => kernel.hash(inputs, cost_here, memory)?,
                None => return None,
            };
            hash[31] ^= match self {
                Broken::Bit => 1,
                Broken::Large if cost.memory > 1_024 => 1,
                _ => 0,
            };
            Some(hash)
        }
    }

    #[test]
    fn a_kernel_that_is_wrong_does_not_serve() {
        for broken in [Broken::Bit, Broken::SecondPass, Broken::Large] {
            let refusal = chosen(HashKernel::Auto, Some(broken), PRODUCTION, [7; 8]).err();
            assert!(matches!(refusal, Some(Refusal::Wrong("broken", _))), "{refusal:?}");
        }
    }

    #[test]
    fn the_fastest_kernel_serves_unless_the_setting_says_otherwise_or_there_is_none() {
        let fastest = Kernel::available().first().copied();
        let refusal = |setting, fastest: Option<Kernel>| chosen(setting, fastest, PRODUCTION, [7; 8]).err();
        assert_eq!(refusal(HashKernel::Auto, fastest).is_none(), fastest.is_some());
        assert!(matches!(refusal(HashKernel::Portable, fastest), Some(Refusal::Absent(_))));
        assert!(matches!(refusal(HashKernel::Auto, None), Some(Refusal::Absent(_))));
    }
}
