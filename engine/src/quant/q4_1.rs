//! Q4_1: `d: f16`, `m: f16`, 16 bytes of nibbles as in Q4_0; `d * q + m`.

use super::block::{Block32, Codes, nibbles, quarters};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q4_1;

impl Block32<20> for Q4_1 {
    const CODES: Codes = Codes::Unsigned { max: 15, offset: 0 };
    const MIN: bool = true;
    const SHARED: bool = true;

    #[inline(always)]
    fn packed<S: Simd>(s: S, blocks: [&[u8; 20]; 4]) -> [S::Bytes; 2] {
        [quarters(s, blocks, 4); 2]
    }

    #[inline(always)]
    fn split<S: Simd>(s: S, [both, _]: [S::Bytes; 2]) -> [S::Bytes; 2] {
        nibbles(s, both)
    }
}
