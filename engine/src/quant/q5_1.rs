//! Q5_1: `d: f16`, `m: f16`, then fifth bits and nibbles as in Q5_0; `d * q + m`.

use super::block::{Block32, Codes};
use super::q5_0::five_bits;
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_1;

impl Block32<24> for Q5_1 {
    const CODES: Codes = Codes::Unsigned { max: 31, offset: 0 };
    const MIN: bool = true;
    const SHARED: bool = false;

    #[inline(always)]
    fn packed<S: Simd>(s: S, blocks: [&[u8; 24]; 4]) -> [S::Bytes; 2] {
        five_bits(s, blocks, 4)
    }
}
