//! IQ4_NL: `d: f16`, 16 bytes of nibbles in the order of Q4_0, each an index into a table of 16 levels that are denser
//! around zero; `d * TABLE[q]`.

use super::block::{Block32, Codes, nibbles, quarters};
use crate::simd::Simd;

/// The levels, shared with IQ4_XS.
pub(super) const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

#[allow(non_camel_case_types)]
pub(crate) struct IQ4_NL;

impl Block32<18> for IQ4_NL {
    const CODES: Codes = Codes::Signed;
    const MIN: bool = false;
    const SHARED: bool = true;

    #[inline(always)]
    fn packed<S: Simd>(s: S, blocks: [&[u8; 18]; 4]) -> [S::Bytes; 2] {
        [quarters(s, blocks, 2); 2]
    }

    #[inline(always)]
    fn split<S: Simd>(s: S, [both, _]: [S::Bytes; 2]) -> [S::Bytes; 2] {
        let [low, high] = nibbles(s, both);
        [levels(s, low), levels(s, high)]
    }
}

/// The levels of indices.
#[inline(always)]
pub(super) fn levels<S: Simd>(s: S, indices: S::Bytes) -> S::Bytes {
    const BYTES: [u8; 16] = {
        let mut bytes = [0; 16];
        let mut i = 0;
        while i < 16 {
            bytes[i] = TABLE[i] as u8;
            i += 1;
        }
        bytes
    };
    s.lookup(&BYTES, indices)
}
