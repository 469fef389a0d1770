//! What an element type must tell about itself.

use crate::simd::Simd;
use half::f16;

/// How the bytes that a type unpacks to stand for integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    /// `byte - offset`, bytes being 0 to `max`.
    Unsigned { max: u8, offset: u8 },
    /// `byte as i8`.
    Signed,
}

impl Codes {
    /// What is to be subtracted from the bytes.
    pub const fn offset(self) -> i32 {
        match self {
            Codes::Unsigned { offset, .. } => offset as i32,
            Codes::Signed => 0,
        }
    }

    /// How many products [`Simd::dot`] may add up where sums are `i16`: 1, 2, 4 or 8.
    pub const fn run(self) -> usize {
        match self {
            Codes::Unsigned { max, .. } => match 129 / max {
                8.. => 8,
                4.. => 4,
                2.. => 2,
                _ => 1,
            },
            Codes::Signed => 1,
        }
    }

    /// The same codes in the form that a level multiplies best, to be made by [`Codes::adapt`].
    pub const fn adapted<S: Simd>(self) -> Codes {
        match self {
            Codes::Signed if S::PREFERS_UNSIGNED => Codes::Unsigned { max: 255, offset: 128 },
            _ => self,
        }
    }

    /// Turns codes into their adapted form.
    #[inline(always)]
    pub fn adapt<S: Simd>(self, s: S, codes: S::Bytes) -> S::Bytes {
        match self {
            Codes::Signed if S::PREFERS_UNSIGNED => s.xor(codes, s.splat(128)),
            _ => codes,
        }
    }

    /// The integer that a byte stands for.
    pub const fn value(self, byte: u8) -> i32 {
        match self {
            Codes::Unsigned { offset, .. } => byte as i32 - offset as i32,
            Codes::Signed => byte as i8 as i32,
        }
    }
}

/// A floating-point type of `N` bytes, 16 of which are `W` bytes.
pub(crate) trait Float<const N: usize, const W: usize> {
    /// Whether products with the activations that the type takes are exact.
    const EXACT: bool;

    /// 16 elements.
    fn floats<S: Simd>(s: S, from: &[u8; W]) -> S::Floats;
}

/// A type whose blocks are `N` bytes for 32 elements: `scale * code`, or `scale * code + min`.
pub(crate) trait Block32<const N: usize> {
    /// What [`Self::codes`] gives.
    const CODES: Codes;
    /// Whether there is a minimum.
    const MIN: bool;
    /// Whether [`Self::packed`] gives the same bytes twice: these are then better rearranged before they are split.
    const SHARED: bool;

    /// What [`Self::split`] makes the codes of four blocks of, one in each quarter: of elements 0 to 15, then of 16 to 31.
    fn packed<S: Simd>(s: S, blocks: [&[u8; N]; 4]) -> [S::Bytes; 2];

    /// The codes, each made of the byte in its own place: where that is not [shared](Self::SHARED), of its own half's.
    #[inline(always)]
    fn split<S: Simd>(_: S, packed: [S::Bytes; 2]) -> [S::Bytes; 2] {
        packed
    }

    /// The codes of four blocks, one in each quarter: elements 0 to 15, then 16 to 31.
    #[inline(always)]
    fn codes<S: Simd>(s: S, blocks: [&[u8; N]; 4]) -> [S::Bytes; 2] {
        Self::split(s, Self::packed(s, blocks))
    }

    /// The scale.
    #[inline(always)]
    fn scale(block: &[u8; N]) -> f32 {
        f16_at(block, 0)
    }

    /// The minimum, where there is one.
    #[inline(always)]
    fn min(block: &[u8; N]) -> f32 {
        f16_at(block, 2)
    }

    /// The scales of 16 blocks.
    #[inline(always)]
    fn scale_each<S: Simd>(s: S, blocks: &[&[u8; N]; 16]) -> S::Floats {
        f16_each(s, blocks, 0)
    }

    /// The scales and minima of 16 blocks; zeros where there are no minima.
    #[inline(always)]
    fn scale_min_each<S: Simd>(s: S, blocks: &[&[u8; N]; 16]) -> [S::Floats; 2] {
        if Self::MIN { f16_pair_each(s, blocks, 0) } else { [Self::scale_each(s, blocks), s.splat_float(0.0)] }
    }
}

/// A type whose blocks are `N` bytes for 256 elements in 16 runs of 16: `scale * scales[j] * code`, or that less
/// `min * mins[j]`.
pub(crate) trait Block256<const N: usize> {
    /// What [`Self::codes`] gives.
    const CODES: Codes;
    /// Whether there are minima.
    const MIN: bool;
    /// Elements per integer scale: 16 or 32.
    const RUN: usize;
    /// Bits of integer scales, where these are unsigned.
    const SCALE_BITS: Option<u32> = None;
    /// Where the block's scale lies, as `f16`. That of the minima follows it.
    const SCALE: usize;

