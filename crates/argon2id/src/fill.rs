//! The blocks of Argon2id (RFC 9106, 3.1 to 3.6): nearly all of the time goes here.
//!
//! A block is a matrix of eight rows of sixteen words. A vector `V` holds four neighbouring words of a row and those below
//! them, so that the vectors `4s` to `4s+3` are the rows `2s` and `2s+1`: a round mixes both at once. With the inner
//! halves of each vector exchanged, the vectors `q`, `4+q`, `8+q` and `12+q` are the columns `2q` and `2q+1` in the same
//! way. Blocks stay in this order ([`position`]) from the first to the last: nothing is moved on the way but within a
//! vector.

/// Where word `index` of a block lies.
pub(crate) const fn position(index: usize) -> usize {
    let (row, column) = (index / 16, index % 16);
    (row / 2 * 4 + column / 4) * 8 + row % 2 * 4 + column % 4
}

/// What is filled, in blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub lanes: usize,
    pub lane: usize,
    pub segment: usize,
    pub passes: usize,
}

/// A segment of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub pass: usize,
    pub slice: usize,
    pub lane: usize,
}

impl Matrix {
    pub fn segments(self) -> impl Iterator<Item = Segment> {
        let slices = (0..self.passes).flat_map(|pass| (0..4).map(move |slice| (pass, slice)));
        slices.flat_map(move |(pass, slice)| (0..self.lanes).map(move |lane| Segment { pass, slice, lane }))
    }
}

impl Segment {
    /// Whether its references are known beforehand: the "i" half of Argon2id.
    pub const fn is_independent(self) -> bool {
        self.pass == 0 && self.slice < 2
    }

    /// The first two blocks of a lane are given.
    pub const fn start(self) -> usize {
        if self.pass == 0 && self.slice == 0 { 2 } else { 0 }
    }

    /// The block that the one at `index` of this segment refers to (RFC 9106, 3.4).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the next block waits for it")]
    pub fn reference(self, matrix: Matrix, index: usize, word: u64) -> usize {
        let within = matrix.lanes == 1 || (self.pass == 0 && self.slice == 0);
        let lane = if within { self.lane } else { (word >> 32) as usize % matrix.lanes };
        let finished = if self.pass == 0 { self.slice * matrix.segment } else { matrix.lane - matrix.segment };
        let area = match (lane == self.lane, index) {
            (true, _) => finished + index - 1,
            (false, 0) => finished - 1,
            (false, _) => finished,
        };
        let word = word & 0xffff_ffff;
        let back = (area as u64 * ((word * word) >> 32)) >> 32;
        let oldest = if self.pass == 0 || self.slice == 3 { 0 } else { (self.slice + 1) * matrix.segment };
        let at = oldest + area - 1 - back as usize;
        lane * matrix.lane + if at < matrix.lane { at } else { at - matrix.lane }
    }
}

