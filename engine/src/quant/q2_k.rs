//! Q2_K: 16 bytes of 4-bit scales (low) and minima (high) of 16 elements each, 64 bytes of 2-bit codes, `d: f16`,
//! `dmin: f16`; `d * scale * q - dmin * min`.
//!
//! The codes of elements `128h..128h+128` are in bytes `32h..32h+32`: bits `2j` and up of byte `i` are element `32j + i`.

use super::block::{Block256, Codes, part, quarters};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q2_K;

impl Block256<84> for Q2_K {
    const CODES: Codes = Codes::Unsigned { max: 3, offset: 0 };
    const MIN: bool = true;
    const RUN: usize = 16;
    const SCALE_BITS: Option<u32> = Some(4);
    const SCALE: usize = 80;
    const ORDER: [[usize; 4]; 4] = TWO_BITS;

    #[inline(always)]
    fn codes<S: Simd, const PART: usize>(s: S, block: &[u8; 84]) -> S::Bytes {
        two_bits(s, block, 16, PART)
    }

    #[inline(always)]
    fn scales<S: Simd>(s: S, blocks: [&[u8; 84]; 4]) -> S::Bytes {
        s.field(quarters(s, blocks, 0), [0; 4], 15)
    }

    #[inline(always)]
    fn mins<S: Simd>(s: S, blocks: [&[u8; 84]; 4]) -> S::Bytes {
        s.field(quarters(s, blocks, 0), [4; 4], 15)
    }
}

/// The order in which [`two_bits`] gives codes.
pub(super) const TWO_BITS: [[usize; 4]; 4] = [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]];

/// A part of the 2-bit codes in the 64 bytes from byte `at` on.
#[inline(always)]
pub(super) fn two_bits<S: Simd>(s: S, block: &[u8], at: usize, index: usize) -> S::Bytes {
    s.field(s.bytes(part(block, at)), [2 * index as i32; 4], 3)
}