    /// Of which 16 elements the codes are that [`Self::codes`] puts into a quarter of each part: elements `16 * ORDER[..]`
    /// and up. In the order of the file, mostly, in which whole vectors can be loaded.
    const ORDER: [[usize; 4]; 4] = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]];

    /// A part of the codes.
    fn codes<S: Simd, const PART: usize>(s: S, block: &[u8; N]) -> S::Bytes;

    /// The integer scales of four blocks as `i8`, in a quarter each: 16, or 8 and behind them as many minima, if there are any.
    fn scales<S: Simd>(s: S, blocks: [&[u8; N]; 4]) -> S::Bytes;

    /// The scales of a block, for which `stored` has what [`Self::scales`] gave: there, or in the block itself.
    #[inline(always)]
    fn scales_of<'a>(_: &'a [u8; N], stored: &'a [u8; 16]) -> &'a [u8; 16] {
        stored
    }

    /// The 16 integer minima in the same form; where there are none, the scales, which fold an offset of the codes. Runs of 32
    /// have theirs behind the scales.
    #[inline(always)]
    fn mins<S: Simd>(s: S, blocks: [&[u8; N]; 4]) -> S::Bytes {
        Self::scales(s, blocks)
    }

    /// The block's scale.
    #[inline(always)]
    fn scale(block: &[u8; N]) -> f32 {
        f16_at(block, Self::SCALE)
    }

    /// The scale of the block's minima, where there are any.
    #[inline(always)]
    fn min(block: &[u8; N]) -> f32 {
        f16_at(block, Self::SCALE + 2)
    }

    /// The scales of 16 blocks.
    #[inline(always)]
    fn scale_each<S: Simd>(s: S, blocks: &[&[u8; N]; 16]) -> S::Floats {
        f16_each(s, blocks, Self::SCALE)
    }

    /// The scales and those of the minima of 16 blocks; zeros where there are no minima.
    #[inline(always)]
    fn scale_min_each<S: Simd>(s: S, blocks: &[&[u8; N]; 16]) -> [S::Floats; 2] {
        if Self::MIN {
            f16_pair_each(s, blocks, Self::SCALE)
        } else {
            [Self::scale_each(s, blocks), s.splat_float(0.0)]
        }
    }
}

/// The `f16` at byte `at` of each of 16 blocks. It is loaded with its neighbour, which is faster than alone.
#[inline(always)]
fn f16_each<S: Simd, const N: usize>(s: S, blocks: &[&[u8; N]; 16], at: usize) -> S::Floats {
    if at + 4 <= N { f16_pair_each(s, blocks, at)[0] } else { f16_pair_each(s, blocks, at - 2)[1] }
}

/// The two `f16` from byte `at` on of each of 16 blocks.
#[inline(always)]
fn f16_pair_each<S: Simd, const N: usize>(s: S, blocks: &[&[u8; N]; 16], at: usize) -> [S::Floats; 2] {
    let mut bits = [0; 16];
    for (bits, block) in bits.iter_mut().zip(blocks) {
        *bits = u32::from_le_bytes(*part(*block, at));
    }
    s.half_pairs(&bits)
}

fn f16_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Bytes `at..at + L` of a block.
#[inline(always)]
pub(crate) fn part<const L: usize>(block: &[u8], at: usize) -> &[u8; L] {
    block[at..].first_chunk().expect("inside the block")
}

/// 16 bytes from byte `at` on of each of four blocks.
#[inline(always)]
pub(crate) fn quarters<S: Simd, const N: usize>(s: S, [a, b, c, d]: [&[u8; N]; 4], at: usize) -> S::Bytes {
    s.quarters([part(a, at), part(b, at), part(c, at), part(d, at)])
}

/// The low nibbles, then the high ones.
#[inline(always)]
pub(crate) fn nibbles<S: Simd>(s: S, both: S::Bytes) -> [S::Bytes; 2] {
    [s.field(both, [0; 4], 15), s.field(both, [4; 4], 15)]
}

/// 16 bytes for each of four blocks.
#[inline(always)]
pub(crate) fn numbers<S: Simd, const N: usize>(s: S, blocks: [&[u8; N]; 4], of: impl Fn(&[u8; N]) -> u128) -> S::Bytes {
    let [a, b, c, d] = blocks;
    s.quarters([&of(a).to_le_bytes(), &of(b).to_le_bytes(), &of(c).to_le_bytes(), &of(d).to_le_bytes()])
}
