//! Argon2id (RFC 9106, version 0x13) on the vector units of x86-64 processors.
//!
//! A crate of its own so that it is optimised in tests too, and so that it can be held against another implementation
//! alone (fuzz/). It has no `unsafe`; which instructions there are is asked once, in [`Kernel::available`].

mod fill;
mod memory;

use blake2::{Blake2b256, Blake2b512, Digest as _};
use zeroize::Zeroize as _;

use fill::{Matrix, position};
pub use memory::Memory;

/// Bytes of a block, and of a KiB.
const BLOCK: usize = 1_024;
const VERSION: u32 = 0x13;
/// Argon2id.
const TYPE: u32 = 2;

/// Bytes of a hash.
pub const OUTPUT: usize = 32;

/// What a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// In KiB, at least eight for each lane.
    pub memory: u32,
    /// Over the whole memory, at least one.
    pub passes: u32,
    /// Computed one after the other, at least one.
    pub lanes: u32,
}

/// What is hashed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// The password.
    pub password: &'a [u8],
    /// The salt.
    pub salt: &'a [u8],
    /// The key, if there is one.
    pub secret: &'a [u8],
    /// Whatever else belongs to it.
    pub associated_data: &'a [u8],
}

/// A way to compute the hash that this processor has the instructions for.
#[derive(Clone, Copy, Debug)]
pub struct Kernel(Instructions);

#[derive(Clone, Copy, Debug)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512(fearless_simd::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(fearless_simd::Avx2),
}

impl Kernel {
    /// What this processor can do, the fastest first; nothing without AVX2.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let level = fearless_simd::Level::new();
            let avx512 = level.as_avx512().map(Instructions::Avx512);
            avx512.into_iter().chain(level.as_avx2().map(Instructions::Avx2)).map(Kernel).collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        Vec::new()
    }

    /// The instructions it uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(_) => "avx2",
        }
    }

    /// The hash; none for a cost that there cannot be, and when the system has no memory for it.
    pub fn hash(self, inputs: &Inputs<'_>, cost: Cost, memory: &mut Memory) -> Option<[u8; OUTPUT]> {
        let Cost { memory: kib, passes, lanes } = cost;
        // as many blocks as make four segments of the same length in each lane
        let segment = kib.checked_div(lanes.checked_mul(4)?)? as usize;
        if segment < 2 || passes == 0 {
            return None;
        }
        let matrix = Matrix { lanes: lanes as usize, lane: 4 * segment, segment, passes: passes as usize };
        let mut start = start(inputs, cost)?;
        let bytes = memory.take((matrix.lanes * matrix.lane).checked_mul(BLOCK)?)?;
        for (number, lane) in (0..lanes).zip(bytes.chunks_exact_mut(matrix.lane * BLOCK)) {
            for (index, block) in (0_u32..2).zip(lane.chunks_exact_mut(BLOCK)) {
                let mut first = long_hash(&[&start, &index.to_le_bytes(), &number.to_le_bytes()]);
                for (word, bytes) in first.as_chunks::<8>().0.iter().enumerate() {
                    if let Some(place) = block.as_chunks_mut().0.get_mut(position(word)) {
                        *place = *bytes;
                    }
                }
                first.zeroize();
            }
        }
        start.zeroize();
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(token) => fill::avx512::fill(token, bytes, matrix),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(token) => fill::avx2::fill(token, bytes, matrix),
        }
        let mut last = [0; BLOCK];
        for lane in bytes.chunks_exact(matrix.lane * BLOCK) {
            let block = lane.last_chunk::<BLOCK>()?.as_chunks::<8>().0;
            for (word, bytes) in last.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let other = block.get(position(word))?;
                bytes.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
            }
        }
        let hash =
            Blake2b256::new().chain_update(u32::try_from(OUTPUT).ok()?.to_le_bytes()).chain_update(last).finalize();
        last.zeroize();
        Some(hash.into())
    }
}

/// The hash of all that is given and of the cost, from which the first blocks come (RFC 9106, H0).
fn start(inputs: &Inputs<'_>, cost: Cost) -> Option<[u8; 64]> {
    let mut hash = Blake2b512::new();
    for number in [cost.lanes, u32::try_from(OUTPUT).ok()?, cost.memory, cost.passes, VERSION, TYPE] {
        hash.update(number.to_le_bytes());
    }
    for input in [inputs.password, inputs.salt, inputs.secret, inputs.associated_data] {
        hash.update(u32::try_from(input.len()).ok()?.to_le_bytes());
        hash.update(input);
    }
    Some(hash.finalize().into())
}

/// A hash as long as a block (RFC 9106, H').
fn long_hash(inputs: &[&[u8]]) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    let mut hash = Blake2b512::new().chain_update(1_024_u32.to_le_bytes());
    for input in inputs {
        hash.update(input);
    }
    let mut last = hash.finalize();
    // half of each, and all of the last
    let (halves, rest) = out.split_at_mut(BLOCK - 64);
    for half in halves.chunks_exact_mut(32) {
        half.copy_from_slice(last.split_at(32).0);
        last = Blake2b512::digest(last);
    }
    rest.copy_from_slice(&last);
    out
}
