//! MXFP4 (OCP microscaling): a scale exponent `e` of 8 bits, 16 bytes of nibbles in the order of Q4_0, each a float of
//! 1 sign, 2 exponent and 1 mantissa bits. Twice its value is an integer, so the scale is `2^(e - 128)`.

use super::block::{Block32, Codes, nibbles};
use crate::simd::Simd;

/// Twice the values of the 16 floats, plus 12.
const TABLE: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

pub(crate) struct MXFP4;

impl Block32<17> for MXFP4 {
    const CODES: Codes = Codes::Unsigned { max: 24, offset: 12 };
    const MIN: bool = false;

    #[inline(always)]
    fn codes<S: Simd>(s: S, blocks: [&[u8; 17]; 2]) -> [S::Bytes; 2] {
        let (table, [low, high]) = (s.twice(&TABLE), nibbles(s, blocks, 1));
        [s.lookup(table, low), s.lookup(table, high)]
    }

    /// `2^(e - 128)`, which is subnormal for `e` below 2.
    #[inline(always)]
    fn scale(block: &[u8; 17]) -> f32 {
        let e = block[0] as u32;
        f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 })
    }

    #[inline(always)]
    fn scale_each<S: Simd>(s: S, blocks: &[&[u8; 17]; 8]) -> S::Floats {
        let mut scales = [0.0; 8];
        for (scale, block) in scales.iter_mut().zip(blocks) {
            *scale = Self::scale(block);
        }
        s.floats(&scales)
    }
}
