//! Q3_K: 32 bytes of high bits, 64 bytes of low 2 bits as in Q2_K, 12 bytes of 6-bit scales, `d: f16`;
//! `d * (scale - 32) * (q - 4)`. Bit `j` of high byte `i` belongs to element `32j + i`.

use super::block::{Block256, Codes, numbers, part};
use super::q2_k::{TWO_BITS, two_bits};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q3_K;

impl Block256<110> for Q3_K {
    const CODES: Codes = Codes::Unsigned { max: 7, offset: 4 };
    const MIN: bool = false;
    const RUN: usize = 16;
    const SCALE: usize = 108;
    const ORDER: [[usize; 4]; 4] = TWO_BITS;

    #[inline(always)]
    fn codes<S: Simd, const PART: usize>(s: S, block: &[u8; 110]) -> S::Bytes {
        let up = PART as i32 - 2;
        let high = s.field(s.twice(part(block, 0)), [up, up, up + 4, up + 4], 4);
        s.or(two_bits(s, block, 32, PART), high)
    }

    #[inline(always)]
    fn scales<S: Simd>(s: S, blocks: [&[u8; 110]; 4]) -> S::Bytes {
        numbers(s, blocks, scales)
    }
}

/// Number `4i + j` has its low 4 bits in byte `4(i % 2) + j` (the low nibbles for `i` below 2) and its high 2 bits in byte
/// `8 + j`, at bit `2i`.
#[inline(always)]
fn scales(block: &[u8; 110]) -> u128 {
    let low = u64::from_le_bytes(*part(block, 96));
    let high = u32::from_le_bytes(*part(block, 104)) as u64;
    let low_half = low & 0x0F0F_0F0F_0F0F_0F0F | spread_high(high);
    let high_half = (low >> 4) & 0x0F0F_0F0F_0F0F_0F0F | spread_high(high >> 4);
    // Per byte: setting the top bit keeps the subtraction of 32 from borrowing, flipping it gives the sign.
    let minus_32 = |six: u64| ((six | TOP) - 0x2020_2020_2020_2020) ^ TOP;
    minus_32(low_half) as u128 | (minus_32(high_half) as u128) << 64
}

const TOP: u64 = 0x8080_8080_8080_8080;

/// Bits 0-1 of four bytes, then bits 2-3, moved up to bits 4-5.
#[inline(always)]
fn spread_high(bytes: u64) -> u64 {
    (bytes & 0x0303_0303) << 4 | (bytes & 0x0C0C_0C0C) << 34
}
