//! Q5_0: `d: f16`, a `u32` whose bit `i` is the fifth bit of element `i`, 16 bytes of nibbles as in Q4_0;
//! `d * (q - 16)`.

use super::block::{Block32, Codes, nibbles, part};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_0;

impl Block32<22> for Q5_0 {
    const CODES: Codes = Codes::Unsigned { max: 31, offset: 16 };
    const MIN: bool = false;

    #[inline(always)]
    fn codes<S: Simd>(s: S, blocks: [&[u8; 22]; 2]) -> [S::Bytes; 2] {
        five_bits(s, blocks, 2)
    }
}

/// The fifth bits from byte `at` on and the nibbles that follow them.
#[inline(always)]
pub(super) fn five_bits<S: Simd, const N: usize>(s: S, blocks: [&[u8; N]; 2], at: usize) -> [S::Bytes; 2] {
    let mut codes = nibbles(s, blocks, at + 4);
    let fifth = s.spread_bits(part(blocks[0], at), part(blocks[1], at));
    for (code, fifth) in codes.iter_mut().zip(fifth) {
        *code = s.or(*code, s.and(fifth, s.splat(16)));
    }
    codes
}
