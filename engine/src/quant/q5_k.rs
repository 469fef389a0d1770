//! Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit `j` of byte `i` belongs to element `32j + i`.

use super::block::{Block256, Codes, pair, part, six_bit_scales};
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
    fn codes<S: Simd, const QUARTER: usize>(s: S, blocks: [&[u8; 176]; 2]) -> [S::Bytes; 4] {
        let mut codes = wide_nibbles(s, blocks, 48, QUARTER);
        let fifth = [pair(s, blocks, 16), pair(s, blocks, 32)];
        for (i, code) in codes.iter_mut().enumerate() {
            let bit = (2 * QUARTER + i / 2) as i32;
            *code = s.or(*code, s.field(fifth[i % 2], bit - 4, 16));
        }
        codes
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
