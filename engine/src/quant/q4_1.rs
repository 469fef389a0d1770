//! Q4_1: `d: f16`, `m: f16`, 16 bytes of nibbles as in Q4_0; `d * q + m`.

use super::block::{Block32, Codes, part};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q4_1;

impl Block32<20> for Q4_1 {
    const CODES: Codes = Codes::Unsigned { max: 15, offset: 0 };
    const MIN: bool = true;

    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; 20]) -> S::Bytes {
        s.nibbles(part(block, 4))
    }
}
