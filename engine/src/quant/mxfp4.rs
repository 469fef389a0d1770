//! MXFP4 (OCP microscaling): a scale exponent `e` of 8 bits, 16 bytes of nibbles in the order of Q4_0, each a float of
//! 1 sign, 2 exponent and 1 mantissa bits. Twice its value is an integer, so the scale is `2^(e - 128)`.

use super::block::{Block32, Codes, nibbles, quarters};
use crate::simd::Simd;

/// Twice the values of the 16 floats, plus 12.
const TABLE: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

pub(crate) struct MXFP4;

impl Block32<17> for MXFP4 {
    const CODES: Codes = Codes::Unsigned { max: 24, offset: 12 };
    const MIN: bool = false;
    const SHARED: bool = true;

    #[inline(always)]
    fn packed<S: Simd>(s: S, blocks: [&[u8; 17]; 4]) -> [S::Bytes; 2] {
        [quarters(s, blocks, 1); 2]
    }

    #[inline(always)]
    fn split<S: Simd>(s: S, [both, _]: [S::Bytes; 2]) -> [S::Bytes; 2] {
        let [low, high] = nibbles(s, both);
        [s.lookup(&TABLE, low), s.lookup(&TABLE, high)]
    }

    #[inline(always)]
    fn scale(block: &[u8; 17]) -> f32 {
        power(block[0] as i32)
    }

    #[inline(always)]
    fn scale_each<S: Simd>(s: S, blocks: &[&[u8; 17]; 16]) -> S::Floats {
        let mut exponents = [0; 16];
        for (e, block) in exponents.iter_mut().zip(blocks) {
            *e = block[0] as i32;
        }
        let mut scales = [0.0; 16];
        for (scale, e) in scales.iter_mut().zip(exponents) {
            *scale = power(e);
        }
        s.floats(&scales)
    }
}

/// `2^(e - 128)`, which is subnormal for `e` below 2: a single bit of the mantissa.
#[inline(always)]
fn power(e: i32) -> f32 {
    let (normal, subnormal) = ((e - 1) << 23, (e + 1).min(2) << 21);
    f32::from_bits(normal.max(subnormal) as u32)
}
