//! Q4_0: `d: f16`, 16 bytes of nibbles. Byte `i` holds element `i` low and element `i + 16` high; `d * (q - 8)`.

use super::block::{Block32, Codes, nibbles, quarters};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q4_0;

impl Block32<18> for Q4_0 {
    const CODES: Codes = Codes::Unsigned { max: 15, offset: 8 };
    const MIN: bool = false;
    const SHARED: bool = true;

    #[inline(always)]
    fn packed<S: Simd>(s: S, blocks: [&[u8; 18]; 4]) -> [S::Bytes; 2] {
        [quarters(s, blocks, 2); 2]
    }

    #[inline(always)]
    fn split<S: Simd>(s: S, [both, _]: [S::Bytes; 2]) -> [S::Bytes; 2] {
        nibbles(s, both)
    }
}
