//! Q5_0: `d: f16`, a `u32` whose bit `i` is the fifth bit of element `i`, 16 bytes of nibbles as in Q4_0;
//! `d * (q - 16)`.

use super::block::{Block32, Codes, part};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_0;

impl Block32<22> for Q5_0 {
    const CODES: Codes = Codes::Unsigned { max: 31, offset: 16 };
    const MIN: bool = false;

    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; 22]) -> S::Bytes {
        five_bits(s, part(block, 2), part(block, 6))
    }
}

/// Nibbles with a fifth bit each.
#[inline(always)]
pub(super) fn five_bits<S: Simd>(s: S, high: &[u8; 4], nibbles: &[u8; 16]) -> S::Bytes {
    let fifth = s.and(s.spread_bits(u32::from_le_bytes(*high)), s.splat(16));
    s.or(s.nibbles(nibbles), fifth)
}
