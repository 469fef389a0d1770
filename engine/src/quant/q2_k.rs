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
    fn codes<S: Simd>(s: S, block: &[u8; 84]) -> [S::Bytes; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (two_bits(s, part(block, 16)), two_bits(s, part(block, 48)));
        [a, b, c, d, e, f, g, h]
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

/// The four 2-bit fields of 32 bytes, lowest first.
#[inline(always)]
pub(super) fn two_bits<S: Simd>(s: S, bytes: &[u8; 32]) -> [S::Bytes; 4] {
    let (q, mask) = (s.bytes(bytes), s.splat(3));
    [s.and(q, mask), s.and(s.shr::<2>(q), mask), s.and(s.shr::<4>(q), mask), s.shr::<6>(q)]
}
