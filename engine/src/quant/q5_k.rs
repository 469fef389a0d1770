//! Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit `j` of byte `i` belongs to element `32j + i`.

use super::block::{Block256, Codes, part};
use super::q4_k::{WIDE_NIBBLES, wide_nibbles};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_K;

impl Block256<176> for Q5_K {
    const CODES: Codes = Codes::Unsigned { max: 31, offset: 0 };
    const MIN: bool = true;
    const RUN: usize = 32;
    const SCALE_BITS: Option<u32> = Some(6);
    const SCALE: usize = 0;
    const ORDER: [[usize; 4]; 4] = WIDE_NIBBLES;

    #[inline(always)]
    fn codes<S: Simd, const PART: usize>(s: S, block: &[u8; 176]) -> S::Bytes {
        let shifts = WIDE_NIBBLES[PART].map(|sixteen| sixteen as i32 / 2 - 4);
        let fifth = s.field(s.quarters([part(block, 16 + PART % 2 * 16); 4]), shifts, 16);
        s.or(wide_nibbles(s, block, 48, PART), fifth)
    }

    #[inline(always)]
    fn scales<S: Simd>(s: S, blocks: [&[u8; 176]; 4]) -> S::Bytes {
        s.six_bit_scales(blocks.map(|block| part(block, 0)))
    }
}
