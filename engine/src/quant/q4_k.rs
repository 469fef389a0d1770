//! Q4_K: `d: f16`, `dmin: f16`, 12 bytes of 6-bit scales and minima of 32 elements each, 128 bytes of nibbles;
//! `d * scale * q - dmin * min`. Bytes `32h..32h+32` hold elements `64h..64h+32` low and the next 32 high.

use super::block::{Block256, Codes, part};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q4_K;

impl Block256<144> for Q4_K {
    const CODES: Codes = Codes::Unsigned { max: 15, offset: 0 };
    const MIN: bool = true;
    const RUN: usize = 32;
    const SCALE_BITS: Option<u32> = Some(6);
    const SCALE: usize = 0;
    const ORDER: [[usize; 4]; 4] = WIDE_NIBBLES;

    #[inline(always)]
    fn codes<S: Simd, const PART: usize>(s: S, block: &[u8; 144]) -> S::Bytes {
        wide_nibbles(s, block, 16, PART)
    }

    #[inline(always)]
    fn scales<S: Simd>(s: S, blocks: [&[u8; 144]; 4]) -> S::Bytes {
        s.six_bit_scales(blocks.map(|block| part(block, 0)))
    }
}

/// The order in which [`wide_nibbles`] gives codes: parts 0 and 1 have the halves of the same runs, and so have parts 2 and 3.
pub(super) const WIDE_NIBBLES: [[usize; 4]; 4] = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]];

/// A part of the codes in the 128 bytes from byte `at` on.
#[inline(always)]
pub(super) fn wide_nibbles<S: Simd>(s: S, block: &[u8], at: usize, index: usize) -> S::Bytes {
    s.field(s.alternate_quarters(part(block, at))[index % 2], [index as i32 / 2 * 4; 4], 15)
}
