//! Q2_K: 16 bytes of 4-bit scales (low) and minima (high) of 16 elements each, 64 bytes of 2-bit codes, `d: f16`,
//! `dmin: f16`; `d * scale * q - dmin * min`.
//!
//! The codes of elements `128h..128h+128` are in bytes `32h..32h+32`: bits `2j` and up of byte `i` are element `32j + i`.

use super::block::{Block256, Codes, part};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q2_K;

const NIBBLE: u128 = 0x0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F;

impl Block256<84> for Q2_K {
    const CODES: Codes = Codes::Unsigned { max: 3, offset: 0 };
    const MIN: bool = true;
    const RUN: usize = 16;
    const SCALE: usize = 80;

    #[inline(always)]
    fn codes<S: Simd, const QUARTER: usize>(s: S, block: &[u8; 84]) -> S::Bytes {
        two_bits(s, block, 16, QUARTER)
    }

    #[inline(always)]
    fn scales(block: &[u8; 84]) -> u128 {
        u128::from_le_bytes(*part(block, 0)) & NIBBLE
    }

    #[inline(always)]
    fn mins(block: &[u8; 84]) -> u128 {
        (u128::from_le_bytes(*part(block, 0)) >> 4) & NIBBLE
    }
}

/// The 2-bit codes of a quarter, in the 64 bytes from byte `at` on.
#[inline(always)]
pub(super) fn two_bits<S: Simd>(s: S, block: &[u8], at: usize, quarter: usize) -> S::Bytes {
    let shift = quarter as i32 % 2 * 4;
    s.field(s.twice(part(block, at + quarter / 2 * 32)), [shift, shift, shift + 2, shift + 2], 3)
}
