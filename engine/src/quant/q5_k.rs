//! Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit `j` of byte `i` belongs to element `32j + i`.

use super::block::{Block256, Codes, part, six_bit_scales};
use super::q4_k::nibbles;
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_K;

impl Block256<176> for Q5_K {
    const CODES: Codes = Codes::Unsigned { max: 31, offset: 0 };
    const MIN: bool = true;
    const RUN: usize = 32;
    const SCALE: usize = 0;

    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; 176]) -> [S::Bytes; 8] {
        let [a, b, c, d, e, f, g, h] = nibbles(s, part(block, 48));
        let (fifth, bit) = (s.bytes(part(block, 16)), s.splat(16));
        [
            s.or(a, s.and(s.shl::<4>(fifth), bit)),
            s.or(b, s.and(s.shl::<3>(fifth), bit)),
            s.or(c, s.and(s.shl::<2>(fifth), bit)),
            s.or(d, s.and(s.shl::<1>(fifth), bit)),
            s.or(e, s.and(fifth, bit)),
            s.or(f, s.and(s.shr::<1>(fifth), bit)),
            s.or(g, s.and(s.shr::<2>(fifth), bit)),
            s.or(h, s.and(s.shr::<3>(fifth), bit)),
        ]
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
