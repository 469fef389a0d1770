//! Q4_K: `d: f16`, `dmin: f16`, 12 bytes of 6-bit scales and minima of 32 elements each, 128 bytes of nibbles;
//! `d * scale * q - dmin * min`. Bytes `32h..32h+32` hold elements `64h..64h+32` low and the next 32 high.

use super::block::{Block256, Codes, part, six_bit_scales};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q4_K;

impl Block256<144> for Q4_K {
    const CODES: Codes = Codes::Unsigned { max: 15, offset: 0 };
    const MIN: bool = true;
    const RUN: usize = 32;
    const SCALE: usize = 0;

    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; 144]) -> [S::Bytes; 8] {
        nibbles(s, part(block, 16))
    }

    #[inline(always)]
    fn scales(block: &[u8; 144]) -> u128 {
        six_bit_scales(part(block, 4)).0 as u128
    }

    #[inline(always)]
    fn mins(block: &[u8; 144]) -> u128 {
        six_bit_scales(part(block, 4)).1 as u128
    }
}

/// For each 32 of 128 bytes, the low nibbles and the high ones.
#[inline(always)]
pub(super) fn nibbles<S: Simd>(s: S, bytes: &[u8; 128]) -> [S::Bytes; 8] {
    let low = |h: usize| s.and(s.bytes(part(bytes, 32 * h)), s.splat(15));
    let high = |h: usize| s.shr::<4>(s.bytes(part(bytes, 32 * h)));
    [low(0), high(0), low(1), high(1), low(2), high(2), low(3), high(3)]
}
