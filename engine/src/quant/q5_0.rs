//! Q5_0: `d: f16`, a `u32` whose bit `i` is the fifth bit of element `i`, 16 bytes of nibbles as in Q4_0;
//! `d * (q - 16)`.

use super::block::{Block32, Codes, nibbles, part, quarters};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_0;

impl Block32<22> for Q5_0 {
    const CODES: Codes = Codes::Unsigned { max: 31, offset: 16 };
    const MIN: bool = false;
    const SHARED: bool = false;

    #[inline(always)]
    fn packed<S: Simd>(s: S, blocks: [&[u8; 22]; 4]) -> [S::Bytes; 2] {
        five_bits(s, blocks, 2)
    }
}

/// The fifth bits from byte `at` on and the nibbles that follow them.
#[inline(always)]
pub(super) fn five_bits<S: Simd, const N: usize>(s: S, blocks: [&[u8; N]; 4], at: usize) -> [S::Bytes; 2] {
    let [a, b, c, d] = blocks.map(|block| u32::from_le_bytes(*part(block, at)) as u64);
    let low = a & 0xFFFF | (b & 0xFFFF) << 16 | (c & 0xFFFF) << 32 | d << 48;
    let high = a >> 16 | b & 0xFFFF_0000 | (c & 0xFFFF_0000) << 16 | (d & 0xFFFF_0000) << 32;
    let [low_nibbles, high_nibbles] = nibbles(s, quarters(s, blocks, at + 4));
    let (low, high) = (s.spread_bits(low), s.spread_bits(high));
    [s.or(low_nibbles, s.and(low, s.splat(16))), s.or(high_nibbles, s.and(high, s.splat(16)))]
}
