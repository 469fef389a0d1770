//! Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit `j` of byte `i` belongs to element `32j + i`.

use super::block::{Block256, Codes, part, six_bit_scales};
use super::q4_k::wide_nibbles;
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_K;

impl Block256<176> for Q5_K {
    const CODES: Codes = Codes::Unsigned { max: 31, offset: 0 };
    const MIN: bool = true;
    const RUN: usize = 32;
    const SCALE: usize = 0;

    #[inline(always)]
    fn codes<S: Simd, const QUARTER: usize>(s: S, block: &[u8; 176]) -> S::Bytes {
        let shift = 2 * QUARTER as i32 - 4;
        let fifth = s.field(s.twice(part(block, 16)), [shift, shift, shift + 1, shift + 1], 16);
        s.or(wide_nibbles(s, block, 48, QUARTER), fifth)
    }

    #[inline(always)]
    fn scales(block: &[u8; 176]) -> u128 {
        six_bit_scales(part(block, 4)).0 as u128
    }

    #[inline(always)]
    fn mins(block: &[u8; 176]) -> u128 {
        six_bit_scales(part(block, 4)).1 as u128
    }
}
