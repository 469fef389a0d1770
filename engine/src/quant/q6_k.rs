//! Q6_K: 128 bytes of low nibbles, 64 bytes of high 2 bits, 16 signed scales of 16 elements each, `d: f16`;
//! `d * scale * (q - 32)`.
//!
//! For elements `128h..128h+128`: low bytes `64h + i`, for `i` below 64, hold element `i` low and element `64 + i`
//! high; bits `2j` and up of high byte `32h + i` belong to element `32j + i`.

use super::block::{Block256, Codes, part};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q6_K;

impl Block256<210> for Q6_K {
    const CODES: Codes = Codes::Unsigned { max: 63, offset: 32 };
    const MIN: bool = false;
    const RUN: usize = 16;
    const SCALE: usize = 208;

    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; 210]) -> [S::Bytes; 8] {
        let [a, b, c, d] = half(s, part(block, 0), part(block, 128));
        let [e, f, g, h] = half(s, part(block, 64), part(block, 160));
        [a, b, c, d, e, f, g, h]
    }

    #[inline(always)]
    fn scales(block: &[u8; 210]) -> u128 {
        u128::from_le_bytes(*part(block, 192))
    }
}

/// 128 elements.
#[inline(always)]
fn half<S: Simd>(s: S, low: &[u8; 64], high: &[u8; 32]) -> [S::Bytes; 4] {
    let (first, second, high) = (s.bytes(part(low, 0)), s.bytes(part(low, 32)), s.bytes(high));
    let (nibble, top) = (s.splat(0x0F), s.splat(0x30));
    [
        s.or(s.and(first, nibble), s.and(s.shl::<4>(high), top)),
        s.or(s.and(second, nibble), s.and(s.shl::<2>(high), top)),
        s.or(s.shr::<4>(first), s.and(high, top)),
        s.or(s.shr::<4>(second), s.and(s.shr::<2>(high), top)),
    ]
}
