//! Q8_0: `d: f16`, 32 signed bytes; `d * q`.

use super::block::{Block32, Codes, quarters};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q8_0;

impl Block32<34> for Q8_0 {
    const CODES: Codes = Codes::Signed;
    const MIN: bool = false;
    const SHARED: bool = false;

    #[inline(always)]
    fn packed<S: Simd>(s: S, blocks: [&[u8; 34]; 4]) -> [S::Bytes; 2] {
        [quarters(s, blocks, 2), quarters(s, blocks, 18)]
    }
}