/// The code below, for one set of instructions. What it needs of them is in scope: a vector `V` of eight words, `xor`,
/// `multiply_add` (a + b + 2 · low half of a · low half of b), `rotate_right`, `turn1` to `turn3` (each half's four words
/// to the left by so many), `exchange` (the inner quarters) and `first` (the first word).
macro_rules! fill {
    ($features:literal) => {
        type Block = [V; 16];

        // macros, because a function for these instructions cannot be told to be always inlined

        /// A quarter of a round: half of G on four times eight words.
        macro_rules! half {
            ($r:literal, $s:literal, $a:ident, $b:ident, $c:ident, $d:ident) => {
                $a = multiply_add($a, $b);
                $d = rotate_right::<$r>(xor($d, $a));
                $c = multiply_add($c, $d);
                $b = rotate_right::<$s>(xor($b, $c));
            };
        }

        /// The permutation of two rows or columns at once, which leaves rows as columns and the other way round.
        macro_rules! round {
            ($block:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
                let [mut a, mut b, mut c, mut d] = [$block[$a], $block[$b], $block[$c], $block[$d]];
                half!(32, 24, a, b, c, d);
                half!(16, 63, a, b, c, d);
                // to the diagonals; b, which comes last, stays where it is
                (a, c, d) = (turn3(a), turn1(c), turn2(d));
                half!(32, 24, a, b, c, d);
                half!(16, 63, a, b, c, d);
                (a, c, d) = (turn1(a), turn3(c), turn2(d));
                ($block[$a], $block[$b], $block[$c], $block[$d]) = (exchange(a), exchange(b), exchange(c), exchange(d));
            };
        }

        /// All of the permutation; `meanwhile` runs when the first word is final.
        macro_rules! permute {
            ($block:ident, $meanwhile:expr) => {
                round!($block, 0, 1, 2, 3);
                round!($block, 4, 5, 6, 7);
                round!($block, 8, 9, 10, 11);
                round!($block, 12, 13, 14, 15);
                round!($block, 0, 4, 8, 12);
                $meanwhile;
                round!($block, 1, 5, 9, 13);
                round!($block, 2, 6, 10, 14);
                round!($block, 3, 7, 11, 15);
            };
        }

        #[target_feature(enable = $features)]
        fn fill_matrix(blocks: &mut [Block], matrix: Matrix) {
            for segment in matrix.segments() {
                fill_segment(blocks, matrix, segment);
            }
        }

        #[target_feature(enable = $features)]
        #[expect(clippy::indexing_slicing, reason = "every index is that of a block, of a word or of a vector of one")]
        fn fill_segment(blocks: &mut [Block], matrix: Matrix, segment: Segment) {
            let lane = segment.lane * matrix.lane;
            let begin = lane + segment.slice * matrix.segment;
            let before =
                if segment.slice == 0 && segment.pass > 0 { lane + matrix.lane } else { begin + segment.start() };
            let mut block = blocks[before - 1];
            let mut input = [0_u64; 128];
            let numbers = [segment.pass, segment.lane, segment.slice, blocks.len(), matrix.passes, 2];
            for (index, number) in numbers.into_iter().enumerate() {
                input[position(index)] = number as u64;
            }
            let mut words = [0_u64; 128];
            if segment.is_independent() {
                words = addresses(&mut input);
            }
            let start = segment.start();
            let word = if segment.is_independent() { words[position(start)] } else { first(block[0]) };
            let mut reference = segment.reference(matrix, start, word);
            for index in start..matrix.segment {
                for (vector, &other) in block.iter_mut().zip(&blocks[reference]) {
                    *vector = xor(*vector, other);
                }
                // what goes into the block beside the permutation waits in its place
                let place = &mut blocks[begin + index];
                if segment.pass == 0 {
                    *place = block;
                } else {
                    for (old, &vector) in place.iter_mut().zip(&block) {
                        *old = xor(*old, vector);
                    }
                }
                permute!(block, {
                    // which block is needed next is known early, so that it can be fetched meanwhile
                    let next = index + 1;
                    let word = if segment.is_independent() {
                        if next % 128 == 0 {
                            words = addresses(&mut input);
                        }
                        words[position(next % 128)]
                    } else {
                        first(xor(block[0], place[0]))
                    };
                    if next < matrix.segment {
                        reference = segment.reference(matrix, next, word);
                    }
                });
                for (vector, old) in block.iter_mut().zip(place) {
                    *vector = xor(*vector, *old);
                    *old = *vector;
                }
            }
        }

        /// The next 128 words that choose references, in the order of blocks.
        #[target_feature(enable = $features)]
        #[inline(never)]
        #[expect(clippy::indexing_slicing, reason = "words of a block")]
        fn addresses(input: &mut [u64; 128]) -> [u64; 128] {
            input[position(6)] += 1;
            let mut block: Block = bytemuck::must_cast(*input);
            for _ in 0..2 {
                let before = block;
                permute!(block, ());
                for (vector, other) in block.iter_mut().zip(before) {
                    *vector = xor(*vector, other);
                }
            }
            bytemuck::must_cast(block)
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm_cvtsi128_si64, _mm512_add_epi64, _mm512_castsi512_si128, _mm512_mul_epu32, _mm512_permutex_epi64,
        _mm512_ror_epi64, _mm512_shuffle_i64x2, _mm512_xor_si512,
    };

    use super::{Matrix, Segment, position};

    type V = __m512i;

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn xor(a: V, b: V) -> V {
        _mm512_xor_si512(a, b)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn multiply_add(a: V, b: V) -> V {
        let product = _mm512_mul_epu32(a, b);
        _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(product, product))
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn rotate_right<const BITS: i32>(a: V) -> V {
        _mm512_ror_epi64::<BITS>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn turn1(a: V) -> V {
        _mm512_permutex_epi64::<0b00_11_10_01>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn turn2(a: V) -> V {
        _mm512_permutex_epi64::<0b01_00_11_10>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn turn3(a: V) -> V {
        _mm512_permutex_epi64::<0b10_01_00_11>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn exchange(a: V) -> V {
        _mm512_shuffle_i64x2::<0b11_01_10_00>(a, a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn first(a: V) -> u64 {
        _mm_cvtsi128_si64(_mm512_castsi512_si128(a)).cast_unsigned()
    }

    fill!("avx512f");

    fearless_simd::kernel!(
        pub(crate) fn fill(_token: Avx512, memory: &mut [u8], matrix: Matrix) {
            fill_matrix(bytemuck::cast_slice_mut(memory), matrix);
        }
    );
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_cvtsi128_si64, _mm_setr_epi8, _mm256_add_epi64, _mm256_broadcastsi128_si256,
        _mm256_castsi256_si128, _mm256_mul_epu32, _mm256_permute2x128_si256, _mm256_permute4x64_epi64,
        _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_srli_epi64, _mm256_xor_si256,
    };

    use super::{Matrix, Segment, position};

    type V = [__m256i; 2];

    #[target_feature(enable = "avx2")]
    #[inline]
    fn xor(a: V, b: V) -> V {
        [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn multiply_add(a: V, b: V) -> V {
        [multiply_add_half(a[0], b[0]), multiply_add_half(a[1], b[1])]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn multiply_add_half(a: __m256i, b: __m256i) -> __m256i {
        let product = _mm256_mul_epu32(a, b);
        _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(product, product))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn rotate_right<const BITS: i32>(a: V) -> V {
        [rotate_half_right::<BITS>(a[0]), rotate_half_right::<BITS>(a[1])]
    }

    /// By whole bytes as a shuffle.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn rotate_half_right<const BITS: i32>(a: __m256i) -> __m256i {
        match BITS {
            32 => _mm256_shuffle_epi32::<0b10_11_00_01>(a),
            24 => {
                let bytes = _mm_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10);
                _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(bytes))
            }
            16 => {
                let bytes = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9);
                _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(bytes))
            }
            // 63
            _ => _mm256_xor_si256(_mm256_srli_epi64::<63>(a), _mm256_add_epi64(a, a)),
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn turn1(a: V) -> V {
        a.map(|half| _mm256_permute4x64_epi64::<0b00_11_10_01>(half))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn turn2(a: V) -> V {
        a.map(|half| _mm256_permute4x64_epi64::<0b01_00_11_10>(half))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn turn3(a: V) -> V {
        a.map(|half| _mm256_permute4x64_epi64::<0b10_01_00_11>(half))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn exchange(a: V) -> V {
        [_mm256_permute2x128_si256::<0x20>(a[0], a[1]), _mm256_permute2x128_si256::<0x31>(a[0], a[1])]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn first(a: V) -> u64 {
        _mm_cvtsi128_si64(_mm256_castsi256_si128(a[0])).cast_unsigned()
    }

    fill!("avx2");

    fearless_simd::kernel!(
        pub(crate) fn fill(_token: Avx2, memory: &mut [u8], matrix: Matrix) {
            fill_matrix(bytemuck::cast_slice_mut(memory), matrix);
        }
    );
}
