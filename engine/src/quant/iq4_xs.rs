//! IQ4_XS: `d: f16`, a `u16` of high 2 bits and 4 bytes of low nibbles of the 8 scales of 32 elements each, 128 bytes of
//! nibbles, 16 for each 32 elements in the order of Q4_0, with the levels of IQ4_NL; `d * (scale - 32) * TABLE[q]`.

use super::block::{Block256, Codes, numbers, part};
use super::iq4_nl::levels;
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct IQ4_XS;

impl Block256<136> for IQ4_XS {
    const CODES: Codes = Codes::Signed;
    const MIN: bool = false;
    const RUN: usize = 32;
    const SCALE: usize = 0;
    const ORDER: [[usize; 4]; 4] = [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10, 12, 14], [9, 11, 13, 15]];

    #[inline(always)]
    fn codes<S: Simd, const PART: usize>(s: S, block: &[u8; 136]) -> S::Bytes {
        levels(s, s.field(s.bytes(part(block, 8 + PART / 2 * 64)), [PART as i32 % 2 * 4; 4], 15))
    }

    #[inline(always)]
    fn scales<S: Simd>(s: S, blocks: [&[u8; 136]; 4]) -> S::Bytes {
        numbers(s, blocks, scales)
    }
}

#[inline(always)]
fn scales(block: &[u8; 136]) -> u128 {
    const TOP: u64 = 0x8080_8080_8080_8080;
    let mut high = u16::from_le_bytes(*part(block, 2)) as u64;
    high = (high | high << 24) & 0x0000_00FF_0000_00FF;
    high = (high | high << 12) & 0x000F_000F_000F_000F;
    high = (high | high << 6) & 0x0303_0303_0303_0303;
    let mut low = u32::from_le_bytes(*part(block, 4)) as u64;
    low = (low | low << 16) & 0x0000_FFFF_0000_FFFF;
    low = (low | low << 8) & 0x00FF_00FF_00FF_00FF;
    low = (low | low << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    // As in Q3_K: minus 32 in each byte.
    (((low | high << 4 | TOP) - 0x2020_2020_2020_2020) ^ TOP) as u128
}
